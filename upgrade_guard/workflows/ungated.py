"""What the workflows share that change no node of the cluster: nothing is gated and nothing has to be put back."""

from __future__ import annotations

from collections.abc import Iterable

from upgrade_guard.errors import GuardError
from upgrade_guard.model.evidence import Evidence
from upgrade_guard.model.run import Event
from upgrade_guard.model.step import Answer, Facts, Phase


class Ungated:
    """The answers to the engine's questions about the gate and the way back."""

    def evidence(self, facts: Facts) -> Evidence:
        """Nobody may ask: a step that changes a node does not belong into such a run."""
        raise RuntimeError(f"run {facts.run_id} has no gate")

    def aborting(self, _facts: Facts) -> tuple[Phase, ...]:
        """Closed at once."""
        return (Phase("abort", "Close the run", (), event=Event.RUN_ABORTED),)

    def control_plane_touched(self, _facts: Facts) -> bool:
        """Never."""
        return False

    def outdated(self, _facts: Facts) -> tuple[str, ...]:
        """Nothing: such a run decides nothing on its way that could change."""
        return ()

    def answer(self, _failures: Iterable[tuple[str, GuardError]], _facts: Facts) -> Answer:
        """Such a run has no rollback."""
        return Answer(everything_back=False, why="nothing is to be taken back")

    def given_up_steps(self, _facts: Facts) -> tuple[str, ...]:
        """None."""
        return ()
