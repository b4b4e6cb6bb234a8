"""Target URLs, and whether two addresses mean the same machine."""

from __future__ import annotations

import ipaddress
import posixpath
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from upgrade_guard.errors import UsageProblem

FORMS = "file:///path, ssh://[user@]host[:port]/path or s3://[profile@]bucket/prefix"
OBJECT_STORES = ("s3", "gs", "az")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}")
Resolve = Callable[[str], frozenset[str]]


@dataclass(frozen=True)
class TargetAddress:
    """What a target URL names. `host` is "" for this machine; `path` is absolute and below /.

    Of an object store, `host` is the bucket, `path` the prefix (which may be "/" alone) and `user` the profile.
    """

    url: str
    scheme: str
    host: str
    user: str
    port: int | None
    path: str


def parse_place(url: str) -> TargetAddress:
    """Read a target URL. Raises UsageProblem for anything but a plain URL of a known scheme."""
    if any(not letter.isprintable() or letter.isspace() for letter in url):
        raise _wrong(url, "it contains spaces or control characters; write them as %20")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _wrong(url, str(error)) from error
    if parts.scheme not in ("file", "ssh", *OBJECT_STORES):
        raise _wrong(url, f"{parts.scheme or 'no scheme'} is not known")
    if parts.password is not None:
        raise _wrong(_without_password(parts), "a password does not belong there; use a key")
    if parts.query or parts.fragment:
        raise _wrong(url, "it has a ? or # part")
    path = unquote(parts.path)
    if parts.scheme in OBJECT_STORES:
        return _object_place(url, parts, path)
    if not path.startswith("/") or posixpath.normpath(path) == "/" or ".." in path.split("/") or not path.isprintable():
        raise _wrong(url, "it needs an absolute path below /, without ..")
    host = parts.hostname or ""
    if parts.scheme == "file" and host not in ("", "localhost"):
        raise _wrong(url, f"file: means this machine, not {host}; write file:///path, or ssh://{host}/path")
    if parts.scheme == "ssh" and (not host or host.startswith("-") or (parts.username or "").startswith("-")):
        raise _wrong(url, "it names no host")
    normal = "/" + posixpath.normpath(path).lstrip("/")
    return TargetAddress(url, parts.scheme, "" if parts.scheme == "file" else host, parts.username or "", port, normal)


def _object_place(url: str, parts: SplitResult, path: str) -> TargetAddress:
    bucket, profile = parts.netloc.rpartition("@")[2], parts.username or ""
    if not _BUCKET.fullmatch(bucket):
        raise _wrong(url, "it names no bucket; an endpoint does not belong into the URL but into the settings")
    if profile and parts.scheme != "s3":
        raise _wrong(url, "only s3: has profiles")
    if ".." in path.split("/") or not path.isprintable():
        raise _wrong(url, "its prefix must not contain ..")
    return TargetAddress(url, parts.scheme, bucket, profile, None, posixpath.normpath("/" + path.lstrip("/")))


def addresses_of(name: str) -> frozenset[str]:
    """Every address that a host name has here; empty when it has none."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset()
    return frozenset(_plain(str(row[4][0])) for row in found)


def same_machine(names: Sequence[str], others: Sequence[str], resolve: Resolve) -> str:
    """The first of `others` that means the same machine as one of `names`, or ""."""
    ours = {_plain(name) for name in names} | {address for name in names for address in resolve(name)}
    for other in others:
        bare = _plain(other.rpartition("@")[2])
        if bare in ours or resolve(bare) & ours:
            return other
    return ""


def is_this_machine(names: Sequence[str], resolve: Resolve) -> bool:
    """Does one of the names lead back to this machine by a loopback address?"""
    every = {_plain(name) for name in names} | {address for name in names for address in resolve(name)}
    return any(_is_loopback(address) for address in every)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _plain(address: str) -> str:
    """Lower case, without brackets, zone and trailing dot; IPv6 in its short form."""
    bare = address.strip("[]").partition("%")[0].rstrip(".").lower()
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return bare


def _without_password(parts: SplitResult) -> str:
    return parts._replace(netloc=f"{parts.username or ''}:***@{parts.hostname or ''}").geturl()


def _wrong(url: str, why: str) -> UsageProblem:
    return UsageProblem(f"{url!r} cannot be an off-site target: {why}", hint=f"Write {FORMS}")
