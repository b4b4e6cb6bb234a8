"""One phase: what the watcher and the transcript are told, what is raised first, what an earlier process left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from unit.engine.paper import MAX_AGE, Notes
from unit.engine.room import RUN, Room, raising

from upgrade_guard.engine.evidence_check import GateClosed, Gatekeeper
from upgrade_guard.engine.interruption import Interruption
from upgrade_guard.engine.phase_runner import Passage, StepsFailed, walk_lanes
from upgrade_guard.engine.run_context import Equipment, unattributed, unwatched
from upgrade_guard.engine.runner import Runner
from upgrade_guard.engine.watcher import OneAtATime
from upgrade_guard.errors import CommandFailed, GuardError, Interrupted, JournalProblem, Refused, RolledBack, StepFailed
from upgrade_guard.model.run import Outcome, Run, State, Transition
from upgrade_guard.model.step import Done, NotDone, Phase, Step

WAIT = 30.0  # seconds; only a test that would otherwise hang waits that long
APPLY = "control-plane/cp1/apply"


class Heard(Notes):
    """Keeps what it is told as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.began: list[tuple[str, bool]] = []
        self.ended: list[tuple[str, Outcome, str, float]] = []
        self.moves: list[Transition] = []
        self.judged: list[tuple[Any, Any]] = []
        self.back: list[Any] = []
        self.amended: list[tuple[str, str]] = []
        self.run: Run | None = None

    def run_began(self, run: Run, *, resumed: bool) -> None:
        self.run = run

    def step_began(self, step: Step, *, in_doubt: bool) -> None:
        self.began.append((step.name, in_doubt))

    def step_ended(self, step: Step, outcome: Outcome, detail: str, seconds: float) -> None:
        self.ended.append((step.name, outcome, detail, seconds))

    def moved(self, transition: Transition) -> None:
        self.moves.append(transition)

    def gate_judged(self, reasons: Any, notes: Any = ()) -> None:
        self.judged.append((reasons, notes))

    def rollback_begins(self, reasons: Any) -> None:
        self.back.append(reasons)

    def lane_amended(self, lane: str, reason: str) -> None:
        self.amended.append((lane, reason))


def heard(room: Room, **more: Any) -> tuple[Heard, Runner]:
    watcher = Heard()
    return watcher, Runner(room.journal, room.workflow, watcher, room.clock, room.interruption, **more)


def test_the_watcher_is_told_how_each_step_ended_and_how_long_it_took(room: Room) -> None:
    def slowly() -> None:
        room.clock.time += timedelta(seconds=7)

    room.cluster.trouble["inspect/cluster"] = slowly
    room.cluster.sight["snapshot/save"] = raising(CommandFailed("etcdctl ended with 1", exit_status=1))
    watcher, runner = heard(room)
    with pytest.raises(CommandFailed):
        runner.go_on(RUN)
    assert watcher.run is not None
    assert (watcher.run.id, watcher.run.state) == (RUN, State.STARTED), "as it was taken up"
    assert watcher.began == [("inspect/cluster", False), ("snapshot/save", False)]
    assert watcher.ended == [
        ("inspect/cluster", Outcome.SUCCEEDED, "", 7.0),
        ("snapshot/save", Outcome.FAILED, "etcdctl ended with 1", 0.0),
    ]
    assert [(move.from_state, move.to_state) for move in watcher.moves] == [(State.STARTED, State.INSPECTED)]


@pytest.mark.parametrize("outcome", Outcome)
def test_in_doubt_is_what_has_no_known_end(room: Room, outcome: Outcome) -> None:
    step = room.cluster.step("inspect/cluster", lasting=False)
    room.workflow.replaced[State.STARTED] = (Phase("inspect", "Inspect", (step, room.cluster.step("inspect/more"))),)
    attempt = room.journal.start(RUN, step)
    if outcome is Outcome.VOIDED:
        room.journal.void(RUN, (step.name,), "no more")
    elif outcome is not Outcome.STARTED:
        room.journal.conclude(RUN, step.name, attempt, outcome)
    watcher, runner = heard(room)
    with pytest.raises(RuntimeError):  # the phase has no event
        runner.go_on(RUN)
    assert watcher.began[0] == (step.name, outcome in (Outcome.STARTED, Outcome.UNKNOWN))


def test_the_gate_is_told_with_its_notes(room: Room) -> None:
    room.workflow.evidence_differs = {"notes": ("one copy could not be looked at",)}
    watcher, runner = heard(room)
    runner.go_on(RUN)
    assert watcher.judged == [((), ("one copy could not be looked at",))] * 2


