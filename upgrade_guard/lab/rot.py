"""A storage that hands back other bytes than were written: one byte of every larger file is kept flipped.

Runs as a process of its own while the fault is on. It waits in inotify for what is written, so that it flips the byte
while the writer is still at work, and looks again at every event, so that the byte stays flipped when a file is renamed
or written over.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

# inotify(7)
MODIFY, CLOSE_WRITE, MOVED_TO, CREATE, ONLY_DIRECTORIES = 0x2, 0x8, 0x80, 0x100, 0x01000000
# Small files (a manifest in JSON) are left alone, so that it is the data that differs.
SMALLEST, AT = 8192, 4096


def rot(directory: str) -> None:
    """Never returns. Raises OSError when the system gives no inotify."""
    with suppress(OSError):
        # Ahead of a busy machine's other work where that is allowed: the storage is never slower than its reader.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.inotify_init1(os.O_CLOEXEC)
    if queue < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1")
    flipped: dict[int, int] = {}
    watches: set[int] = set()
    while True:
        known = len(watches)
        for path in _everything(Path(directory)):
            with suppress(OSError):
                if path.is_dir():
                    mask = MODIFY | CLOSE_WRITE | MOVED_TO | CREATE | ONLY_DIRECTORIES
                    watches.add(libc.inotify_add_watch(queue, os.fsencode(path), mask))
                elif path.stat().st_size >= SMALLEST:
                    _flip(path, flipped)
        if len(watches) == known:  # what was written before a new watch began makes no event: look again first
            os.read(queue, 64 * 272)


def _everything(directory: Path) -> list[Path]:
    """The directory and what is in it; what is renamed while one looks is found at the event that this makes."""
    found = [directory]
    with suppress(OSError):
        found += directory.rglob("*")
    return found


def _flip(path: Path, flipped: dict[int, int]) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        inode = os.fstat(descriptor).st_ino
        read = os.pread(descriptor, 1, AT)
        if read and flipped.get(inode) != read[0]:  # nothing: cut off since its size was looked at
            flipped[inode] = read[0] ^ 0xFF
            os.pwrite(descriptor, bytes([flipped[inode]]), AT)
    finally:
        os.close(descriptor)
