"""What a value of the configuration may be: words for people, and a reader that says why another one is refused."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upgrade_guard.model.ssh_words import checked_destination, checked_option

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
OFFSITE_SCHEMES = ("file://", "ssh://", "s3://", "gs://", "az://")


@dataclass(frozen=True)
class Kind:
    """What a value may be: `words` for people, `read` turns the TOML value into ours or raises ValueError(why)."""

    words: str
    read: Callable[[Any], Any]


def duration(value: Any) -> float:
    """Seconds of `90s`, `30m`, `2h` or `7d`. Raises ValueError for anything else, and for zero."""
    match = re.fullmatch(r"([1-9]\d{0,5})([smhd])", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('give a duration such as "90s", "30m", "2h" or "7d"')
    return float(int(match[1]) * _SECONDS[match[2]])


def duration_or_none(value: Any) -> float:
    """The same, or "" for none, which is 0."""
    return 0.0 if value == "" else duration(value)


def text(value: Any) -> str:
    """Any text without control characters."""
    if not isinstance(value, str):
        raise ValueError(f"give a text in quotes, not {toml_kind(value)}")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("control characters are not allowed")
    return value


def destination(value: Any) -> str:
    """What ssh is told to reach; never anything that ssh could take for an option."""
    given = text(value)
    try:
        return checked_destination(given)
    except ValueError as problem:
        raise ValueError(
            f'give "local", a host, or user@host; it must not begin with "-" or contain spaces: {problem}'
        ) from None


def user(value: Any) -> str:
    """Whom ssh logs in as."""
    given = text(value)
    try:
        checked_destination(f"{given}@host")
    except ValueError as problem:
        raise ValueError(f'give the name of a user; it must not begin with "-" or contain spaces: {problem}') from None
    return given


def path(value: Any) -> Path:
    """An absolute path on this machine; `~/` is the home of who runs this."""
    try:
        given = Path(text(value)).expanduser()
    except RuntimeError as problem:
        raise ValueError(str(problem)) from None
    if not given.is_absolute():
        raise ValueError("give an absolute path, or one that begins with ~/")
    return given


def node_path(value: Any) -> str:
    """An absolute path on some node, which this machine cannot look at."""
    given = text(value)
    if not given.startswith("/"):
        raise ValueError("give an absolute path on that node")
    return given


def node_path_or_none(value: Any) -> str:
    """An absolute path on some node, or nothing."""
    return node_path(value) if text(value) else ""


def file(value: Any) -> str:
    """A path on this machine, or nothing."""
    return str(path(value)) if text(value) else ""


def at_least(least: int) -> Kind:
    """A whole number with a lower bound."""

    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"give a whole number, not {toml_kind(value)}")
        if value < least:
            raise ValueError(f"give {least} or more")
        return value

    return Kind(f"whole number, {least} or more", read)


def one_of(*choices: str) -> Kind:
    """One of a few words."""

    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError("give one of: " + ", ".join(f'"{choice}"' for choice in choices) + meant(value, choices))
        return str(value)

    return Kind("one of " + ", ".join(f'"{choice}"' for choice in choices), read)


def list_of(words: str, item: Callable[[Any], Any]) -> Kind:
    """A list whose entries `item` reads; `words` says what they are."""

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"give a list in brackets, not {toml_kind(value)}")
        return tuple(item(entry) for entry in value)

    return Kind(f"list of {words}", read)


def offsite_url(value: Any) -> str:
    """An off-site target. Raises ValueError for another scheme, a missing path or host, or a password in it."""
    given = text(value)
    if not given.startswith(OFFSITE_SCHEMES):
        raise ValueError(f"{given!r} is not an off-site target: it begins with " + ", ".join(OFFSITE_SCHEMES))
    scheme, rest = given.split("://", 1)
    if scheme not in ("file", "ssh"):
        return _bucket_url(given, rest)
    host, slash, below = rest.partition("/")
    if ":" in host.rpartition("@")[0]:
        raise ValueError("an off-site target carries no password: use an ssh key")
    if not slash or not below.strip("/") or (scheme == "ssh") != bool(host):
        raise ValueError(f"{given!r}: write file:///absolute/path or ssh://user@host/absolute/path")
    if host:
        destination(host)
    return given


def _bucket_url(given: str, rest: str) -> str:
    profile, _, bucket = rest.partition("/")[0].rpartition("@")
    if ":" in profile:
        raise ValueError("an off-site target carries no password: a key belongs into vault.s3_file or the environment")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,62}", bucket):
        raise ValueError(f"{given!r}: write s3://bucket/prefix or s3://profile@bucket/prefix")
    return given


def preflight_name(value: Any) -> str:
    """The name of one of kubeadm's preflight checks."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", text(value)):
        raise ValueError(f'{value!r} is not the name of a kubeadm preflight check, such as "CoreDNSMigration"')
    return str(value)


def ssh_option(value: Any) -> str:
    """One of the options that may be set. hosts/ refuses others too; here it is said before a run is on the record."""
    if not re.fullmatch(r"[A-Za-z0-9]+=\S.*", text(value)):
        raise ValueError(f'{value!r} is not an ssh option: write "Name=value"')
    checked_option(str(value))
    return str(value)


def label(value: Any) -> str:
    """A label as kubectl takes it: KEY=VALUE."""
    given = text(value)
    if not re.fullmatch(r"([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?=[A-Za-z0-9_.-]*", given):
        raise ValueError(f"{given!r} is not a label: KEY=VALUE")
    return given


def namespace(value: Any) -> str:
    """The name of a namespace."""
    given = text(value)
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", given):
        raise ValueError(f"{given!r} is not the name of a namespace")
    return given


def recipient(value: Any) -> str:
    """An age public key, or an OpenSSH one: `age1...`, `ssh-ed25519 AAAA...`, `ssh-rsa AAAA...`."""
    given = text(value).strip()
    if given.startswith("AGE-SECRET-KEY"):
        raise ValueError("that is a private key; give the public one, which age-keygen -y prints")
    if not re.fullmatch(r"age1[02-9ac-hj-np-z]{58}|ssh-(ed25519|rsa) [A-Za-z0-9+/=]+( .*)?", given):
        raise ValueError(f"{given[:40]!r} is not a recipient: give age1... or the text of an ssh-ed25519 public key")
    return given


def yes_or_no(value: Any) -> bool:
    """True or false, without quotes."""
    if not isinstance(value, bool):
        raise ValueError(f"give true or false without quotes, not {toml_kind(value)}")
    return value


def toml_kind(value: Any) -> str:
    """What a TOML value is, in words."""
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "a table"}
    return kinds.get(type(value), "a date")


def meant(given: object, known: tuple[str, ...]) -> str:
    """The known word that was probably meant, as a question; nothing when none is near."""
    near = difflib.get_close_matches(str(given), known, n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


TEXT = Kind("text", text)
USER = Kind("user name", user)
DESTINATION = Kind('"local", host or user@host', destination)
PATH = Kind("absolute path", path)
NODE_PATH = Kind("absolute path on that node", node_path)
NODE_PATH_OR_NONE = Kind("absolute path on the nodes", node_path_or_none)
YES_OR_NO = Kind("true or false", yes_or_no)
DURATION = Kind('duration such as "90s", "30m", "2h"', duration)
DURATION_OR_NONE = Kind('duration such as "26h", or "" for none', duration_or_none)
FILE = Kind("absolute path", file)
