"""How far a transfer is, in words: amount, throughput and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable

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
