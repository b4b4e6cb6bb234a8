"""Again after a lost connection: for transfers, which may be repeated without harm."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from upgrade_guard.errors import CommandFailed, HostUnreachable

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
