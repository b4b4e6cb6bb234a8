"""One node failed while the others stand: it is put back, so that a person can decide in peace."""

from __future__ import annotations

from upgrade_guard.engine import outcomes
from upgrade_guard.engine.phase_runner import Passage, StepProblem, StepsFailed
from upgrade_guard.engine.record import lanes_of, latest_rows, under_way
from upgrade_guard.engine.run_context import Equipment
from upgrade_guard.model.run import Outcome, Run
from upgrade_guard.model.step import Phase, Step


class Amending:
    """Puts lanes back: their amending steps, then both those and the lane's own steps count as not done.

    Can be killed at any point: as long as an amending step stands in the journal without being voided, the lane is
    half put back, and the next process finishes that before it tries the lane again.
    """

    def __init__(self, equipment: Equipment, run: Run) -> None:
        self._equipment = equipment
        self._run = run

    def finish(self, phase: Phase) -> None:
        """Finish what an earlier process had begun to put back. Raises DecisionNeeded when that fails again."""
        if phase.amends is None:
            return
        rows = self._equipment.journal.steps(self._run.id)
        for lane in lanes_of(phase):
            steps = phase.amends(lane)
            if under_way(rows, (step.name for step in steps)):
                self._put_back(phase, lane, steps, (), "finished putting it back")

    def put_back(self, phase: Phase, failures: tuple[StepProblem, ...]) -> tuple[str, ...]:
        """Put the lanes of these failures back; return those for which there was something to do."""
        amended = []
        for failure in failures:
            lane, reason = failure.step.lane, failure.problem.message
            steps = () if phase.amends is None else phase.amends(lane)
            if steps:
                self._put_back(phase, lane, steps, (failure,), reason)
                amended.append(lane)
        return tuple(amended)

    def _put_back(
        self, phase: Phase, lane: str, steps: tuple[Step, ...], failures: tuple[StepProblem, ...], reason: str
    ) -> None:
        way_back = Phase(name=f"{phase.name}/amend", title=f"Put {lane or 'it'} back", steps=steps)
        try:
            Passage(self._equipment, self._run, way_back, None).walk()
        except StepsFailed as failed:
            every = (*failures, *failed.problems)
            raise outcomes.lane_failed(self._run, way_back, every, ()) from failed.problems[0].problem
        latest = latest_rows(self._equipment.journal.steps(self._run.id))
        own = {step.name for step in phase.steps if step.lane == lane} | {step.name for step in steps}
        stale = tuple(row.name for row in latest.values() if row.name in own and row.outcome is Outcome.SUCCEEDED)
        self._equipment.journal.void(self._run.id, stale, f"{lane or 'It'} was put back: {reason}")
        self._equipment.tell(lambda watcher: watcher.lane_amended(lane, reason))
