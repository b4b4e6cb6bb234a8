"""After something was changed: roll back, put a node back, or ask; and close a run that changed nothing of weight."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from unit.engine.paper import BACK, MAX_AGE
from unit.engine.room import RUN, Room, raising

from upgrade_guard.errors import (
    CommandFailed,
    DecisionNeeded,
    EvidenceLost,
    GuardError,
    HostUnreachable,
    Interrupted,
    Refused,
    RollbackFailed,
    RolledBack,
    StepFailed,
    UsageProblem,
)
from upgrade_guard.model.run import Event, Outcome, State, asked_by
from upgrade_guard.model.step import Answer, Facts, NotDone, Phase, Unknown

APPLY = "control-plane/cp1/apply"


def test_a_failed_upgrade_is_taken_back_by_itself(room: Room) -> None:
    room.cluster.trouble[APPLY] = raising(CommandFailed("kubeadm ended with 1", exit_status=1))
    with pytest.raises(RolledBack, match=r"v1\.27\.16") as rolled_back:
        room.go_on()
    assert rolled_back.value.reasons == ("kubeadm ended with 1", f"Mark {APPLY}: {APPLY} is not marked", BACK.why)
    assert room.states[-2:] == ["rolling-back", "rolled-back"]
    assert room.journal.transitions(RUN)[-2].reasons == rolled_back.value.reasons
    assert room.journal.run(RUN).outcome == "rolled-back"
    assert "rollback" in room.notes.lines


def test_a_failed_first_change_is_taken_back_too(room: Room) -> None:
    room.cluster.trouble["packages/cp1/kubeadm"] = raising(StepFailed("no such package"))
    with pytest.raises(RolledBack):
        room.go_on()


def test_a_refusal_after_something_changed_is_taken_back(room: Room) -> None:
    room.cluster.trouble["plan/approve"] = raising(Refused("kubeadm refuses the version"))
    with pytest.raises(RolledBack) as rolled_back:
        room.go_on()
    assert rolled_back.value.reasons == ("kubeadm refuses the version", BACK.why)


def test_a_milder_answer_keeps_everything_and_says_why(room: Room) -> None:
    room.workflow.answers = Answer(everything_back=False, why="every control plane serves")
    room.cluster.trouble[APPLY] = raising(CommandFailed("kubeadm ended with 1", exit_status=1))
    with pytest.raises(DecisionNeeded, match=r"kubeadm ended with 1\. Nothing was taken back: every control") as paused:
        room.go_on()
    assert room.workflow.asked_for_an_answer == [(APPLY,)]
    written = room.journal.facts(RUN).of("answer/control-plane")
    assert written == {
        "everything_back": False,
        "why": "every control plane serves",
        "lanes_back": False,
        "to": [APPLY],
    }
    assert room.states[-1] == "planned"
    assert "upgrade-guard rollback" in "".join((paused.value.hint, *paused.value.reasons))
    del room.cluster.trouble[APPLY]
    assert room.go_on().outcome == "completed"


@pytest.mark.parametrize(
    ("answer", "said", "put_back"),
    [
        (Answer(everything_back=False, why="the others serve", lanes_back=True), "Only w1 went back: the others", 1),
        (Answer(everything_back=False, why="all serve"), "Nothing was taken back: all serve", 0),
    ],
)
def test_a_failure_that_is_weighed_takes_its_lane_back_where_the_answer_says_so(
    make_room: Callable[..., Room], answer: Answer, said: str, put_back: int
) -> None:
    room = make_room(weighs=True)
    room.workflow.answers = answer
    room.cluster.trouble["nodes/w1/packages"] = raising(StepFailed("dpkg was interrupted"))
    with pytest.raises(DecisionNeeded, match=said):
        room.go_on()
    assert room.acted("amend/w1/packages") == put_back
    room.cluster.trouble.clear()
    assert room.go_on().state is State.COMPLETED
    assert room.acted("nodes/w1/drain") == 1 + put_back


def test_a_failure_that_is_weighed_takes_everything_back_where_that_is_the_answer(
    make_room: Callable[..., Room],
) -> None:
    room = make_room(weighs=True)
    room.cluster.trouble["nodes/w1/packages"] = raising(StepFailed("dpkg was interrupted"))
    with pytest.raises(RolledBack):
        room.go_on()
    assert room.acted("amend/w1/packages") == 0


def test_where_nobody_can_see_what_is_right_nothing_is_decided(room: Room) -> None:
    def blind(*_: object) -> Answer:
        raise HostUnreachable("cp2 cannot be reached")

    room.workflow.answer = blind  # type: ignore[method-assign]
    room.cluster.trouble[APPLY] = raising(CommandFailed("kubeadm ended with 1", exit_status=1))
    with pytest.raises(HostUnreachable, match="kubeadm ended with 1; nothing is decided yet: cp2") as asked:
        room.go_on()
    assert room.states[-1] == "planned"
    assert "upgrade-guard resume" in asked.value.hint


@pytest.mark.parametrize(
    "problem",
    [
        DecisionNeeded("who decides?"),
        Interrupted("stop"),
        HostUnreachable("cp1 is gone"),
        UsageProblem("no terminal to ask on"),
    ],
    ids=lambda problem: type(problem).__name__,
)
def test_what_is_no_failure_never_rolls_back(room: Room, problem: GuardError) -> None:
    room.cluster.trouble[APPLY] = raising(problem)
    with pytest.raises(type(problem)):
        room.go_on()
    assert room.state is State.PLANNED
    room.cluster.trouble.clear()
    assert room.go_on().state is State.COMPLETED


def test_doubt_stops_and_asks_and_the_next_look_decides(room: Room) -> None:
    room.cluster.trouble[APPLY] = raising(CommandFailed("ran out of time", exit_status=None))
    looks = iter([NotDone("old"), Unknown("the API server does not answer")])
    room.cluster.sight[APPLY] = lambda: next(looks, None)
    with pytest.raises(DecisionNeeded, match="cannot tell"):
        room.go_on()
    assert room.latest(APPLY).outcome is Outcome.UNKNOWN
    assert room.state is State.PLANNED
    room.cluster.set(APPLY)  # it had come about after all
    assert room.go_on().state is State.COMPLETED
    assert f"step {APPLY} in doubt" in room.notes.lines
    assert room.acted(APPLY) == 1


def test_a_step_that_a_dead_process_left_behind_is_probed_and_not_repeated(room: Room) -> None:
    room.cluster.aftermath[APPLY] = raising(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        room.go_on()
    assert room.latest(APPLY).outcome is Outcome.STARTED
    room.cluster.aftermath.clear()
    assert room.go_on().state is State.COMPLETED
    assert f"step {APPLY} in doubt" in room.notes.lines
    assert room.acted(APPLY) == 1


def test_without_auto_rollback_a_person_is_asked(room: Room) -> None:
    room.cluster.trouble[APPLY] = raising(StepFailed("no"))
    with pytest.raises(DecisionNeeded, match="Control plane failed: no") as asked:
        room.go_on(auto_rollback=False)
    assert "upgrade-guard resume" in asked.value.hint
    assert "upgrade-guard rollback" in asked.value.hint
    assert room.state is State.PLANNED


def test_an_interrupt_comes_before_the_rollback(room: Room) -> None:
    def fail_while_interrupted() -> None:
        room.interruption.request("SIGTERM")
        raise StepFailed("apply failed")

    room.cluster.trouble[APPLY] = fail_while_interrupted
    with pytest.raises(Interrupted) as interrupted:
        room.go_on()
    assert "apply failed" in interrupted.value.reasons
    assert room.state is State.PLANNED


def test_a_rollback_that_fails_is_resumed_to_its_end(room: Room) -> None:
    room.cluster.trouble[APPLY] = raising(StepFailed("no"))
    room.cluster.trouble["rollback/restore"] = raising(StepFailed("no room"))
    with pytest.raises(RollbackFailed, match="no room") as failed:
        room.go_on()
    assert room.state is State.ROLLBACK_FAILED
    assert "upgrade-guard resume" in failed.value.hint
    assert failed.value.reasons[0] == "no room"
    assert "no" in failed.value.reasons
    room.cluster.trouble.clear()
    with pytest.raises(RolledBack) as rolled_back:
        room.go_on()
    assert rolled_back.value.reasons[0] == "no"  # why it was begun, not why it stopped
    assert room.states[-4:] == ["rolling-back", "rollback-failed", "rolling-back", "rolled-back"]
    assert room.acted("rollback/quiesce") == 1


def test_a_rollback_that_was_interrupted_goes_on(room: Room) -> None:
    room.cluster.trouble[APPLY] = raising(StepFailed("no"))
    room.cluster.aftermath["rollback/quiesce"] = lambda: room.interruption.request("SIGINT")
    with pytest.raises(Interrupted):
        room.go_on()
    assert room.state is State.ROLLING_BACK
    room.cluster.aftermath.clear()
    with pytest.raises(RolledBack):
        room.go_on()
    assert room.acted("rollback/quiesce") == room.acted("rollback/restore") == 1


def test_a_rollback_in_doubt_asks_and_stays_where_it_is(room: Room) -> None:
    room.cluster.trouble[APPLY] = raising(StepFailed("no"))
    room.cluster.sight["rollback/quiesce"] = lambda: Unknown("does etcd still run?")
    with pytest.raises(DecisionNeeded) as asked:
        room.go_on()
    assert room.state is State.ROLLING_BACK
    assert "resume" in asked.value.hint


def test_an_operator_can_ask_for_the_rollback(room: Room) -> None:
    room.cluster.trouble[APPLY] = raising(Interrupted("stop"))
    with pytest.raises(Interrupted):
        room.go_on()
    run = room.runner().roll_back(RUN, ("The operator asked for it.",))
    assert run.state is State.ROLLED_BACK
    assert room.journal.transitions(RUN)[-2].reasons == ("The operator asked for it.",)


def test_a_rollback_that_a_person_asked_for_does_not_say_that_the_upgrade_failed(room: Room) -> None:
    room.cluster.trouble[APPLY] = raising(Interrupted("stop"))
    with pytest.raises(Interrupted):
        room.go_on()
    room.cluster.trouble["rollback/restore"] = raising(Interrupted("stop"))
    with pytest.raises(Interrupted):
        room.runner().roll_back(RUN, (asked_by("root"),))
    room.cluster.trouble.clear()
    with pytest.raises(RolledBack, match=r"The upgrade to v1\.28\.0 was taken back; the cluster was rolled back"):
        room.go_on()


def test_there_is_nothing_to_roll_back_before_the_gate(room: Room) -> None:
    with pytest.raises(Refused, match="nothing to roll back") as refused:
        room.runner().roll_back(RUN, ("asked",))
    assert "upgrade-guard abort" in refused.value.hint


def test_a_completed_run_is_not_rolled_back(room: Room) -> None:
    room.go_on()
    with pytest.raises(Refused, match="completed"):
        room.runner().roll_back(RUN, ("asked",))


# A worker's failure is the worker's.


def test_a_failed_worker_is_put_back_and_the_run_stops_for_a_decision(room: Room) -> None:
    room.cluster.trouble["nodes/w1/packages"] = raising(StepFailed("dpkg was interrupted"))
    with pytest.raises(DecisionNeeded, match=r"w1 failed: dpkg was interrupted\. Put back: w1\.") as asked:
        room.go_on()
    assert "upgrade-guard resume" in asked.value.hint
    assert "upgrade-guard rollback" in asked.value.hint
    assert room.state is State.CONTROL_PLANE_UPGRADED
    assert room.notes.lines[-1] == "amended w1"
    assert room.acted("amend/w1/packages") == room.acted("amend/w1/uncordon") == 1
    assert room.latest("nodes/w1/drain").outcome is Outcome.VOIDED
    assert room.latest("amend/w1/packages").outcome is Outcome.VOIDED
    assert room.journal.latest(RUN, "nodes/w2/drain") is None


def test_a_worker_that_was_put_back_is_tried_again_from_the_start(room: Room) -> None:
    room.cluster.trouble["nodes/w1/packages"] = raising(StepFailed("dpkg was interrupted"))
    for _ in range(2):
        with pytest.raises(DecisionNeeded):
            room.go_on()
    assert room.acted("nodes/w1/drain") == room.acted("amend/w1/packages") == 2
    room.cluster.trouble.clear()
    assert room.go_on().state is State.COMPLETED
    assert room.acted("nodes/w1/drain") == 3
    assert room.acted("nodes/w2/drain") == 1


def test_putting_back_that_was_cut_short_is_finished_before_the_worker_is_tried_again(room: Room) -> None:
    room.cluster.trouble["nodes/w1/packages"] = raising(StepFailed("dpkg was interrupted"))
    room.cluster.aftermath["amend/w1/packages"] = raising(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        room.go_on()
    room.cluster.trouble.clear()
    room.cluster.aftermath.clear()
    assert room.go_on().state is State.COMPLETED
    assert room.acted("amend/w1/packages") == room.acted("amend/w1/uncordon") == 1
    assert room.acted("nodes/w1/drain") == 2


def test_putting_back_that_fails_too_says_both(room: Room) -> None:
    room.cluster.trouble["nodes/w1/packages"] = raising(StepFailed("dpkg was interrupted"))
    room.cluster.trouble["amend/w1/uncordon"] = raising(StepFailed("kubectl ended with 1"))
    with pytest.raises(DecisionNeeded) as asked:
        room.go_on()
    assert "dpkg was interrupted" in asked.value.reasons
    assert "kubectl ended with 1" in asked.value.reasons
    room.cluster.trouble.clear()
    assert room.go_on().state is State.COMPLETED


def test_a_worker_that_is_unreachable_is_left_alone(room: Room) -> None:
    room.cluster.trouble["nodes/w1/packages"] = raising(HostUnreachable("w1 is gone"))
    with pytest.raises(HostUnreachable):
        room.go_on()
    assert room.acted("amend/w1/packages") == 0


def test_where_there_is_nothing_to_put_back_the_run_stops_and_goes_on_from_there(room: Room) -> None:
    room.workflow._put_back = lambda lane: ()  # type: ignore[method-assign]
    room.cluster.trouble["nodes/w1/packages"] = raising(StepFailed("dpkg was interrupted"))
    with pytest.raises(DecisionNeeded):
        room.go_on()
    assert room.latest("nodes/w1/drain").outcome is Outcome.SUCCEEDED
    room.cluster.trouble.clear()
    assert room.go_on().state is State.COMPLETED
    assert room.acted("nodes/w1/drain") == 1


def test_where_a_worker_is_the_runs_the_whole_cluster_goes_back(make_room: Callable[..., Room]) -> None:
    room = make_room(amends=False)
    room.cluster.trouble["nodes/w1/packages"] = raising(StepFailed("dpkg was interrupted"))
    with pytest.raises(RolledBack):
        room.go_on()


# Closing a run.


def test_a_run_that_changed_nothing_is_closed(room: Room) -> None:
    room.cluster.trouble["proof/restore"] = raising(StepFailed("no"))
    with pytest.raises(StepFailed):
        room.go_on()
    assert room.runner().abort(RUN).state is State.ABORTED
    assert room.states[-1] == "aborted"
    assert room.journal.open_run() is None


def test_packages_go_back_before_a_run_is_closed_even_when_its_proof_is_old(room: Room) -> None:
    room.cluster.trouble["plan/approve"] = raising(DecisionNeeded("who approves?"))
    with pytest.raises(DecisionNeeded):
        room.go_on()
    room.clock.time += timedelta(seconds=2 * MAX_AGE)
    assert room.runner().abort(RUN).state is State.ABORTED
    assert room.acted("abort/cp1/packages") == 1
    assert not room.cluster.has("packages/cp1/kubeadm")


def test_a_run_whose_control_plane_was_touched_is_not_closed(room: Room) -> None:
    room.cluster.trouble[APPLY] = raising(Interrupted("stop"))
    with pytest.raises(Interrupted):
        room.go_on()
    with pytest.raises(Refused, match="begun to change") as refused:
        room.runner().abort(RUN)
    assert "upgrade-guard rollback" in refused.value.hint
    assert room.state is State.PLANNED


def test_a_run_that_has_ended_is_not_closed_again(room: Room) -> None:
    room.runner().abort(RUN)
    with pytest.raises(Refused, match="aborted"):
        room.runner().abort(RUN)


def test_closing_that_failed_can_be_repeated(room: Room) -> None:
    room.cluster.trouble["plan/approve"] = raising(DecisionNeeded("who approves?"))
    room.cluster.trouble["abort/cp1/packages"] = raising(StepFailed("apt is locked"))
    with pytest.raises(DecisionNeeded):
        room.go_on()
    with pytest.raises(StepFailed, match="apt is locked"):
        room.runner().abort(RUN)
    room.cluster.trouble.clear()
    assert room.runner().abort(RUN).state is State.ABORTED


def test_a_run_can_be_gone_on_with_although_closing_it_had_begun(room: Room) -> None:
    room.cluster.trouble["plan/approve"] = raising(DecisionNeeded("who approves?"))
    room.cluster.aftermath["abort/cp1/packages"] = raising(KeyboardInterrupt())
    with pytest.raises(DecisionNeeded):
        room.go_on()
    with pytest.raises(KeyboardInterrupt):
        room.runner().abort(RUN)
    room.cluster.trouble.clear()
    room.cluster.aftermath.clear()
    assert room.go_on().state is State.COMPLETED
    assert room.acted("packages/cp1/kubeadm") == 2  # the abort had put it back


def test_resuming_asks_for_the_way_of_an_abort_only_where_one_was_begun(room: Room) -> None:
    """It may rest on results that were voided with the evidence, and then has none to give."""

    def aborting(facts: Facts) -> tuple[Phase, ...]:
        raise KeyError("snapshot/publish")

    room.workflow.aborting = aborting  # type: ignore[method-assign]
    room.cluster.trouble["plan/approve"] = raising(EvidenceLost("the bundle is gone"))
    with pytest.raises(EvidenceLost):
        room.go_on()
    room.cluster.trouble.clear()
    assert room.go_on().state is State.COMPLETED


def test_a_way_back_that_loses_a_host_decides_anew_and_goes_on(room: Room) -> None:
    """The host of one step is lost; what was decided with it in mind is voided, and the way back goes on by itself."""
    room.cluster.trouble[APPLY] = raising(StepFailed("no"))
    lost = HostUnreachable("cp3 cannot be reached")

    def once() -> None:
        room.cluster.trouble.pop("rollback/restore")
        room.workflow.decided_wrong = ("rollback/quiesce",)
        room.cluster.clear("rollback/quiesce")
        raise lost

    room.cluster.trouble["rollback/restore"] = once
    room.cluster.aftermath["rollback/quiesce"] = lambda: setattr(room.workflow, "decided_wrong", ())
    with pytest.raises(RolledBack):
        room.go_on()
    assert room.acted("rollback/quiesce") == 2
    assert "rollback-failed" not in room.states
    voided = [row.name for row in room.journal.steps(RUN) if row.outcome is Outcome.VOIDED]
    assert voided == ["rollback/quiesce"]


def test_a_host_that_stays_lost_ends_the_way_back_after_some_tries(room: Room) -> None:
    room.cluster.trouble[APPLY] = raising(StepFailed("no"))
    room.cluster.trouble["rollback/restore"] = raising(HostUnreachable("cp3 cannot be reached"))
    with pytest.raises(RollbackFailed, match="cp3 cannot be reached"):
        room.go_on()
    assert room.state is State.ROLLBACK_FAILED


def test_steps_of_what_was_given_up_are_no_part_of_the_plan(room: Room) -> None:
    room.cluster.trouble[APPLY] = raising(StepFailed("no"))
    room.cluster.trouble["rollback/restore"] = raising(StepFailed("no room"))
    with pytest.raises(RollbackFailed):
        room.go_on()
    room.cluster.trouble.clear()
    rest = room.cluster.step("rollback/verify", lasting=False)
    room.workflow.replaced[State.ROLLING_BACK] = (Phase("rollback", "Roll back", (rest,), Event.ROLLBACK_CONFIRMED),)
    with pytest.raises(Refused, match="plan changed"):
        room.go_on()
    room.workflow.given_up = ("rollback/quiesce", "rollback/restore")
    with pytest.raises(RolledBack):
        room.go_on()
