"""Files and directories of a node, by coreutils, findutils, tar and flock."""

from __future__ import annotations

import glob
import posixpath
import re
import secrets
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from upgrade_guard.errors import CommandFailed, OutputTooLarge, StepFailed, UsageProblem
from upgrade_guard.hosts.base import Host
from upgrade_guard.model.command import Command, Result
from upgrade_guard.tools.commands import CHANGE_TIMEOUT, READ_TIMEOUT, reads, run_checked, unexpected

_FIELDS = 8
_KINDS = {"f": "file", "d": "directory", "l": "link"}


@dataclass(frozen=True)
class Entry:
    """One thing on a node. `kind`: "file", "directory", "link" or "other"; `mode` are permission bits.

    `size` is in bytes, `modified` in seconds since 1970, `link` where a link points.
    """

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    modified: float = 0.0
    link: str = ""


@reads("find")
def parse_entries(text: str) -> tuple[Entry, ...]:
    """What `find -printf '%p\\0%y\\0%m\\0%U\\0%G\\0%s\\0%T@\\0%l\\0'` prints, sorted by path."""
    words = text.split("\0")[:-1]
    if len(words) % _FIELDS:
        raise unexpected("find", text.replace("\0", " "))
    entries = []
    for start in range(0, len(words), _FIELDS):
        path, kind, mode, uid, gid, size, modified, link = words[start : start + _FIELDS]
        numbers = (int(mode, 8), int(uid), int(gid), int(size), float(modified))
        entries.append(Entry(path, _KINDS.get(kind, "other"), *numbers, link))
    return tuple(sorted(entries, key=lambda entry: entry.path))


__all__ = ["Entry", "Files"]

STAGED = "-staged"
"""Behind the name of our work directory: what is not secret, and what apt's own user has to reach."""

LARGE_TIMEOUT = 1800.0  # seconds: for what grows with etcd's database
_ARCHIVE_LIMIT = 4 << 30  # bytes: no archive of node files is as large
_LOCK_HELD = 75
# The names that steps/etcd_restore.py gives: `etcd.upgrade-guard-RUN-old`, and `.upgrade-guard-RUN-old` in a mount.
_MOVED_ASIDE = re.compile(
    r"(\.upgrade-guard-[A-Za-z0-9][A-Za-z0-9.-]*-old|/upgrade-guard-stopped-[A-Za-z0-9][A-Za-z0-9.-]*)$"
)
_NOT_A_MOUNT_POINT = (1, 32)


