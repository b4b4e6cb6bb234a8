"""Where tests keep their files: in memory, where that is possible. Much of a test's time was waiting for fsync."""

from __future__ import annotations

import os
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM = 4 << 30  # bytes; an etcd takes 128 MiB at once for its log, and a lab has up to three


def directory_in_memory() -> str | None:
    """A directory in which programs can be made, with space for some labs; None where there is none."""
    if not os.access(MEMORY, os.W_OK | os.X_OK):
        return None
    found = os.statvfs(MEMORY)
    room = found.f_bavail * found.f_frsize >= ROOM and not found.f_flag & os.ST_NOEXEC
    return str(MEMORY) if room else None
