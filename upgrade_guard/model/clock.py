"""Time is passed in, so that waits can be tested."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Now, a steady counter, and a pause that an interrupt can cut short."""

    def now(self) -> datetime:
        """Aware UTC."""

    def monotonic(self) -> float:
        """Seconds that only ever grow."""

    def pause(self, seconds: float) -> None:
        """Wait. Raises Interrupted when the operator asked to stop."""