def test_the_transcript_is_told_whose_commands_these_are(room: Room) -> None:
    within: list[tuple[str, str, int]] = []
    told: list[tuple[str, str, int]] = []

    @contextmanager
    def attribution(run_id: str, step: str, attempt: int) -> Iterator[None]:
        within.append((run_id, step, attempt))
        yield
        within.clear()

    room.cluster.trouble["inspect/cluster"] = lambda: told.extend(within)
    with pytest.raises(StepFailed):
        room.cluster.trouble["snapshot/save"] = raising(StepFailed("no"))
        heard(room, attribution=attribution)[1].go_on(RUN)
    room.cluster.trouble["snapshot/save"] = lambda: told.extend(within)
    heard(room, attribution=attribution)[1].go_on(RUN)
    assert told == [(RUN, "inspect/cluster", 1), (RUN, "snapshot/save", 2)]


def test_the_rollback_is_told_with_why_it_began(room: Room) -> None:
    room.cluster.trouble[APPLY] = raising(StepFailed("apply failed"))
    room.cluster.trouble["rollback/restore"] = raising(Interrupted("stop"))
    watcher, runner = heard(room)
    with pytest.raises(Interrupted):
        runner.go_on(RUN)
    assert watcher.back[0][0] == "apply failed"
    room.cluster.trouble.clear()
    again, runner = heard(room)
    with pytest.raises(RolledBack):
        runner.go_on(RUN)
    assert again.back == watcher.back, "a resumed one says the same"


def test_the_watcher_is_told_which_lane_was_put_back_and_why(room: Room) -> None:
    room.cluster.trouble["nodes/w1/packages"] = raising(StepFailed("dpkg was interrupted"))
    watcher, runner = heard(room)
    with pytest.raises(GuardError):
        runner.go_on(RUN)
    assert watcher.amended == [("w1", "dpkg was interrupted")]
    assert room.latest("nodes/w1/drain").detail == "w1 was put back: dpkg was interrupted"


def test_what_moves_without_a_step_is_told_too(room: Room) -> None:
    step = room.cluster.step("inspect/cluster")
    room.journal.conclude(RUN, step.name, room.journal.start(RUN, step), Outcome.SUCCEEDED)
    room.cluster.trouble["snapshot/save"] = raising(StepFailed("no"))
    watcher, runner = heard(room)
    with pytest.raises(StepFailed):
        runner.go_on(RUN)
    assert [move.to_state for move in watcher.moves] == [State.INSPECTED]


# What is raised when several lanes end badly at the same time: the gravest.


def together(room: Room, first: BaseException, second: BaseException) -> None:
    """Two workers fail at the same time, the first one first."""
    under_way, first_is_over = threading.Barrier(2), threading.Event()

    def fail_first() -> None:
        under_way.wait(WAIT)
        try:
            raise first
        finally:
            first_is_over.set()

    def fail_second() -> None:
        under_way.wait(WAIT)
        assert first_is_over.wait(WAIT)
        raise second

    room.cluster.trouble["nodes/w1/packages"] = fail_first
    room.cluster.trouble["nodes/w2/packages"] = fail_second


BUG, STOP, FAILURE = ZeroDivisionError("a bug"), Interrupted("stop"), StepFailed("no room")


@pytest.mark.parametrize(
    ("first", "second", "raised"),
    [
        (FAILURE, BUG, ZeroDivisionError),
        (BUG, FAILURE, ZeroDivisionError),
        (STOP, BUG, ZeroDivisionError),
        (FAILURE, STOP, Interrupted),
        (STOP, FAILURE, Interrupted),
    ],
)
def test_a_bug_comes_before_an_interrupt_and_that_before_a_failure(
    make_room: Callable[..., Room], first: Exception, second: Exception, raised: type[Exception]
) -> None:
    room = make_room(at_once=2)
    together(room, first, second)
    with pytest.raises(raised) as ended:
        room.go_on()
    if raised is Interrupted:
        assert "no room" in ended.value.reasons  # type: ignore[attr-defined]
    assert room.acted("amend/w1/packages") == room.acted("amend/w2/packages") == 0
    assert room.state is State.CONTROL_PLANE_UPGRADED


class Walk:
    """One phase on a real journal, without a Runner."""

    def __init__(self, room: Room, gatekeeper: bool = False) -> None:
        tell = OneAtATime(room.notes)
        self.equipment = Equipment(
            room.journal, room.workflow, tell, room.clock, Interruption(), unattributed, unwatched
        )
        self.room = room
        self.gatekeeper = Gatekeeper(self.equipment, RUN) if gatekeeper else None

    def __call__(self, *steps: Step, at_once: int = 1) -> None:
        phase = Phase("phase", "Phase", steps, at_once=at_once)
        Passage(self.equipment, self.room.journal.run(RUN), phase, self.gatekeeper).walk()


