from __future__ import annotations

from pathlib import Path

import pytest

from upgrade_guard.errors import UsageProblem
from upgrade_guard.vault.object_store import s3_settings

FILE = """[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key = hush-default
region = eu-central-1
endpoint_url = https://minio.internal:9000
ca_bundle = /etc/ssl/minio.pem
s3 =
  addressing_style = virtual

[second]
aws_access_key_id = AKIASECOND
aws_secret_access_key = hush-second
aws_session_token = hush-token
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "s3"
    path.write_text(FILE)
    path.chmod(0o600)
    return path


def test_a_named_file_decides_alone(file: Path) -> None:
    found = s3_settings("", str(file), {"AWS_ACCESS_KEY_ID": "other", "AWS_REGION": "us-west-1"})
    assert (found.access_key_id, found.secret_access_key.reveal()) == ("AKIADEFAULT", "hush-default")
    assert (found.region, found.endpoint_url) == ("eu-central-1", "https://minio.internal:9000")
    assert (found.ca_bundle, found.virtual_hosted, found.source) == ("/etc/ssl/minio.pem", True, str(file))
    second = s3_settings("second", str(file), {})
    assert (second.session_token.reveal(), second.endpoint_url, second.virtual_hosted) == ("hush-token", "", False)
    assert "hush" not in repr(second) + repr(found)


def test_the_environment_stands_over_the_files_of_the_aws_tools(file: Path) -> None:
    files = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_CONFIG_FILE": "/nonexistent"}
    assert s3_settings("", "", files).access_key_id == "AKIADEFAULT"
    assert s3_settings("second", "", files).access_key_id == "AKIASECOND"
    assert s3_settings("", "", {**files, "AWS_PROFILE": "second"}).access_key_id == "AKIASECOND"
    own = {"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "hush", "AWS_ENDPOINT_URL_S3": "http://x"}
    found = s3_settings("second", "", {**files, **own})
    assert (found.access_key_id, found.session_token.reveal(), found.endpoint_url) == ("AKIAENV", "", "http://x")
    assert found.source.startswith("the environment")


def test_no_credentials_at_all_are_left_to_the_library(tmp_path: Path) -> None:
    nowhere = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "a"), "AWS_CONFIG_FILE": str(tmp_path / "b")}
    found = s3_settings("", "", nowhere)
    assert found.access_key_id == ""
    assert "nowhere" in found.source


@pytest.mark.parametrize(
    ("content", "profile", "sentence"),
    [
        (FILE, "third", r"has no section \[third\]"),
        ("[default]\naws_access_key_id = AKIA", "", "aws_secret_access_key is missing"),
        ("[default]\naws_secret_access_key = hush", "", "aws_access_key_id is missing"),
        ("hush hush", "", "is not an AWS settings file"),
        ("[default]\nhush", "", "is not an AWS settings file"),
    ],
)
def test_a_file_that_does_not_do(file: Path, content: str, profile: str, sentence: str) -> None:
    file.write_text(content)
    with pytest.raises(UsageProblem, match=sentence) as refused:
        s3_settings(profile, str(file), {})
    assert "hush" not in refused.value.message + refused.value.hint
    assert refused.value.hint


def test_a_file_that_others_may_read_is_refused(file: Path) -> None:
    file.chmod(0o640)
    with pytest.raises(UsageProblem, match="others may read") as refused:
        s3_settings("", str(file), {})
    assert refused.value.hint == f"chmod 600 '{file}'"
    with pytest.raises(UsageProblem, match="cannot be read"):
        s3_settings("", f"{file}-not-there", {})
    with pytest.raises(UsageProblem, match="the profile 'third' is neither"):
        s3_settings("third", "", {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_CONFIG_FILE": "/nonexistent"})
