"""An S3-compatible object store: how it is reached, opening it, and what its library's errors mean for an operator.

Its settings come from a file that the configuration names, the environment, or ~/.aws.
"""

from __future__ import annotations

import configparser
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upgrade_guard.errors import GuardError, HostUnreachable, StepFailed, UsageProblem
from upgrade_guard.model.command import Secret
from upgrade_guard.vault.addresses import TargetAddress

if TYPE_CHECKING:
    from obstore.store import ObjectStore


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


# A request may carry one piece over a slow line; a dead connection is noticed by the pause between two reads.
_CLIENT = {"connect_timeout": "10s", "read_timeout": "5m", "timeout": "1h"}
_REFUSALS = frozenset(
    "AccessDenied ExpiredToken InvalidAccessKeyId InvalidToken SignatureDoesNotMatch XAdminUserNotFound".split()  # noqa: SIM905
)
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_STATUS = re.compile(r"status code: (\d{3})\b")


def open_store(place: TargetAddress, settings: S3Settings) -> ObjectStore:
    """The store below a place's prefix. Nothing is asked of it yet. Raises UsageProblem."""
    from obstore import store  # late: it is large

    client: dict[str, Any] = dict(_CLIENT)
    retry: dict[str, Any] = {"max_retries": 3, "retry_timeout": timedelta(seconds=60)}
    prefix = place.path.strip("/") or None
    try:
        if place.scheme == "gs":
            return store.GCSStore(place.host, prefix=prefix, client_options=client, retry_config=retry)  # type: ignore[arg-type]
        if place.scheme == "az":
            return store.AzureStore(place.host, prefix=prefix, client_options=client, retry_config=retry)  # type: ignore[arg-type]
        config: dict[str, Any] = {"virtual_hosted_style_request": settings.virtual_hosted}
        if settings.region:
            config["region"] = settings.region
        if settings.endpoint_url:
            config["endpoint"] = settings.endpoint_url
            client["allow_http"] = settings.endpoint_url.startswith("http://")
        if settings.ca_bundle:
            client["root_certificate"] = Path(settings.ca_bundle).expanduser().read_bytes()
        provider = (lambda: _credentials(settings)) if settings.access_key_id else None
        return store.S3Store(
            place.host,
            prefix=prefix,
            config=config,  # type: ignore[arg-type]
            client_options=client,  # type: ignore[arg-type]
            retry_config=retry,  # type: ignore[arg-type]
            credential_provider=provider,  # type: ignore[arg-type]
        )
    except OSError as error:
        raise UsageProblem(
            f"the certificates for {place.url} cannot be read: {error}", hint="Correct ca_bundle (or AWS_CA_BUNDLE)."
        ) from error
    except Exception as error:  # whatever the library finds wrong with its settings
        raise UsageProblem(
            f"{place.url} cannot be opened with these settings: {_first_line(error)}",
            hint="See docs/how-to/off-site-targets.md for what an object store needs.",
        ) from error


def _credentials(settings: S3Settings) -> dict[str, Any]:
    return {
        "access_key_id": settings.access_key_id,
        "secret_access_key": settings.secret_access_key.reveal(),
        "token": settings.session_token.reveal() or None,
        "expires_at": None,
    }


@contextmanager
def objects(doing: str, place: TargetAddress, settings: S3Settings) -> Iterator[None]:
    """Turn what the library says into an error with a cure. Its own texts are not shown: they quote requests."""
    from obstore.exceptions import BaseError  # late: it is large

    try:
        yield
    except GuardError:
        raise
    except (BaseError, FileNotFoundError, ValueError) as error:
        raise _problem(doing, place, settings, error) from error


def _problem(doing: str, place: TargetAddress, settings: S3Settings, error: Exception) -> GuardError:
    from obstore import exceptions

    text = str(error)
    code = match[1] if (match := _CODE.search(text)) else ""
    where = settings.endpoint_url or {"s3": "AWS", "gs": "Google", "az": "Azure"}[place.scheme]
    if code == "NoSuchBucket":
        return StepFailed(
            f"{doing} failed: there is no bucket {place.host} at {where}",
            hint="Create it, or correct the target: upgrade-guard config show",
        )
    if isinstance(error, FileNotFoundError):
        return StepFailed(f"{doing} failed: it is not there (any more)", hint="See what there is with your S3 client.")
    denied = isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError)
    if code == "RequestTimeTooSkewed":
        return StepFailed(f"{doing} failed: {where} has another time than this machine", hint="timedatectl status")
    if denied or code in _REFUSALS or "169.254.169.254" in text:
        return StepFailed(
            f"{doing} failed: {where} refused the credentials{f' ({code})' if code else ''}",
            hint=f"Check key, secret and the rights on bucket {place.host}; credentials came from {settings.source}",
        )
    status = int(match[1]) if (match := _STATUS.search(text)) else 0
    if not code or status >= 500 or code == "NoSuchUpload":
        why = f"{code} ({status})" if code else _reason(text, status)
        return HostUnreachable(
            f"{doing} failed: {where} cannot be reached, or broke off: {why}",
            hint="Check endpoint, network and certificate (endpoint_url, ca_bundle), then go on: upgrade-guard resume",
        )
    return StepFailed(f"{doing} failed: {where} answered {code}", hint="See what the object store's own log says.")


def _reason(text: str, status: int) -> str:
    """The words of the system or of the TLS library within the library's long text; no address, no key."""
    for pattern in (
        r"invalid peer certificate: \w+",
        r"received corrupt message of type \w+",  # no TLS is spoken there
        r"(?i)connection (?:refused|reset|closed|aborted)[\w ]*",
        r"(?i)failed to lookup address information",
        r"(?i)(?:operation|request|connection) timed out",
        r"(?i)no route to host",
        r"(?i)network is unreachable",
        r"(?i)broken pipe",
    ):
        if match := re.search(pattern, text):
            return match[0]
    return f"HTTP status {status}" if status else "no answer"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
