"""Which file system a local path is on, and whether losing this machine would take it along."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

REMOTE_FILE_SYSTEMS = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "lustre", "nfs", "nfs4", "smb3", "smbfs", "virtiofs"}
)
_FUSE = "fuse."
MOUNTINFO = Path("/proc/self/mountinfo")


def nearest(path: Path) -> Path:
    """The path itself with links resolved, or the closest directory above it that exists."""
    real = path.resolve()
    while not real.exists() and real != real.parent:
        real = real.parent
    return real


def file_system_of(path: Path, mountinfo: str) -> str:
    """The type of the file system that a resolved path is on, by proc(5) mountinfo; "" when no line fits."""
    best, kind = "", ""
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - ")
        fields, more = before.split(), after.split()
        if not dash or len(fields) < 5 or not more:
            continue
        point = _unescaped(fields[4])
        if (path == Path(point) or Path(point) in path.parents) and len(point) >= len(best):  # the last mount wins
            best, kind = point, more[0]
    return kind


def is_remote(kind: str) -> bool:
    """Is it kept on another machine? FUSE file systems are taken as such (sshfs, s3fs, glusterfs)."""
    return kind in REMOTE_FILE_SYSTEMS or kind.startswith(_FUSE)


def survives_this_machine(
    path: Path, *, etcd_data_devices: Sequence[int], separate_storage: Sequence[str | Path], mountinfo: str
) -> tuple[bool, str]:
    """Would a file at `path` survive the loss of this control-plane node? With the reason."""
    real = nearest(path)
    if real.stat().st_dev in etcd_data_devices:
        return False, f"{path} is on the same device as the etcd data"
    kind = file_system_of(real, mountinfo)
    if is_remote(kind):
        return True, f"{path} is on a file system of another machine ({kind})"
    for storage in separate_storage:
        kept = Path(storage).resolve()
        if real == kept or kept in (*real.parents, path.resolve(), *path.resolve().parents):
            return True, f"{storage} is configured as storage that survives the loss of this machine"
    return False, f"{path} is on a local file system ({kind or 'unknown'}) of this control-plane node"


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)
