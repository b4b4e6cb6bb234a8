"""One file to or from another machine: in pieces, again after a lost connection, believed by its SHA-256."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from upgrade_guard.errors import StepFailed
from upgrade_guard.tools.files import Files
from upgrade_guard.tools.pieces import PIECE, Pieces
from upgrade_guard.vault.disk import measure, open_private, open_regular, storage, sync_file
from upgrade_guard.vault.manifest import FileEntry
from upgrade_guard.vault.meter import Meter
from upgrade_guard.vault.retrying import Pause, retried

T = TypeVar("T")


def bring(
    local: Path,
    entry: FileEntry,
    read: Callable[[int, int], bytes],
    *,
    what: str,
    say: Callable[[str], None],
    piece: int = PIECE,
) -> None:
    """Fill `local` (0600, synced) with what `read(offset, size)` gives; what is here already is gone on with.

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
        """Make the file there what `entry` says. What is there already is gone on with.

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
