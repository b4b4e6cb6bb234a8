"""A stream that never makes its writer wait: a terminal that stops taking text must not stop an upgrade half-way.

A laptop that falls asleep leaves its ssh connection open and unread. The few KiB that the kernel keeps are full within
a second of a live display, and from then on every write blocks, for hours if need be.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import suppress
from typing import TextIO

LIMIT = 1 << 20  # bytes that may wait to be taken; far more than a terminal shows
_DROPPED = b"\r\n[what was said here is in the run's log: the terminal did not take it in time]\r\n"


class PatientStream:
    """Takes text at once and writes it to the descriptor of `stream` from a thread of its own.

    When more than `limit` bytes wait, they are dropped with a note. A reader that left makes it silent, not an error.
    """

    def __init__(self, stream: TextIO, limit: int = LIMIT) -> None:
        self._stream = stream
        self._descriptor = stream.fileno()
        self._limit = limit
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._writing = False
        self._gone = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def encoding(self) -> str:
        """What the reader understands."""
        return self._stream.encoding or "utf-8"

    def isatty(self) -> bool:
        """Is the reader a terminal?"""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def write(self, text: str) -> int:
        """Take it; never waits for the reader."""
        content = text.encode(self.encoding, errors="backslashreplace")
        with self._changed:
            if self._gone or not content:
                return len(text)
            if self._size + len(content) > self._limit:
                self._waiting.clear()
                self._waiting.append(_DROPPED)
                self._size = len(_DROPPED)
            self._waiting.append(content)
            self._size += len(content)
            if self._thread is None:
                self._thread = threading.Thread(target=self._deliver, name="story", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return len(text)

    def flush(self) -> None:
        """Nothing waits in between; `settle` waits for the reader."""

    def settle(self, seconds: float) -> bool:
        """Wait until everything was taken, but not longer than that. Was it?"""
        with self._changed:
            return self._changed.wait_for(lambda: self._gone or not (self._waiting or self._writing), seconds)

    def _deliver(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                content = b"".join(self._waiting)
                self._waiting.clear()
                self._size = 0
                self._writing = True
            delivered = False
            with suppress(OSError):
                # The descriptor and not the stream: the interpreter's exit must not meet a lock that is held for ever.
                while content:
                    content = content[os.write(self._descriptor, content) :]
                delivered = True
            with self._changed:
                self._writing = False
                self._gone = not delivered
                self._changed.notify_all()
            if not delivered:
                return


def patient(stream: TextIO) -> TextIO | PatientStream:
    """The stream made patient, or as it is when it has no descriptor (a test's buffer)."""
    try:
        stream.fileno()
    except (AttributeError, OSError, ValueError):
        return stream
    return PatientStream(stream)
