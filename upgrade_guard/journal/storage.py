"""Where a journal may live: a private directory on a local disk."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from upgrade_guard.errors import JournalProblem
from upgrade_guard.journal.problems import unwritable

# SQLite's write-ahead log shares memory between processes and needs one machine's disk: https://sqlite.org/wal.html.
# fmt: off
NETWORK_FILE_SYSTEMS = frozenset((
    "afs", "beegfs", "ceph", "cifs", "coda", "fuse.ceph", "fuse.glusterfs", "fuse.juicefs", "fuse.s3fs",
    "fuse.sshfs", "gfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs",
    "smb3", "smbfs"
))
# fmt: on


def private_directory(directory: Path) -> None:
    """Make it 0700 when it is not there. An existing one keeps its mode, but is refused when everyone may write.

    What was made is there after a power cut too: a name is durable only once the directory that holds it was synced.
    """
    try:
        missing = [one for one in (directory, *directory.parents) if not one.exists()]
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for made in missing:
            sync_directory(made.parent)
        mode = directory.stat().st_mode
    except OSError as error:
        raise unwritable(directory, error) from error
    if mode & stat.S_IWOTH:
        raise JournalProblem(
            f"{directory} can be written by everyone, so the journal in it would prove nothing",
            hint=f"make it private: `chmod 700 {directory}`, or choose another place with --state-dir",
        )


def private_file(path: Path) -> None:
    """Create it empty with mode 0600, or take other people's rights on an existing one away."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if stat.S_IMODE(os.fstat(file).st_mode) != 0o600:
                os.fchmod(file, 0o600)
        finally:
            os.close(file)
    except OSError as error:
        raise unwritable(path, error) from error


def sync_directory(directory: Path) -> None:
    """Make the names in it durable: SQLite syncs what is in its files, not where they are. Raises OSError."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some FUSE mounts
            raise
    finally:
        os.close(handle)


def refuse_network_file_system(directory: Path, mounts: str | None = None) -> None:
    """Raise JournalProblem when `directory` is on a network file system. `mounts` is the text of mountinfo."""
    kind = file_system(
        directory, Path("/proc/self/mountinfo").read_text(errors="surrogateescape") if mounts is None else mounts
    )
    if kind in NETWORK_FILE_SYSTEMS:
        raise JournalProblem(
            f"{directory} is on a network file system ({kind}), where SQLite cannot keep its promises",
            hint="choose a local directory: `--state-dir /var/lib/upgrade-guard`",
        )


def file_system(directory: Path, mounts: str) -> str:
    """The kind of file system that holds `directory`, "" when the mounts do not say (proc(5), mountinfo)."""
    where = directory.resolve()
    kind, depth = "", -1
    for line in mounts.splitlines():
        fields, _, source = line.partition(" - ")
        words = fields.split(" ")
        if len(words) < 5 or not source:
            continue
        point = Path(words[4].encode("latin-1", "backslashreplace").decode("unicode_escape"))
        # The last of several mounts on one point is the one that is seen.
        if where.is_relative_to(point) and len(point.parts) >= depth:
            kind, depth = source.split(" ")[0], len(point.parts)
    return kind
