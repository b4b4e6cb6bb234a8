"""Encrypted copies in a bucket of a real S3 server, from the command line alone."""

from __future__ import annotations

import re
from pathlib import Path

import pyrage
from scenario.disks import flip
from scenario.stage import Stage
from servers import S3


def write_settings(stage: Stage, s3: S3, **vault: str) -> None:
    """The lab's configuration with a bucket beside its own target, and what else `[vault]` says.

    A server on this machine, a control plane, does not count as off-site; the lab's own target does.
    """
    bucket = s3.bucket("scenario")
    credentials = stage.lab.directory / "s3"
    pair = f"aws_access_key_id = {s3.access}\naws_secret_access_key = {s3.secret}"
    credentials.write_text(f"[default]\n{pair}\nendpoint_url = {s3.endpoint}\n")
    credentials.chmod(0o600)
    config = stage.lab.directory / "config.toml"
    text = re.sub(r"(?m)^(allow_unencrypted_keys|recipients|identity_file|s3_file) = .*\n", "", config.read_text())
    more = "".join(f"{name} = {value}\n" for name, value in vault.items())
    targets = f'offsite = ["s3://{bucket.name}/etcd", "file://{stage.lab.offsite}"]\ns3_file = "{credentials}"\n{more}'
    config.write_text(re.sub(r"(?m)^offsite = .*\n", targets, text))


def test_an_encrypted_backup_in_a_bucket_is_made_found_changed_and_drilled(stage: Stage, s3: S3) -> None:
    write_settings(stage, s3)
    refused = stage.guard("backup", "create", ends=2)
    assert "private keys and Secrets unencrypted" in refused.error["message"]
    assert "vault.recipients" in refused.error["hint"]

    identity = pyrage.x25519.Identity.generate()
    write_settings(stage, s3, recipients=f'["{identity.to_public()}"]')
    made = stage.guard("backup", "create").data
    assert [copy["read_back"] for copy in made["copies"]] == [True, True]
    copy = s3.bucket("scenario") / "etcd" / made["bundle"]
    assert {path.name for path in copy.iterdir()} == {
        "files-cp1.tar.gz.age",
        "manifest.json.age",
        "sealed.json",
        "snapshot.db.age",
    }
    for place in stage.guard("backup", "list", "--remote").data["places"]:
        assert [(one["name"], one["proven"]) for one in place["bundles"]] == [(made["bundle"], True)]
    url = f"s3://{s3.bucket('scenario').name}/etcd"
    assert "no private key is named" in stage.guard("backup", "drill", "--remote", url, ends=3).error["message"]

    key = stage.lab.directory / "key"
    key.write_text(f"{identity}\n")
    key.chmod(0o600)
    write_settings(stage, s3, recipients=f'["{identity.to_public()}"]', identity_file=f'"{key}"')
    stage.guard("backup", "drill", "--remote", url)

    flip(copy / "snapshot.db.age")
    answer = stage.guard("backup", "verify", made["bundle"], "--quick", "--remote", ends=3)
    assert [one["ok"] for one in answer.data] == [True, False, True]
    stage.guard("backup", "copy", made["bundle"])
    stage.guard("backup", "verify", made["bundle"], "--quick", "--remote")

    everything = "".join(
        path.read_text(errors="replace") for path in Path(stage.lab.directory / "state").rglob("*") if path.is_file()
    )
    assert s3.secret not in everything
    assert str(identity) not in everything
