"""This machine's disks: durable work on private files, and which file system a path is on."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from upgrade_guard.errors import GuardError, StepFailed
from upgrade_guard.hosts.ownership import refuse_foreign
from upgrade_guard.vault.manifest import DESCRIPTION_LIMIT, FileEntry, too_large

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


_CHUNK = 1 << 20

_HINTS = {
    errno.ENOSPC: "Free space there (df -h '{path}') and go on with: upgrade-guard resume",
    errno.EDQUOT: "Raise the quota there (quota -s) and go on with: upgrade-guard resume",
    errno.EROFS: "Mount it writable (findmnt -T '{path}') and go on with: upgrade-guard resume",
    errno.EACCES: "Give this user access (ls -ld '{path}') and go on with: upgrade-guard resume",
    errno.EPERM: "Give this user access (ls -ld '{path}') and go on with: upgrade-guard resume",
    errno.ENOENT: "Create or mount it (findmnt -T '{path}') and go on with: upgrade-guard resume",
    errno.ENOTDIR: "Name a directory instead (ls -ld '{path}').",
    errno.EIO: "Look at the disk (dmesg | tail) before anything else.",
    errno.ESTALE: "Mount the network file system anew (findmnt -T '{path}') and go on with: upgrade-guard resume",
    errno.ELOOP: "Replace the symbolic link by the file or directory itself (ls -ld '{path}').",
}


def storage_problem(doing: str, path: Path, error: OSError) -> GuardError:
    """The error of a file system, in words: what was being done, where, why, and what to type."""
    hint = _HINTS.get(error.errno or 0, "Look at it with: ls -ld '{path}'").format(path=path)
    return StepFailed(f"{doing} failed at {error.filename or path}: {error.strerror or error}", hint=hint)


@contextmanager
def storage(doing: str, path: Path) -> Iterator[None]:
    """Turn what the file system says into a StepFailed with a hint."""
    try:
        yield
    except OSError as error:
        raise storage_problem(doing, path, error) from error


def private_directory(path: Path) -> None:
    """Make a 0700 directory, durably; one that exists is left as it is. Its parent must exist."""
    try:
        path.mkdir(mode=0o700)
        sync_directory(path.parent)
    except FileExistsError:
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None


def private_directories(path: Path) -> None:
    """The same with the parents that are missing, in a place of ours. Raises Refused where it could be anybody's."""
    refuse_foreign(path)
    for missing in reversed([one for one in path.parents if not one.exists()]):
        private_directory(missing)
    private_directory(path)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable, where the file system can do that for directories."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some FUSE and SMB mounts
            raise
    finally:
        os.close(handle)


def write_synced(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file of that mode under a temporary name (`path`.part), sync it and rename it into place."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)  # whatever the umask says
        file.write(content)
        file.flush()
        os.fsync(handle)
    part.rename(path)
    sync_directory(path.parent)


def read_description(path: Path, where: str) -> bytes:
    """A small regular file, such as manifest.json; `where` names it for people.

    Raises Refused for one that is larger than any of ours, OSError.
    """
    with open_regular(path) as handle, os.fdopen(handle, "rb", closefd=False) as file:
        content = file.read(DESCRIPTION_LIMIT + 1)
    if len(content) > DESCRIPTION_LIMIT:
        raise too_large(where)
    return content


def copy_synced(
    source: Path, destination: Path, moved: Callable[[int], None] = lambda _: None, *, limit: int | None = None
) -> FileEntry:
    """Copy into a new 0600 file, in constant memory, and sync it. The digest is that of the bytes that were written.

    `moved` hears how many bytes there are so far. Of a file that has more than `limit` bytes, not much more is copied.
    """
    digest = hashlib.sha256()
    size = 0
    handle = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb", buffering=0) as out, open_regular(source) as file:
        while chunk := os.read(file, _CHUNK):
            digest.update(chunk)
            size += len(chunk)
            view = memoryview(chunk)
            while view:
                view = view[out.write(view) :]
            moved(size)
            if limit is not None and size > limit:
                break
        os.fsync(handle)
    return FileEntry(digest.hexdigest(), size)


@contextmanager
def open_regular(path: Path) -> Iterator[int]:
    """A file descriptor for reading a regular file; a symbolic link raises OSError (ELOOP)."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def open_private(path: Path) -> Iterator[int]:
    """A file descriptor for reading and writing a file of ours, made 0600 when it is not there."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        yield handle
    finally:
        os.close(handle)


def measure(path: Path, *, from_medium: bool = False) -> FileEntry:
    """Size and SHA-256 of a regular file. `from_medium` asks the kernel to forget its cached pages first.

    With the pages dropped the file is read from where it is kept, not from what this machine still remembers of it.
    """
    digest = hashlib.sha256()
    size = 0
    with open_regular(path) as file:
        if from_medium:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        while chunk := os.read(file, _CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return FileEntry(digest.hexdigest(), size)


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    with open_regular(path) as file:
        os.fsync(file)
