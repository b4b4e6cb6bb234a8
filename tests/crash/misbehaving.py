"""What stands in for a program that misbehaves, and a clock that makes it quick to wait for one that hangs."""

from __future__ import annotations

import subprocess
import time
from typing import Any

# Each in the place of the program itself; with `nothing` the program does its work and its output is lost.
INSTEAD: dict[str, tuple[str, ...]] = {
    "fails": ("/bin/sh", "-c", 'echo "error: made up" >&2; exit 1'),
    "hangs": ("/bin/sleep", "86400"),
    "garbage": ("/bin/sh", "-c", r"printf '\037\213 {[<not: what - it ought\n\377\000to be'"),
    "idle": ("/bin/true",),
}
KINDS_OF_A_READ = ("fails", "hangs", "garbage", "nothing")
KINDS_OF_A_CHANGE = (*KINDS_OF_A_READ, "idle")


def misbehave(kind: str, args: Any, named: dict[str, Any]) -> Any:
    """The command line to start instead; `named` is changed where the output is to be lost."""
    if kind == "nothing":
        named |= {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return args
    return INSTEAD[kind]


class HurriedClock:
    """Monotonic time that leaps ahead whenever somebody looks whether a hanging program has ended, ever further.

    A limit of minutes is then reached in a second or two; the waits around it see the same time go by.
    """

    def __init__(self) -> None:
        self._real = time.monotonic
        self._ahead = 0.0

    def install(self) -> None:
        """For everybody in this process who asks `time.monotonic`."""
        time.monotonic = lambda: self._real() + self._ahead

    def leap(self, times: int) -> None:
        """The next leap of a program that was looked at so many times."""
        self._ahead += 2.0 ** min(times, 12)
