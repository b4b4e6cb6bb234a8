"""A program that runs beside us for a while: the scratch etcd of a proof."""

from __future__ import annotations

from pathlib import Path


class Background:
    """A running program, in a session of its own, with its output in a file."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def alive(self) -> bool:
        """Does it still run?"""
        raise NotImplementedError

    def stop(self, grace: float = 10.0) -> None:
        """Ask it to end; after `grace` seconds, end it. Returns when it is gone."""
        raise NotImplementedError


def start_background(argv: tuple[str, ...], log_path: Path, cwd: Path) -> Background:
    """Start a program; its output goes to `log_path` (0600)."""
    raise NotImplementedError
