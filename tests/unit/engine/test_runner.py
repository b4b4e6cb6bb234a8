"""The straight way, resuming, and what a plan, a watcher and a bug may and may not do."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from unit.engine.room import RUN, Room, raising

from upgrade_guard.errors import Interrupted, JournalProblem, Refused, StepFailed, UsageProblem
from upgrade_guard.model.run import Event, Outcome, State
from upgrade_guard.model.step import Done, Facts, Phase


class Gone(list[str]):
    """A terminal that went away."""

    def append(self, line: str) -> None:
        raise BrokenPipeError(line)


STRAIGHT = [
    "inspected",
    "snapshotted",
    "verified",
    "copied",
    "planned",
    "control-plane-upgraded",
    "nodes-upgraded",
    "completed",
]


def test_a_run_goes_from_start_to_completed(room: Room) -> None:
    run = room.go_on()
    assert run.state is State.COMPLETED
    assert room.states == STRAIGHT
    assert len(room.cluster.acts) == len(set(room.cluster.acts)) == 17
    assert room.notes.lines[0] == "run began"
    assert room.notes.lines.count("gate open") == 2  # before the first package, and entering planned
    assert room.journal.verify() == ()


def test_a_failure_before_anything_changed_is_raised_as_it_is_and_resumed(room: Room) -> None:
    room.cluster.trouble["proof/restore"] = raising(StepFailed("no room to restore in"))
    with pytest.raises(StepFailed, match="no room") as failed:
        room.go_on()
    assert "abort" in failed.value.hint
    assert room.state is State.SNAPSHOTTED
    assert room.latest("proof/restore").outcome is Outcome.FAILED
    room.cluster.trouble.clear()
    assert room.go_on().state is State.COMPLETED
    assert room.notes.lines[0] == "run resumed"
    assert room.acted("snapshot/save") == 1
    assert room.acted("proof/restore") == 2


def test_a_refusing_check_keeps_its_exit_code_and_is_not_looked_at_again(room: Room) -> None:
    looked = []
    room.cluster.sight["inspect/cluster"] = lambda: looked.append("") or None
    room.cluster.trouble["inspect/cluster"] = raising(Refused("etcd has an alarm", hint="disarm it"))
    with pytest.raises(Refused, match="alarm") as refused:
        room.go_on()
    assert refused.value.hint == "disarm it"
    assert len(looked) == 1
    assert room.state is State.STARTED


def test_a_phase_that_was_walked_to_its_end_is_not_entered_again(room: Room) -> None:
    room.cluster.trouble["control-plane/cp1/apply"] = raising(Interrupted("stop"))
    with pytest.raises(Interrupted):
        room.go_on()
    assert room.latest("control-plane/cp1/apply").outcome is Outcome.INTERRUPTED
    room.cluster.trouble.clear()
    room.go_on()
    assert room.outcomes("ready/nodes") == [Outcome.STARTED, Outcome.SUCCEEDED]
    assert "phase ready 1/1" in room.notes.lines
    assert "skipped ready/nodes" in room.notes.lines


def test_a_momentary_step_beside_one_that_is_left_is_looked_at_again(room: Room) -> None:
    look = room.cluster.step("ready/nodes", lasting=False)
    save = room.cluster.step("inspect/cluster")
    room.workflow.replaced[State.STARTED] = (Phase("inspect", "Inspect", (look, save), Event.CLUSTER_INSPECTED),)
    room.cluster.trouble["inspect/cluster"] = raising(StepFailed("no"))
    with pytest.raises(StepFailed):
        room.go_on()
    room.cluster.trouble.clear()
    room.go_on()
    assert room.outcomes("ready/nodes") == [Outcome.STARTED, Outcome.SUCCEEDED] * 2
    assert room.acted("ready/nodes") == 1


def test_steps_that_all_succeeded_only_move_the_run(room: Room) -> None:
    step = room.cluster.step("inspect/cluster")
    attempt = room.journal.start(RUN, step)
    room.journal.conclude(RUN, step.name, attempt, Outcome.SUCCEEDED)
    assert room.go_on().state is State.COMPLETED
    assert room.acted("inspect/cluster") == 0
    assert room.notes.lines[1:4] == ["phase inspect 1/1", "skipped inspect/cluster", "moved inspected"]


def test_a_phase_without_steps_moves_the_run(room: Room) -> None:
    room.workflow.replaced[State.STARTED] = (Phase("inspect", "Inspect", (), Event.CLUSTER_INSPECTED),)
    assert room.go_on().state is State.COMPLETED


def test_results_reach_later_steps_through_the_journal(room: Room) -> None:
    seen: list[Any] = []
    inner = room.workflow.ahead(State.SNAPSHOTTED, room.journal.facts(RUN))[0]
    first = inner.steps[0]
    spying = type(first)(
        first.name, first.summary, first.probe, lambda facts: (seen.append(facts), first.act(facts))[1]
    )
    room.workflow.replaced[State.SNAPSHOTTED] = (Phase("proof", "Prove", (spying,), Event.SNAPSHOT_PROVEN),)
    room.go_on()
    assert seen[0].of("snapshot/save")["bundle"] == room.cluster.read("snapshot/save")["bundle"]
    assert seen[0].touched("proof/restore")
    assert not seen[0].has("proof/restore")


def test_a_bug_is_recorded_and_keeps_its_traceback(room: Room) -> None:
    room.cluster.trouble["control-plane/cp1/apply"] = raising(ZeroDivisionError("by nothing"))
    with pytest.raises(ZeroDivisionError):
        room.go_on()
    row = room.latest("control-plane/cp1/apply")
    assert (row.outcome, row.detail) == (Outcome.FAILED, "ZeroDivisionError: by nothing")
    assert room.state is State.PLANNED  # a bug of ours is no reason to roll a cluster back


def test_a_bug_in_a_probe_is_recorded_too(room: Room) -> None:
    room.cluster.sight["inspect/cluster"] = raising(KeyError("name"))
    with pytest.raises(KeyError):
        room.go_on()
    assert room.latest("inspect/cluster").detail == "KeyError: 'name'"


def test_a_renamed_step_is_refused_with_the_version_that_knows_it(room: Room) -> None:
    room.journal.start(RUN, room.cluster.step("inspect/by-its-old-name"))
    with pytest.raises(Refused, match="plan changed") as refused:
        room.go_on()
    assert "upgrade-guard 1.0" in refused.value.hint
    assert "inspect/by-its-old-name" in refused.value.reasons[0]
    assert room.cluster.acts == []


def test_a_workflow_that_never_gives_an_event_is_a_bug(room: Room) -> None:
    room.workflow.replaced[State.STARTED] = (Phase("inspect", "Inspect", (room.cluster.step("inspect/cluster"),)),)
    with pytest.raises(RuntimeError, match="started"):
        room.go_on()
    assert room.acted("inspect/cluster") == 1


def test_a_workflow_without_phases_is_a_bug(room: Room) -> None:
    room.workflow.replaced[State.STARTED] = ()
    with pytest.raises(RuntimeError, match="started"):
        room.go_on()


def test_an_event_in_the_middle_is_a_bug(room: Room) -> None:
    middle = Phase("inspect", "Inspect", (), Event.CLUSTER_INSPECTED)
    room.workflow.replaced[State.STARTED] = (middle, middle)
    with pytest.raises(RuntimeError, match="only with the last"):
        room.go_on()


def test_what_lies_ahead_may_depend_on_what_is_found(room: Room) -> None:
    choose = room.cluster.step("rollback/choose-path")
    deep = room.cluster.step("rollback/deep")
    chooses = Phase("choose", "Choose", (choose,))
    inner = room.workflow.ahead

    def ahead(state: State, facts: Facts) -> tuple[Phase, ...]:
        if state is not State.STARTED:
            return inner(state, facts)
        rest = Phase("deep", "Deep", (deep,), Event.CLUSTER_INSPECTED)
        return (chooses, rest) if facts.has(choose.name) else (chooses,)

    room.workflow.ahead = ahead  # type: ignore[method-assign]
    assert room.go_on().state is State.COMPLETED
    assert room.acted("rollback/choose-path") == room.acted("rollback/deep") == 1


def test_a_run_that_has_ended_is_not_gone_on_with(room: Room) -> None:
    room.go_on()
    with pytest.raises(UsageProblem, match="completed"):
        room.go_on()


def test_a_terminal_that_went_away_stops_nothing(room: Room) -> None:
    runner = room.runner()
    room.notes.lines = Gone()
    assert runner.go_on(RUN).state is State.COMPLETED


def test_a_journal_that_fails_is_raised_and_nothing_is_rolled_back(room: Room) -> None:
    def write_from_the_future() -> None:
        with closing(sqlite3.connect(room.folder / "state" / "journal.sqlite3")) as connection, connection:
            connection.execute("UPDATE runs SET state = 'suspended'")

    room.cluster.trouble["control-plane/cp1/kubelet"] = write_from_the_future
    with pytest.raises(JournalProblem, match="newer version"):
        room.go_on()
    assert "rollback" not in room.notes.lines


def test_records_are_kept_with_the_outcome(room: Room) -> None:
    room.go_on()
    assert [proof.ok for proof in room.journal.proofs(RUN)] == [True]
    assert [copy.read_back for copy in room.journal.copies(RUN)] == [True]


def test_an_interrupt_between_steps_ends_the_process_and_resume_goes_on(room: Room) -> None:
    room.cluster.aftermath["control-plane/cp1/apply"] = lambda: room.interruption.request("SIGINT")
    with pytest.raises(Interrupted) as interrupted:
        room.go_on()
    assert "stopping SIGINT" in room.notes.lines
    assert "resume" in interrupted.value.hint
    assert room.latest("control-plane/cp1/apply").outcome is Outcome.SUCCEEDED
    assert room.journal.latest(RUN, "control-plane/cp1/kubelet") is None
    room.cluster.aftermath.clear()
    assert room.go_on().state is State.COMPLETED
    assert room.acted("control-plane/cp1/apply") == 1


def test_an_interrupt_after_the_last_step_still_completes(room: Room) -> None:
    room.cluster.aftermath["verify/baseline"] = lambda: room.interruption.request("SIGTERM")
    assert room.go_on().state is State.COMPLETED


def test_a_wait_is_cut_short_and_recorded_as_interrupted(room: Room) -> None:
    def wait() -> None:
        room.interruption.request("SIGINT")
        room.clock.pause(5)

    room.cluster.trouble["control-plane/cp1/kubelet"] = wait
    with pytest.raises(Interrupted):
        room.go_on()
    assert room.latest("control-plane/cp1/kubelet").outcome is Outcome.INTERRUPTED
    assert room.state is State.PLANNED


def test_a_probe_that_says_done_needs_no_act(room: Room) -> None:
    room.cluster.sight["inspect/cluster"] = lambda: Done({"nodes": 3})
    room.go_on()
    assert room.acted("inspect/cluster") == 0
    assert room.latest("inspect/cluster").result == {"nodes": 3}
