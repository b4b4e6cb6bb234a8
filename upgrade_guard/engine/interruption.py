"""Ctrl-C and SIGTERM, and the clock whose pauses they end.

The current step is finished and recorded first; a second interrupt stops at once.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType

from upgrade_guard.errors import Interrupted

_HEARD = b"!"
_ENOUGH = b"."


class Interruption:
    """Remembers that the operator asked to stop, and wakes whoever waits.

    A signal handler runs between any two instructions of the main thread, which may hold any lock at that moment. So
    it only sets a flag and writes to a pipe; a listening thread does what needs locks (waking, telling the watcher).
    """

    def __init__(self) -> None:
        self._requests = 0
        self._reason = ""
        self._woken = threading.Event()
        self._tell: Callable[[str], None] | None = None
        self._steps: tuple[str, ...] = ()
        self._steps_lock = threading.Lock()

    @property
    def requested(self) -> bool:
        """Did the operator ask to stop?"""
        return self._requests > 0

    def listen(self, tell: Callable[[str], None]) -> None:
        """Have `tell` called with the reason, once, in a thread of its own, when the first request is heard."""
        self._tell = tell

    def request(self, reason: str) -> None:
        """Ask to stop, from ordinary code."""
        self._requests += 1
        if self._requests == 1:
            self._reason = reason
            self._announce()

    def check(self, reasons: tuple[str, ...] = ()) -> None:
        """Raise Interrupted when the operator asked to stop; `reasons` say what else there is to know by then."""
        if self.requested:
            raise Interrupted(
                f"Stopped on request ({self._reason}); the journal is consistent.",
                hint="Type `upgrade-guard resume` to go on.",
                reasons=reasons,
            )

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than until an interrupt. Raises Interrupted."""
        self._woken.wait(max(0.0, seconds))
        self.check()

    @contextmanager
    def during(self, step: str) -> Iterator[None]:
        """While this step has started and not ended, a second interrupt names it as in doubt."""
        with self._steps_lock:
            self._steps = (*self._steps, step)
        try:
            yield
        finally:
            with self._steps_lock:
                remaining = list(self._steps)
                remaining.remove(step)
                self._steps = tuple(remaining)

    @contextmanager
    def install(self) -> Iterator[None]:
        """Hear SIGINT, SIGTERM and SIGHUP (a lost connection) while inside. Main thread only; handlers are restored.

        A signal that was ignored stays ignored, so that `nohup` keeps its meaning.
        """
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        listener = threading.Thread(target=self._listen_to, args=(reading,), name="interruption", daemon=True)
        listener.start()

        def heard(number: int, _frame: FrameType | None) -> None:
            self._requests += 1
            if self._requests == 1:
                self._reason = signal.Signals(number).name
                os.write(writing, _HEARD)
            elif number != signal.SIGHUP:  # a terminal sends it once more when it goes; that is no second thought
                raise KeyboardInterrupt(self._what_is_in_doubt())

        before = {
            number: signal.signal(number, heard)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            os.write(writing, _ENOUGH)
            listener.join()
            os.close(reading)
            os.close(writing)

    def _listen_to(self, reading: int) -> None:
        while os.read(reading, 1) == _HEARD:
            self._announce()

    def _announce(self) -> None:
        self._woken.set()
        if self._tell is not None:
            self._tell(self._reason)

    def _what_is_in_doubt(self) -> str:
        steps = self._steps
        if not steps:
            return "Stopped at once; no step was under way."
        return (
            f"Stopped at once; in doubt: {', '.join(steps)}. `upgrade-guard resume` looks at the cluster and decides."
        )


class SystemClock:
    """Time as this machine tells it."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only ever grow."""
        return time.monotonic()

    def pause(self, seconds: float) -> None:
        """Wait. Raises Interrupted as soon as the operator asked to stop."""
        self._interruption.pause(seconds)
