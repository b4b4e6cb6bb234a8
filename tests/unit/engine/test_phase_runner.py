"""Lanes: order in one, several at a time, and what a failure in one means for the others."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from unit.engine.room import RUN, Room, raising

from upgrade_guard.engine.phase_runner import walk_lanes
from upgrade_guard.errors import DecisionNeeded, HostUnreachable, Interrupted, StepFailed
from upgrade_guard.model.run import Outcome, State
from upgrade_guard.model.step import Done, Step

WAIT = 30.0  # seconds; only a test that would otherwise hang waits that long


def step(name: str, lane: str = "") -> Step:
    return Step(name, name, lambda facts: Done(), lambda facts: None, lane=lane)


def test_one_at_a_time_keeps_the_order_given_and_the_calling_thread() -> None:
    walked: list[tuple[str, threading.Thread]] = []
    steps = (step("a", "w1"), step("b"), step("c", "w1"))
    assert walk_lanes(steps, 1, lambda s: walked.append((s.name, threading.current_thread()))) == ()
    assert walked == [(name, threading.current_thread()) for name in "abc"]


def test_one_lane_stays_in_the_calling_thread() -> None:
    threads: list[threading.Thread] = []
    walk_lanes((step("a", "w1"), step("b", "w1")), 4, lambda s: threads.append(threading.current_thread()))
    assert set(threads) == {threading.current_thread()}


def test_lanes_run_at_the_same_time() -> None:
    together = threading.Barrier(3)
    steps = tuple(step(f"{lane}", lane) for lane in ("w1", "w2", "w3"))
    assert walk_lanes(steps, 3, lambda s: together.wait(WAIT) and None) == ()


def test_no_more_lanes_than_allowed_run_at_the_same_time() -> None:
    lock = threading.Lock()
    together = threading.Barrier(2)
    running: list[str] = []
    most = 0

    def walk(walked: Step) -> None:
        nonlocal most
        with lock:
            running.append(walked.name)
            most = max(most, len(running))
        together.wait(WAIT)
        with lock:
            running.remove(walked.name)

    walk_lanes(tuple(step(f"{number}", f"w{number}") for number in range(6)), 2, walk)
    assert most == 2


def test_steps_of_one_lane_keep_their_order() -> None:
    walked: list[str] = []
    steps = tuple(step(f"{lane}/{number}", lane) for number in range(5) for lane in ("w1", "w2"))
    walk_lanes(steps, 2, lambda s: walked.append(s.name))
    for lane in ("w1", "w2"):
        assert [name for name in walked if name.startswith(lane)] == [f"{lane}/{number}" for number in range(5)]


def test_after_a_failure_a_lane_finishes_its_step_and_starts_no_other() -> None:
    under_way, failed = threading.Event(), threading.Event()
    walked: list[str] = []

    def walk(walked_step: Step) -> None:
        if walked_step.lane == "w1":
            assert under_way.wait(WAIT)
            failed.set()
            raise StepFailed("w1")
        under_way.set()
        assert failed.wait(WAIT)
        for thread in threading.enumerate():  # the failing lane has handed its problem over once its thread is gone
            if thread.name.startswith("lane-") and thread is not threading.current_thread():
                thread.join(WAIT)
        walked.append(walked_step.name)

    problems = walk_lanes((step("w1/a", "w1"), step("w2/a", "w2"), step("w2/b", "w2")), 2, walk)
    assert [str(problem) for problem in problems] == ["w1"]
    assert walked == ["w2/a"]


def test_workers_upgrade_together(make_room: Callable[..., Room]) -> None:
    room = make_room(workers=("w1", "w2", "w3"), at_once=3)
    together = threading.Barrier(3)
    for worker in room.workflow.workers:
        room.cluster.trouble[f"nodes/{worker}/packages"] = lambda: together.wait(WAIT)
    assert room.go_on().state is State.COMPLETED
    assert room.states.count("nodes-upgraded") == 1
    assert room.journal.verify() == ()


def test_the_lane_that_ends_last_moves_the_run(make_room: Callable[..., Room]) -> None:
    room = make_room(at_once=2)
    first_is_done = threading.Event()
    room.cluster.aftermath["nodes/w1/uncordon"] = first_is_done.set
    room.cluster.trouble["nodes/w2/uncordon"] = lambda: first_is_done.wait(WAIT)
    assert room.go_on().state is State.COMPLETED
    assert room.states.count("nodes-upgraded") == 1


def test_both_of_two_failed_workers_are_put_back(make_room: Callable[..., Room]) -> None:
    room = make_room(at_once=2)
    together = threading.Barrier(2)

    def fail() -> None:
        together.wait(WAIT)
        raise StepFailed("no room on the node")

    room.cluster.trouble["nodes/w1/packages"] = fail
    room.cluster.trouble["nodes/w2/packages"] = fail
    with pytest.raises(DecisionNeeded):
        room.go_on()
    assert room.acted("amend/w1/packages") == room.acted("amend/w2/packages") == 1
    room.cluster.trouble.clear()
    assert room.go_on().state is State.COMPLETED


def test_an_unreachable_worker_beside_a_failed_one_is_left_alone(make_room: Callable[..., Room]) -> None:
    room = make_room(at_once=2)
    together = threading.Barrier(2)

    def troubled(problem: Exception) -> Callable[[], None]:
        def fail() -> None:
            together.wait(WAIT)
            raise problem

        return fail

    room.cluster.trouble["nodes/w1/packages"] = troubled(StepFailed("no room on w1"))
    room.cluster.trouble["nodes/w2/packages"] = troubled(HostUnreachable("w2 is gone"))
    with pytest.raises(DecisionNeeded) as asked:
        room.go_on()
    assert {"no room on w1", "w2 is gone"} <= set(asked.value.reasons)
    assert room.acted("amend/w1/packages") == 1
    assert room.acted("amend/w2/packages") == 0


def test_an_interrupt_lets_every_lane_finish_its_step(make_room: Callable[..., Room]) -> None:
    room = make_room(at_once=2)
    together = threading.Barrier(2)

    def interrupt() -> None:
        together.wait(WAIT)
        room.interruption.request("SIGINT")

    room.cluster.trouble["nodes/w1/packages"] = interrupt
    room.cluster.trouble["nodes/w2/packages"] = interrupt
    with pytest.raises(Interrupted):
        room.go_on()
    for worker in ("w1", "w2"):
        assert room.latest(f"nodes/{worker}/packages").outcome is Outcome.SUCCEEDED
        assert room.journal.latest(RUN, f"nodes/{worker}/uncordon") is None
    room.cluster.trouble.clear()
    assert room.go_on().state is State.COMPLETED


def test_a_bug_in_one_lane_is_raised_as_it_is(make_room: Callable[..., Room]) -> None:
    room = make_room(at_once=2)
    room.cluster.trouble["nodes/w2/drain"] = raising(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        room.go_on()
    assert room.state is State.CONTROL_PLANE_UPGRADED


def test_lanes_that_arrive_together_share_one_judgement(make_room: Callable[..., Room]) -> None:
    room = make_room(at_once=2)
    room.cluster.trouble["nodes/w1/drain"] = room.cluster.trouble["nodes/w2/drain"] = raising(Interrupted("stop"))
    with pytest.raises(Interrupted):
        room.go_on()
    room.cluster.trouble.clear()
    asked = room.workflow.evidence_asked
    room.go_on()
    assert room.workflow.evidence_asked == asked + 1


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_problem_that_halts_nothing_ends_its_own_lane_only(at_once: int) -> None:
    walked: list[str] = []

    def walk(one: Step) -> None:
        walked.append(one.name)
        if one.name == "b1":
            raise StepFailed("b1 failed")

    steps = tuple(step(f"{lane}{number}", lane) for number in (1, 2) for lane in "abc")
    [problem] = walk_lanes(steps, at_once, walk, lambda _: False)
    assert str(problem) == "b1 failed"
    assert sorted(walked) == ["a1", "a2", "b1", "c1", "c2"]
