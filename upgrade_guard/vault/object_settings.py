"""How an S3-compatible object store is reached: from a file that the configuration names, the environment, ~/.aws.

The names are those of the AWS tools, so that a file which works for them works here:
https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html
"""

from __future__ import annotations

import configparser
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from upgrade_guard.errors import UsageProblem
from upgrade_guard.model.command import Secret

_NONE = Secret("")


@dataclass(frozen=True)
class S3Settings:
    """`source` says for people where the credentials came from; empty texts leave it to the library's own search."""

    source: str
    access_key_id: str = ""
    secret_access_key: Secret = _NONE
    session_token: Secret = _NONE
    region: str = ""
    endpoint_url: str = ""
    ca_bundle: str = ""
    virtual_hosted: bool = False


def s3_settings(profile: str, file: str, environment: Mapping[str, str]) -> S3Settings:
    """The settings of a profile ("" is the default one). A named `file` decides alone; without it the environment
    stands over ~/.aws/credentials and ~/.aws/config. Raises UsageProblem.
    """
    if file:
        return _from_file(Path(file), profile)
    profile = profile or environment.get("AWS_PROFILE", "")
    found: dict[str, str] = {}
    sources = []
    for variable, default in (("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")):
        path = Path(environment.get(variable) or Path("~/.aws", default).expanduser()).expanduser()
        if path.is_file():
            section = _section(path, profile)
            if section:
                sources.append(str(path))
            found |= section
    if profile and not sources:
        raise UsageProblem(
            f"the profile {profile!r} is neither in ~/.aws/credentials nor in ~/.aws/config",
            hint="Add it there, or name a file with it: vault.s3_file",
        )
    if "AWS_ACCESS_KEY_ID" in environment:
        found = {key: value for key, value in found.items() if key not in _CREDENTIALS}
        sources.insert(0, "the environment (AWS_ACCESS_KEY_ID)")
    for key, variables in _VARIABLES.items():
        for variable in variables:
            if environment.get(variable):
                found[key] = environment[variable]
                break
    return _settings(found, ", ".join(sources) or "nowhere: neither the environment nor ~/.aws has any")


_CREDENTIALS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_VARIABLES = {
    "aws_access_key_id": ("AWS_ACCESS_KEY_ID",),
    "aws_secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
    "aws_session_token": ("AWS_SESSION_TOKEN",),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "endpoint_url": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "ca_bundle": ("AWS_CA_BUNDLE",),
}


def _from_file(path: Path, profile: str) -> S3Settings:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        readable = os.access(path, os.R_OK)
    except OSError as error:
        raise UsageProblem(
            f"vault.s3_file: {path} cannot be read: {error.strerror}", hint="Create it, with mode 0600."
        ) from error
    if not readable:
        raise UsageProblem(f"vault.s3_file: {path} cannot be read by this user", hint=f"Look at it: ls -l '{path}'")
    if mode & 0o077:
        raise UsageProblem(
            f"vault.s3_file: others may read {path} (mode {mode:04o}), and it holds a secret",
            hint=f"chmod 600 '{path}'",
        )
    section = _section(path, profile)
    if not section:
        raise UsageProblem(
            f"vault.s3_file: {path} has no section [{profile or 'default'}]",
            hint="Write it as for the AWS tools: [default], aws_access_key_id = ..., aws_secret_access_key = ...",
        )
    return _settings(section, str(path))


def _section(path: Path, profile: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text())
    except (configparser.Error, UnicodeDecodeError):
        # The parser's own message quotes the line, which may hold the secret.
        raise UsageProblem(f"{path} is not an AWS settings file", hint="Write [default] and key = value.") from None
    except OSError as error:
        raise UsageProblem(f"{path} cannot be read: {error.strerror}", hint=f"Look at it: ls -l '{path}'") from error
    name = profile or "default"
    for section in (name, f"profile {name}"):
        if parser.has_section(section):
            return {key: value.strip() for key, value in parser.items(section) if value.strip()}
    return {}


def _settings(found: Mapping[str, str], source: str) -> S3Settings:
    key, secret = found.get("aws_access_key_id", ""), found.get("aws_secret_access_key", "")
    if bool(key) != bool(secret):
        missing = "aws_secret_access_key" if key else "aws_access_key_id"
        raise UsageProblem(f"S3 credentials from {source}: {missing} is missing", hint="Give both of them.")
    nested = dict(line.partition("=")[::2] for line in found.get("s3", "").splitlines() if "=" in line)
    style = {name.strip(): value.strip() for name, value in nested.items()}.get("addressing_style", "")
    return S3Settings(
        source=source,
        access_key_id=key,
        secret_access_key=Secret(secret),
        session_token=Secret(found.get("aws_session_token", "")),
        region=found.get("region", ""),
        endpoint_url=found.get("endpoint_url", ""),
        ca_bundle=found.get("ca_bundle", ""),
        virtual_hosted=(style or found.get("addressing_style", "")) == "virtual",
    )