class Files:
    """Paths are absolute paths on the node; names may contain anything but a NUL.

    `work_dir` is the directory of ours on that node: only below it anything is ever removed.
    """

    def __init__(self, host: Host, *, work_dir: str = "") -> None:
        self._host = host
        self._work_dir = work_dir

    @property
    def host(self) -> Host:
        """Where these files are."""
        return self._host

    @property
    def work_dir(self) -> str:
        """The directory of ours there."""
        return self._work_dir

    # Reading

    def read_text(self, path: str) -> str:
        """The whole file as UTF-8; what is not UTF-8 becomes U+FFFD."""
        return self._read("cat", "--", path).stdout

    def read_bytes(self, path: str, limit: int = 64 << 20) -> bytes:
        """The whole file, byte by byte. Raises OutputTooLarge, and reads no further, when it has more than `limit`."""
        with tempfile.TemporaryDirectory(prefix="upgrade-guard-") as directory:
            local = Path(directory) / "file"
            self.fetch(path, local, limit=limit)
            return local.read_bytes()

    def exists(self, path: str) -> bool:
        """Is there something of that name? A link to nothing counts as nothing."""
        return self._test("-e", path)

    def existing(self, *paths: str, follow: bool = True) -> frozenset[str]:
        """Which of them exist, in one look; a link to nothing counts as nothing unless links are not followed."""
        if not paths:
            return frozenset()
        argv = ("stat", *(("--dereference",) if follow else ()), r"--printf=%n\0", "--", *paths)
        return frozenset(run_checked(self._host, argv, accept=(0, 1)).stdout.split("\0")) - {""}

    def is_dir(self, path: str) -> bool:
        """Is it a directory, or a link to one?"""
        return self._test("-d", path)

    def list_dir(self, path: str) -> tuple[str, ...]:
        """The names in it, hidden ones too, sorted. Raises CommandFailed when there is no such directory."""
        stdout = self._read("find", path, "-mindepth", "1", "-maxdepth", "1", "-printf", r"%f\0").stdout
        return tuple(sorted(name for name in stdout.split("\0") if name))

    def find_files(self, directory: str, *, newer_than: datetime | None = None) -> tuple[str, ...]:
        """The regular files below it, sorted; with `newer_than` only those modified after that time."""
        newer = ("-newermt", f"@{newer_than.timestamp():.6f}") if newer_than else ()
        stdout = self._read("find", directory, "-type", "f", *newer, "-printf", r"%p\0").stdout
        return tuple(sorted(path for path in stdout.split("\0") if path))

    def entries(self, *paths: str, prune: tuple[str, ...] = ()) -> tuple[Entry, ...]:
        """Every file, directory and link at and below `paths`, sorted by path, without what is at or below `prune`.

        Raises CommandFailed when one of the paths is not there.
        """
        if not paths:
            return ()
        skip = tuple(word for path in prune for word in ("-path", _literal(path), "-prune", "-o"))
        printf = ("-printf", r"%p\0%y\0%m\0%U\0%G\0%s\0%T@\0%l\0")
        return parse_entries(self._read("find", *paths, *skip, *printf, timeout=CHANGE_TIMEOUT).stdout)

    def sha256(self, *paths: str) -> dict[str, str]:
        """Path to SHA-256 in hex. Raises CommandFailed when one cannot be read."""
        if not paths:
            return {}
        stdout = self._read("sha256sum", "--zero", "--", *paths, timeout=LARGE_TIMEOUT).stdout
        digests: dict[str, str] = {}
        for row in stdout.split("\0"):
            if row:
                digest, mark, path = row[:64], row[64:66], row[66:]
                if mark not in ("  ", " *") or not path:
                    raise unexpected("sha256sum", row)
                digests[path] = digest
        return digests

    def size(self, path: str) -> int:
        """Bytes of the file."""
        return self._number("stat", "--dereference", "--format=%s", "--", path)

    def device(self, path: str) -> int:
        """The number of the device that it is on: equal numbers, same file system."""
        return self._number("stat", "--dereference", "--format=%d", "--", path)

    def filesystem_type(self, path: str) -> str:
        """The name that stat gives to its file system: ext2/ext3, xfs, tmpfs, nfs, overlayfs."""
        return self._read("stat", "--file-system", "--format=%T", "--", path).stdout.strip()

    def free_bytes(self, path: str) -> int:
        """Bytes that an ordinary program may still write on the file system of `path`, which must exist."""
        return self._number("df", "--output=avail", "--block-size=1", "--", path)

    def is_mount_point(self, path: str) -> bool:
        """Does a file system of its own begin there? Such a directory cannot be renamed."""
        argv = ("mountpoint", "--quiet", path)
        return run_checked(self._host, argv, accept=(0, *_NOT_A_MOUNT_POINT)).exit_status == 0

    def real_path(self, path: str) -> str:
        """The path with every symbolic link in it followed; parts that are not there stay as they are."""
        return self._read("realpath", "--canonicalize-missing", "--zero", "--", path).stdout.rstrip("\0")

    def flock_held(self, path: str) -> bool:
        """Does a process hold the flock of that file? etcd holds it on member/snap/db as long as it lives.

        Raises StepFailed when there is no such file: flock(1) would make it.
        """
        if not self.exists(path):
            raise StepFailed(f"{path} on {self._host.name} is not there, so nobody's lock can be seen")
        argv = ("flock", "--nonblock", "--exclusive", f"--conflict-exit-code={_LOCK_HELD}", path, "true")
        return run_checked(self._host, argv, accept=(0, _LOCK_HELD)).exit_status == _LOCK_HELD

    # Writing

    def write(self, path: str, content: bytes, mode: int = 0o600) -> None:
        """Replace the file as a whole: it has the old content or the new one, whenever one looks."""
        self._put(path, content, mode, CHANGE_TIMEOUT)

    def send(self, local: Path, path: str, mode: int = 0o600, *, timeout: float = LARGE_TIMEOUT) -> None:
        """Copy a file of this machine there, in the same way as `write`, in constant memory."""
        self._put(path, local, mode, timeout)

    def fetch(self, path: str, local: Path, *, timeout: float = LARGE_TIMEOUT, limit: int | None = None) -> None:
        """Copy a file of the node here (0600), under a temporary name first.

        Raises StepFailed when less or more arrived than the file has: cat is content to have written into a pipe.
        Raises OutputTooLarge when more than `limit` bytes came.
        """
        part = _part_of(local)
        try:
            try:
                run_checked(self._host, ("cat", "--", path), timeout=timeout, stdout_to=part, stdout_limit=limit)
            except OutputTooLarge as problem:
                raise OutputTooLarge(
                    f"{path} on {self._host.name} has more than {limit} bytes", hint=f"Look at it there: ls -l {path}"
                ) from problem
            arrived, there = part.stat().st_size, self.size(path)
            if arrived != there:
                raise StepFailed(f"{path} on {self._host.name} has {there} bytes, and {arrived} of them arrived here")
            part.rename(local)
        finally:
            part.unlink(missing_ok=True)

    def make_dir(self, *paths: str, mode: int = 0o700) -> None:
        """Make them with their parents; only a directory that was not there gets the mode."""
        # mkdir itself is silent about a directory that is there, and follows a link to one.
        self._change("mkdir", "--parents", f"--mode={mode:04o}", "--", *paths)

    def move(self, source: str, target: str) -> None:
        """Rename, never copy and never replace: both must be on one file system and `target` must be free.

        Raises StepFailed when that is not so, or when the source is still there afterwards.
        """
        parent = posixpath.dirname(target) or "/"
        found = self._devices(source, parent, target)
        for path in (source, parent):
            if path not in found:
                raise StepFailed(f"{path} on {self._host.name} is not there; {source} was not moved to {target}")
        if target in found:
            raise StepFailed(f"{target} on {self._host.name} is already there; {source} was not moved")
        if found[source] != found[parent]:
            raise StepFailed(
                f"{source} and {parent} on {self._host.name} are on different file systems, so it cannot be renamed",
                hint=f"Look at the mounts there: findmnt -T {source}; findmnt -T {parent}",
            )
        self._change("mv", "--no-target-directory", "--no-clobber", "--", source, target)
        after = self._devices(source, target)
        if source in after or target not in after:
            raise StepFailed(f"{source} on {self._host.name} was not moved to {target}")

    def move_into(self, directory: str, *sources: str) -> None:
        """Move them into a directory under their own names, and replace nothing: by rename where that is possible.

        Raises StepFailed when one of the names is taken there, or when something was left where it was.
        """
        names = (posixpath.join(directory, posixpath.basename(source)) for source in sources)
        taken = self.existing(*names, follow=False)
        if taken:
            raise StepFailed(f"{min(taken)} on {self._host.name} is already there; nothing was moved")
        self._change("mv", "--no-clobber", f"--target-directory={directory}", "--", *sources)
        left = self.existing(*sources, follow=False)
        if left:
            raise StepFailed(f"{min(left)} on {self._host.name} was not moved into {directory}")

    def copy_tree(self, source: str, target: str, *, timeout: float = LARGE_TIMEOUT) -> None:
        """Copy with owners, modes, times and links; `target` becomes the copy itself."""
        self._change("cp", "--archive", "--no-target-directory", "--", source, target, timeout=timeout)

    def remove_own(self, path: str) -> None:
        """Remove a file or tree of ours, strictly below `work_dir` or what is staged beside it. Raises UsageProblem for
        any other path.
        """
        inside, own = posixpath.normpath(path), posixpath.normpath(self._work_dir)
        ours = inside == f"{own}{STAGED}" or inside.startswith((f"{own}/", f"{own}{STAGED}/"))
        if not own.startswith("/") or not ours:
            raise UsageProblem(f"{path} on {self._host.name} is not ours to remove (not below {self._work_dir!r})")
        self._change("rm", "--recursive", "--force", "--one-file-system", "--", inside)

    def remove_aside(self, path: str) -> None:
        """Remove data that a rollback or a restore moved aside, which its name says. Raises UsageProblem otherwise."""
        if not path.startswith("/") or not _MOVED_ASIDE.search(posixpath.normpath(path)):
            raise UsageProblem(
                f"{path} on {self._host.name} is not ours to remove: nothing says that it was moved aside"
            )
        self._change("rm", "--recursive", "--one-file-system", "--", posixpath.normpath(path), timeout=LARGE_TIMEOUT)

    def own_like(self, path: str, reference: str) -> None:
        """Give a directory and all that is in it the owner and group that `reference` has."""
        self._change("chown", "--recursive", "--no-dereference", f"--reference={reference}", "--", path)

    def sync(self, *paths: str) -> None:
        """These files are on the disk afterwards; without any, everything written so far."""
        self._change("sync", *(("--", *paths) if paths else ()), timeout=LARGE_TIMEOUT)

    def remove_empty(self, path: str) -> None:
        """Remove an empty directory, and its parents as far as they are empty then."""
        self._change("rmdir", "--parents", "--ignore-fail-on-non-empty", "--", path)

    # Archives

    def pack(
        self, paths: tuple[str, ...], local: Path, *, recursive: bool = True, timeout: float = LARGE_TIMEOUT
    ) -> None:
        """A gzipped tar of those paths here (0600), names relative to "/", numeric owners. Each of several hard links
        has the content itself, so that each can be extracted alone.

        Raises CommandFailed when a file cannot be read or changed while it was read.
        """
        names = "".join(f"{_relative(path)}\0" for path in paths).encode()
        recursion = "--recursion" if recursive else "--no-recursion"
        part = _part_of(local)
        flags = ("--create", "--gzip", "--file=-", "--numeric-owner", "--directory=/", recursion)
        argv = ("tar", *flags, "--hard-dereference", "--null", "--verbatim-files-from", "--files-from=-")
        try:
            run_checked(self._host, argv, timeout=timeout, stdin=names, stdout_to=part, stdout_limit=_ARCHIVE_LIMIT)
            part.rename(local)
        finally:
            part.unlink(missing_ok=True)

    def unpack(
        self,
        local: Path,
        *,
        directory: str = "/",
        only: tuple[str, ...] = (),
        exclude: tuple[str, ...] = (),
        timeout: float = LARGE_TIMEOUT,
    ) -> None:
        """Extract an archive of this machine there, owners and modes as packed; existing files are replaced.

        `only` and `exclude` are names as in the archive (`etc/kubernetes/manifests`), each with all below it.
        Examine the archive first: `vault.node_archive.read_archive`.
        """
        flags = ("--extract", "--gzip", "--file=-", f"--directory={directory}", "--same-owner", "--same-permissions")
        more = ("--numeric-owner", "--keep-directory-symlink", "--anchored", "--no-wildcards")
        without = tuple(f"--exclude={name}" for name in exclude)
        self._change("tar", *flags, *more, *without, "--", *only, timeout=timeout, stdin=local)

    def _put(self, path: str, content: bytes | Path, mode: int, timeout: float) -> None:
        self._remove_remains(path)
        part = f"{path}.part-{secrets.token_hex(4)}"
        self._change("install", f"--mode={mode:04o}", "--", "/dev/null", part)
        try:
            # dd reads its standard input itself: /dev/stdin cannot be opened where sshd gives it a socket.
            self._change(
                "dd", f"of={part}", "conv=notrunc,fsync", "bs=1M", "status=none", timeout=timeout, stdin=content
            )
            self._change("mv", "--no-target-directory", "--force", "--", part, path)
        except CommandFailed:
            run_checked(self._host, ("rm", "--force", "--", part), changes=True, accept=(0, 1))
            raise

    def _remove_remains(self, path: str) -> None:
        """What a process left that was killed while it wrote. Each has its name, for its `dd` may still be at work."""
        directory, name = posixpath.split(path)
        remains = ("-maxdepth", "1", "-type", "f", "-name", f"{_literal(name)}.part-????????", "-delete")
        self._host.run(Command(("find", directory, *remains), timeout=CHANGE_TIMEOUT, changes=True))

    def _test(self, flag: str, path: str) -> bool:
        return run_checked(self._host, ("test", flag, path), accept=(0, 1)).exit_status == 0

    def _devices(self, *paths: str) -> dict[str, str]:
        """Of those that are there, links to nothing too: the number of the device that each is on."""
        argv = ("stat", r"--printf=%d %n\0", "--", *paths)
        rows = run_checked(self._host, argv, accept=(0, 1)).stdout.split("\0")
        return {path: device for device, _, path in (row.partition(" ") for row in rows if row)}

    def _number(self, *argv: str) -> int:
        stdout = self._read(*argv).stdout
        words = stdout.split()
        if not words or not words[-1].isdigit():
            raise unexpected(argv[0], stdout, "no number")
        return int(words[-1])

    def _read(self, *argv: str, timeout: float = READ_TIMEOUT) -> Result:
        return run_checked(self._host, argv, timeout=timeout)

    def _change(self, *argv: str, timeout: float = CHANGE_TIMEOUT, stdin: bytes | Path | None = None) -> None:
        run_checked(self._host, argv, timeout=timeout, changes=True, stdin=stdin)


def _part_of(local: Path) -> Path:
    """A temporary name beside a file of this machine, and an end to those that killed processes left there."""
    for remains in local.parent.glob(f"{glob.escape(local.name)}.part-????????"):
        remains.unlink(missing_ok=True)
    return local.with_name(f"{local.name}.part-{secrets.token_hex(4)}")


def _relative(path: str) -> str:
    relative = posixpath.normpath(path).lstrip("/")
    if not path.startswith("/") or relative in ("", "."):
        raise UsageProblem(f"{path!r} is not an absolute path below /")
    return relative


def _literal(path: str) -> str:
    """For find's -path, which takes a pattern."""
    return "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in path)


def read_if_there(files: Files, path: str) -> str | None:
    """The text of a file, None when there is no such file or it cannot be read."""
    try:
        return files.read_text(path)
    except CommandFailed as problem:
        if problem.exit_status is None:
            raise
        return None