def test_a_closed_gate_comes_before_what_the_steps_say(room: Room) -> None:
    both = threading.Barrier(2)

    def act(_: Any) -> None:
        both.wait(WAIT)
        raise StepFailed("no room")

    fails = Step("a", "A", lambda _: NotDone(), act, lane="w1")
    gated = Step("b", "B", lambda _: Done(), lambda _: None, changes_node=True, lane="w2")
    walk = Walk(room, gatekeeper=True)
    gathers = room.workflow.evidence

    def evidence(facts: Any) -> Any:
        both.wait(WAIT)
        return gathers(facts)

    room.workflow.evidence = evidence  # type: ignore[method-assign]
    with pytest.raises(GateClosed):
        walk(fails, gated, at_once=2)
    assert room.journal.latest(RUN, "b") is None


def test_steps_that_failed_are_all_named_with_what_they_said(room: Room) -> None:
    both = threading.Barrier(2)

    def fails(name: str) -> Step:
        def act(_: Any) -> None:
            both.wait(WAIT)
            raise StepFailed(f"{name} failed")

        return Step(name, name, lambda _: NotDone(), act, lane=name)

    with pytest.raises(StepsFailed) as failed:
        Walk(room)(fails("w1"), fails("w2"), at_once=2)
    assert {problem.step.name for problem in failed.value.problems} == {"w1", "w2"}
    assert {str(problem) for problem in failed.value.problems} == {"w1 failed", "w2 failed"}
    assert set(str(failed.value).split("; ")) == {"w1 failed", "w2 failed"}


def test_a_gate_that_was_closed_stays_closed_for_this_process(room: Room) -> None:
    gated = Step("b", "B", lambda _: Done(), lambda _: None, changes_node=True)
    walk = Walk(room, gatekeeper=True)
    for _ in range(2):
        with pytest.raises(GateClosed) as closed:
            walk(gated)
        assert closed.value.reasons
        assert str(closed.value) == "; ".join(closed.value.reasons)
        assert not closed.value.edited
    assert room.workflow.evidence_asked == 1


def test_a_way_back_asks_for_no_evidence(room: Room) -> None:
    Walk(room)(Step("b", "B", lambda _: Done(), lambda _: None, changes_node=True))
    assert room.workflow.evidence_asked == 0
    assert room.latest("b").outcome is Outcome.SUCCEEDED


def test_what_was_not_written_down_stops_the_lane(room: Room) -> None:
    """The journal is the memory: what it did not take has not happened."""
    walk = Walk(room)

    def full(*_: Any, **__: Any) -> None:
        raise JournalProblem("the disk is full")

    room.journal.conclude = full  # type: ignore[method-assign]
    with pytest.raises(JournalProblem, match="disk is full"):
        walk(Step("a", "A", lambda _: Done(), lambda _: None), Step("b", "B", lambda _: Done(), lambda _: None))
    assert room.journal.latest(RUN, "b") is None


# Threads.


def test_more_workers_than_lanes_are_never_begun() -> None:
    names: set[str] = set()
    both = threading.Barrier(2)

    def walk(_: Step) -> None:
        both.wait(WAIT)
        names.update(thread.name for thread in threading.enumerate() if thread.name.startswith("lane-"))

    steps = tuple(Step(lane, lane, lambda _: Done(), lambda _: None, lane=lane) for lane in ("w1", "w2"))
    assert walk_lanes(steps, 9, walk) == ()
    assert names == {"lane-1", "lane-2"}


def test_a_lane_that_hangs_keeps_no_process_alive() -> None:
    """A second interrupt leaves at once."""
    daemons: list[bool] = []
    steps = tuple(Step(lane, lane, lambda _: Done(), lambda _: None, lane=lane) for lane in ("w1", "w2"))
    walk_lanes(steps, 2, lambda _: daemons.append(threading.current_thread().daemon))
    assert daemons == [True, True]


def test_a_stale_proof_is_noticed_by_the_journal_and_judged_again(room: Room) -> None:
    """With no gatekeeper a refusal of the journal is raised as it is."""
    room.cluster.trouble["plan/approve"] = raising(Interrupted("stop"))
    with pytest.raises(Interrupted):
        room.go_on()
    room.clock.time += timedelta(seconds=2 * MAX_AGE)
    with pytest.raises(Refused):
        Walk(room)(Step("b", "B", lambda _: Done(), lambda _: None, changes_node=True))
    assert room.journal.latest(RUN, "b") is None
    with pytest.raises(GateClosed):
        Walk(room, gatekeeper=True)(Step("b", "B", lambda _: Done(), lambda _: None, changes_node=True))
