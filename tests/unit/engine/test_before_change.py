"""The last look before a step that changes a node: on the way up and on every way back."""

from __future__ import annotations

import pytest
from unit.engine.room import RUN, Room, raising

from upgrade_guard.engine.runner import Runner
from upgrade_guard.errors import DecisionNeeded, GuardError, LockHeld, RolledBack, StepFailed
from upgrade_guard.model.run import State
from upgrade_guard.model.step import Facts, Step

APPLY = "control-plane/cp1/apply"


class LastLook:
    """Keeps what it was asked about, and raises for one step."""

    def __init__(self, step: str = "", problem: GuardError | None = None) -> None:
        self.step, self.problem = step, problem
        self.asked: list[str] = []

    def __call__(self, step: Step, facts: Facts) -> None:
        assert facts.run_id == RUN
        self.asked.append(step.name)
        if step.name == self.step and self.problem is not None:
            raise self.problem


def runner(room: Room, look: LastLook) -> Runner:
    return Runner(room.journal, room.workflow, room.notes, room.clock, room.interruption, before_change=look)


def test_it_is_asked_before_each_change_and_not_before_a_look(room: Room) -> None:
    look = LastLook()
    runner(room, look).go_on(RUN)
    changing = [row.name for row in room.journal.steps(RUN) if row.changes_node and row.outcome.value == "started"]
    assert look.asked == changing
    assert "snapshot/save" not in look.asked


@pytest.mark.parametrize("problem", [LockHeld("ben has it"), DecisionNeeded("somebody upgrades by hand")])
def test_what_it_raises_stops_the_run_where_it_is(room: Room, problem: GuardError) -> None:
    with pytest.raises(type(problem)):
        runner(room, LastLook(APPLY, problem)).go_on(RUN)
    assert room.state is State.PLANNED
    assert room.outcomes(APPLY) == []
    assert room.acted(APPLY) == 0
    room.go_on()
    assert room.state is State.COMPLETED


def test_it_is_asked_on_the_way_back_too(room: Room) -> None:
    room.cluster.trouble[APPLY] = raising(StepFailed("kubeadm ended with 1"))
    with pytest.raises(LockHeld):
        runner(room, LastLook("rollback/restore", LockHeld("ben has it"))).go_on(RUN)
    assert room.state is State.ROLLING_BACK
    assert room.acted("rollback/restore") == 0
    with pytest.raises(RolledBack):
        room.go_on()


def test_closing_a_run_asks_too(room: Room) -> None:
    room.cluster.trouble["plan/approve"] = raising(DecisionNeeded("no terminal"))
    with pytest.raises(DecisionNeeded):
        room.go_on()
    with pytest.raises(LockHeld):
        runner(room, LastLook("abort/cp1/packages", LockHeld("ben has it"))).abort(RUN)
    assert room.acted("abort/cp1/packages") == 0
