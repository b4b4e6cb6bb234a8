"""Who watches a run: the engine tells, the watcher finds the words."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from upgrade_guard.model.run import Outcome, Run, Transition
from upgrade_guard.model.step import Phase, Step


class Watcher(Protocol):
    """Hears of everything that happens, one call at a time, from lanes too.

    An OSError of a watcher (a terminal that went away) is passed over: it must not stop an upgrade half-way.
    """

    def run_began(self, run: Run, *, resumed: bool) -> None:
        """This process takes the run up; `resumed` when an earlier one had begun it."""

    def phase_began(self, phase: Phase, steps_done: int, steps_total: int) -> None:
        """A phase begins, or is gone through again on resume with `steps_done` of its steps behind it."""

    def step_began(self, step: Step, *, in_doubt: bool) -> None:
        """`in_doubt`: an earlier attempt has no known end, so the probe decides."""

    def step_skipped(self, step: Step) -> None:
        """The journal says that it succeeded before."""

    def step_ended(self, step: Step, outcome: Outcome, detail: str, seconds: float) -> None:
        """The outcome is in the journal."""

    def moved(self, transition: Transition) -> None:
        """The run reached another state."""

    def gate_judged(self, reasons: Sequence[str], notes: Sequence[str] = ()) -> None:
        """No reasons: the gate is open."""

    def rollback_begins(self, reasons: Sequence[str]) -> None:
        """The way back begins, or goes on."""

    def lane_amended(self, lane: str, reason: str) -> None:
        """One node was put back after a failure there; the run stops for a decision."""

    def stopping(self, reason: str) -> None:
        """An interrupt was heard: the current step is finished first."""


class SilentWatcher:
    """Watches and says nothing."""

    def run_began(self, run: Run, *, resumed: bool) -> None:
        """Nothing to say."""

    def phase_began(self, phase: Phase, steps_done: int, steps_total: int) -> None:
        """Nothing to say."""

    def step_began(self, step: Step, *, in_doubt: bool) -> None:
        """Nothing to say."""

    def step_skipped(self, step: Step) -> None:
        """Nothing to say."""

    def step_ended(self, step: Step, outcome: Outcome, detail: str, seconds: float) -> None:
        """Nothing to say."""

    def moved(self, transition: Transition) -> None:
        """Nothing to say."""

    def gate_judged(self, reasons: Sequence[str], notes: Sequence[str] = ()) -> None:
        """Nothing to say."""

    def rollback_begins(self, reasons: Sequence[str]) -> None:
        """Nothing to say."""

    def lane_amended(self, lane: str, reason: str) -> None:
        """Nothing to say."""

    def stopping(self, reason: str) -> None:
        """Nothing to say."""


class OneAtATime:
    """Lets lanes and the interruption tell one watcher, one call at a time."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._talking = threading.RLock()

    def __call__(self, say: Callable[[Watcher], None]) -> None:
        """Tell the watcher; what its terminal cannot take is passed over."""
        with self._talking, suppress(OSError):
            say(self._watcher)
