"""The integrity of a snapshot file, without etcd.

A snapshot is a bbolt file followed by the SHA-256 of everything before it. `etcdctl snapshot status` exits 0 for a
file whose digest is wrong, cut off or missing (measured with etcd 3.5); only a restore looks at it. So we look first.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

DIGEST_SIZE = 32
_SECTOR = 512
_MAGIC = bytes.fromhex("edda0ced")  # 0xED0CDAED, little endian, in bbolt's meta page 0
_MAGIC_AT = 16
_CHUNK = 1 << 20


@dataclass(frozen=True)
class SnapshotDigest:
    """One pass over a snapshot file: `size` in bytes, the whole file's `sha256`, one sentence per problem."""

    size: int
    sha256: str
    problems: tuple[str, ...]


def check_trailer(path: Path) -> tuple[str, ...]:
    """What is wrong with a snapshot file, a sentence each; empty when its digest holds. Constant memory.

    Rules of `snapshot save`: the size is a multiple of 512 plus 32, and the last 32 bytes are the digest of the rest.
    Raises OSError when the file cannot be read.
    """
    return read_snapshot(path).problems


def read_snapshot(path: Path) -> SnapshotDigest:
    """Read a snapshot file once: its size, its SHA-256 and its problems. Raises OSError when it cannot be read."""
    size = path.stat().st_size
    body = hashlib.sha256()
    start = b""
    with path.open("rb") as snapshot:
        left = max(size - DIGEST_SIZE, 0)
        while left and (chunk := snapshot.read(min(_CHUNK, left))):
            start = start or chunk[: _MAGIC_AT + len(_MAGIC)]
            body.update(chunk)
            left -= len(chunk)
        trailer = snapshot.read()
    whole = body.copy()
    whole.update(trailer)
    problems = _problems(path.name, size, start, trailer, body.digest())
    return SnapshotDigest(size, whole.hexdigest(), problems)


def _problems(name: str, size: int, start: bytes, trailer: bytes, digest: bytes) -> tuple[str, ...]:
    if size == 0:
        return (f"{name} is empty",)
    if start[_MAGIC_AT:] != _MAGIC:
        return (f"{name} is not an etcd database: the bbolt magic number is missing",)
    if size % _SECTOR == 0:
        return (f"{name} has no SHA-256 trailer: its size of {size} bytes is that of a bare database",)
    if size % _SECTOR != DIGEST_SIZE:
        return (f"{name} is cut short: its size of {size} bytes is not a multiple of {_SECTOR} plus {DIGEST_SIZE}",)
    if trailer != digest:
        return (f"{name} is damaged: its content does not match the SHA-256 in its last {DIGEST_SIZE} bytes",)
    return ()
