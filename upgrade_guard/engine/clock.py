"""The real clock; its pauses end with an interrupt."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from upgrade_guard.engine.interruption import Interruption


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
