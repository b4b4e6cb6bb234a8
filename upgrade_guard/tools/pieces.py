"""Large files on a node, piece by piece with dd: what arrived stays, and the next attempt goes on from there."""

from __future__ import annotations

from pathlib import Path

from upgrade_guard.hosts.base import Host
from upgrade_guard.tools.commands import run_checked

PIECE = 32 << 20  # bytes: a few seconds of a slow line, and what we hold in memory
_TIMEOUT = 900.0  # seconds for one piece, which asks for 37 kB/s


class Pieces:
    """Paths are absolute paths on the node. Nothing here is durable before `Files.sync`."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def begin(self, path: str) -> None:
        """An empty file of our own (0600), whatever was there."""
        run_checked(self._host, ("install", "--mode=0600", "--", "/dev/null", path), changes=True)

    def write(self, path: str, offset: int, content: bytes) -> None:
        """Put `content` at that offset in bytes. Doing it again is harmless."""
        # dd reads its standard input itself: /dev/stdin cannot be opened where sshd gives it a socket.
        where = (f"of={path}", "oflag=seek_bytes", f"seek={offset}", "conv=notrunc", "bs=1M", "status=none")
        run_checked(self._host, ("dd", *where), timeout=_TIMEOUT, changes=True, stdin=content)

    def read(self, path: str, offset: int, size: int, local: Path) -> None:
        """The `size` bytes from that offset into a file here (0600); fewer where the file ends."""
        where = (f"if={path}", "iflag=skip_bytes,count_bytes,fullblock", f"skip={offset}", f"count={size}")
        argv = ("dd", *where, "bs=1M", "status=none")
        run_checked(self._host, argv, timeout=_TIMEOUT, stdout_to=local, stdout_limit=size)
