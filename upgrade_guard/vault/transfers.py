"""Files to and from a target: in pieces, again after a lost connection, believed by their SHA-256.

Nothing that comes back becomes a bundle here that is not what its manifest says.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from upgrade_guard.errors import CommandFailed, HostUnreachable, Refused, StepFailed
from upgrade_guard.tools.files import Files
from upgrade_guard.tools.pieces import PIECE, Pieces
from upgrade_guard.vault.bundle import MANIFEST, PART, SNAPSHOT, Bundle, Vault, examine, is_safe_name
from upgrade_guard.vault.disk import (
    measure,
    open_private,
    open_regular,
    private_directories,
    private_directory,
    storage,
    sync_directory,
    sync_file,
    write_synced,
)
from upgrade_guard.vault.manifest import BundleManifest, FileEntry

_EVERY = 1.0  # seconds between two sentences
_MIB = 1 << 20


class Meter:
    """Says how far one file is, at most once a second. `what` names it and the way it takes; `total` is in bytes.

    `already` bytes were there before: they do not count for the throughput.
    """

    def __init__(
        self,
        what: str,
        total: int,
        say: Callable[[str], None],
        *,
        already: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._total = total
        self._say = say
        self._already = already
        self._monotonic = monotonic
        self._began = self._said = monotonic()
        from_there = f", going on at {already / _MIB:.1f} MiB" if already else ""
        say(f"{what} ({total / _MIB:.1f} MiB{from_there})")

    def moved(self, done: int) -> None:
        """So many bytes of the file are there now."""
        now = self._monotonic()
        if now - self._said < _EVERY or done >= self._total:
            return
        self._said = now
        rate = (done - self._already) / (now - self._began)
        left = f", {(self._total - done) / rate:.0f} s left" if rate > 0 else ""
        self._say(f"{self._what}: {done / _MIB:.0f} of {self._total / _MIB:.0f} MiB, {rate / _MIB:.1f} MiB/s{left}")


T = TypeVar("T")
Pause = Callable[[float], None]

PAUSES = (1.0, 5.0, 15.0)  # seconds before each further attempt


def retried(attempt: Callable[[], T], *, pause: Pause, say: Callable[[str], None]) -> T:
    """What `attempt` gives. It is made again while the other side cannot be reached or does not answer in time.

    Anything else (no permission, no space) is raised at once. `pause` waits, and may raise Interrupted.
    """
    for number, seconds in enumerate(PAUSES, start=2):
        try:
            return attempt()
        except (HostUnreachable, CommandFailed) as problem:
            if isinstance(problem, CommandFailed) and problem.exit_status is not None:
                raise
            say(f"{problem.message}; attempt {number} of {len(PAUSES) + 1} in {seconds:g} s")
            pause(seconds)
    return attempt()


def bring(
    local: Path,
    entry: FileEntry,
    read: Callable[[int, int], bytes],
    *,
    what: str,
    say: Callable[[str], None],
    piece: int = PIECE,
) -> None:
    """Fill `local` (0600, synced) with what `read(offset, size)` gives; what is here already is kept.

    Whether it is the right file, the caller measures.
    """
    with storage(f"Fetching {local.name}", local):
        here = local.stat().st_size if local.is_file() else 0
        offset = 0 if here >= entry.size else here - here % piece
        meter = Meter(what, entry.size, say, already=offset)
        with open_private(local) as file:
            os.truncate(file, offset)
            while offset < entry.size and (content := read(offset, min(piece, entry.size - offset))):
                os.pwrite(file, content, offset)
                offset += len(content)
                meter.moved(offset)
        sync_file(local)


class Transfer:
    """To and from the machine of `files`, `piece` bytes at a time.

    `pause` waits between two attempts, `say` hears how far it is.
    """

    def __init__(self, files: Files, *, pause: Pause, say: Callable[[str], None], piece: int = PIECE) -> None:
        self._piece = piece
        self._files = files
        self._pieces = Pieces(files.host)
        self._pause = pause
        self._say = say

    def send(self, local: Path, path: str, entry: FileEntry, what: str) -> None:
        """Make the file there what `entry` says. What is there already is kept.

        Raises StepFailed when it is another one even after it was sent from its beginning, or HostUnreachable.
        """
        if self._sent(local, path, entry, what, begin_anew=False):
            return
        if measure(local) != entry:
            raise StepFailed(
                f"{local} is not what its manifest says, so it was not copied",
                hint="Take a new snapshot: upgrade-guard resume",
            )
        if not self._sent(local, path, entry, what, begin_anew=True):
            raise StepFailed(
                f"{local.name} arrived at {path} on {self._files.host.name} with another SHA-256 than it was sent with",
                hint="Try again: upgrade-guard resume. When it stays so, look at that machine's memory and disks.",
            )

    def _sent(self, local: Path, path: str, entry: FileEntry, what: str, *, begin_anew: bool) -> bool:
        there = 0 if begin_anew else self._again(partial(self._size, path))
        if there == 0 or there > entry.size:
            self._again(partial(self._pieces.begin, path))
            there = 0
        offset = there if there == entry.size else there - there % self._piece
        meter = Meter(what, entry.size, self._say, already=offset)
        with storage(f"Reading {local}", local), open_regular(local) as file:
            while offset < entry.size:
                piece = os.pread(file, self._piece, offset)
                if not piece:
                    break  # it was cut short here; its SHA-256 says so
                self._again(partial(self._pieces.write, path, offset, piece))
                offset += len(piece)
                meter.moved(offset)
        return self._again(partial(self._digest, path)) == entry.sha256

    def fetch(self, path: str, local: Path, entry: FileEntry, what: str) -> None:
        """Bring the file here, as much of it as `entry` says. Raises StepFailed, HostUnreachable."""
        spool = local.with_name(f"{local.name}.piece")

        def read(offset: int, size: int) -> bytes:
            self._again(partial(self._pieces.read, path, offset, size, spool))
            return spool.read_bytes()

        try:
            bring(local, entry, read, what=what, say=self._say, piece=self._piece)
        finally:
            spool.unlink(missing_ok=True)

    def measure(self, path: str, size: int) -> FileEntry:
        """Size and SHA-256 of the file there by its own bytes, which come here; of the first `size` bytes at most.

        Raises StepFailed, HostUnreachable.
        """
        digest = hashlib.sha256()
        offset = 0
        with tempfile.TemporaryDirectory(prefix="upgrade-guard-") as directory:
            spool = Path(directory) / "piece"
            while offset < size:
                wanted = min(self._piece, size - offset)
                self._again(partial(self._pieces.read, path, offset, wanted, spool))
                piece = spool.read_bytes()
                if not piece:
                    break
                digest.update(piece)
                offset += len(piece)
        return FileEntry(digest.hexdigest(), offset)

    def _again(self, attempt: Callable[[], T]) -> T:
        return retried(attempt, pause=self._pause, say=self._say)

    def _size(self, path: str) -> int:
        return self._files.size(path) if self._files.exists(path) else 0

    def _digest(self, path: str) -> str:
        return self._files.sha256(path)[path]


Bring = Callable[[str, Path], None]


def check_files(manifest: BundleManifest, where: str) -> None:
    """Refuse a manifest whose file names would lead out of a bundle, or that has no snapshot."""
    wanted = {SNAPSHOT, *(listing.archive for listing in manifest.node_files.values())}
    hostile = [name for name in manifest.files if not is_safe_name(name) or name == MANIFEST or name.endswith(PART)]
    missing = sorted(wanted - manifest.files.keys())
    if not hostile and not missing:
        return
    what = f"names a file {hostile[0]!r}" if hostile else f"lacks {missing[0]!r}"
    raise Refused(f"{where} {what}: no bundle of ours does", hint="Use another copy, and find out who wrote this one.")


def fetched(name: str, where: str, content: bytes, manifest: BundleManifest, vault: Vault, bring: Bring) -> Bundle:
    """The bundle `name` in `vault`, made of what `bring` downloads; `content` is its manifest.json, byte by byte."""
    final, part = vault.path / name, vault.path / f"{name}{PART}"
    with storage("Fetching a bundle", final):
        private_directories(vault.path)
        if final.exists():
            return _already_here(vault.bundle(name), content, where)
        private_directory(part)
        _must_fit(vault.path, sum(entry.size for entry in manifest.files.values()))  # and more while one is decrypted
        for file, entry in sorted(manifest.files.items()):
            local = part / file
            if _is(local, file, manifest):
                continue  # an earlier attempt brought it
            gone_on_with = local.exists()
            bring(file, local)
            if gone_on_with and not _is(local, file, manifest):
                local.unlink()  # what was here already may have been the wrong part
                bring(file, local)
            if not _is(local, file, manifest):
                found = measure(local)
                local.unlink()
                raise Refused(
                    f"{where} is damaged: {file} has {found.size} bytes with SHA-256 {found.sha256}, its manifest says "
                    f"{entry.size} bytes with {entry.sha256}",
                    hint="Use another copy of this bundle: upgrade-guard backup list --remote",
                )
        write_synced(part / MANIFEST, content)
        for left_behind in {path.name for path in part.iterdir()} - {MANIFEST, *manifest.files}:
            (part / left_behind).unlink()
        sync_directory(part)
        part.rename(final)
        sync_directory(vault.path)
    return vault.bundle(name)


def _is(local: Path, file: str, manifest: BundleManifest) -> bool:
    return local.is_file() and not local.is_symlink() and measure(local) == manifest.files[file]


def _already_here(bundle: Bundle, content: bytes, where: str) -> Bundle:
    problems = examine(bundle)
    if hashlib.sha256(content).hexdigest() != bundle.manifest_sha256:
        problems = (f"{bundle.name}: its manifest is another one", *problems)
    if problems:
        raise Refused(
            f"{bundle.path} is in the way of {where}, which is not the same: {problems[0]}",
            hint=f"Move it aside: mv '{bundle.path}' '{bundle.path}.differs'",
        )
    return bundle


def _must_fit(path: Path, size: int) -> None:
    free = shutil.disk_usage(path).free
    if free < size:
        raise StepFailed(
            f"{path} has {free >> 20} MiB free; the bundle needs {(size >> 20) + 1} MiB",
            hint=f"Free space there: df -h '{path}'",
        )


def compared(where: str, expected: Mapping[str, FileEntry], found: Mapping[str, FileEntry | str]) -> tuple[str, ...]:
    """A sentence per difference. `found` holds what was read, or in words what it is instead of a file."""
    problems = []
    for name, entry in expected.items():
        there = found.get(name)
        if there is None:
            problems.append(f"{where} lacks {name}")
        elif isinstance(there, str):
            problems.append(f"{where} differs: {name} {there}")
        elif there.size != entry.size:
            problems.append(f"{where} differs: {name} has {there.size} bytes instead of {entry.size}")
        elif there.sha256 != entry.sha256:
            problems.append(f"{where} differs: {name} has another SHA-256 than the bundle")
    problems += [
        f"{where} has {name!r}, which does not belong to it" for name in sorted(found.keys() - expected.keys())
    ]
    return tuple(problems)
