"""Stages of a run, and the attempts in them, from its record."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from unit.ui.telling import AT, Teller, completed, prepared, taken_back

from upgrade_guard.model.run import Event, Kind, Outcome, State, asked_by
from upgrade_guard.ui.stages import Stage, attempts, stages
from upgrade_guard.ui.tables import Story


def told(story: Story) -> tuple[Stage, ...]:
    return stages(story.run, story.transitions, story.steps, AT + timedelta(hours=1))


def test_a_run_that_completed_went_through_every_stage() -> None:
    found = told(completed())
    assert [stage.label for stage in found] == [
        "Inspect the cluster",
        "Take the snapshot",
        "Prove that it restores",
        "Copy it off the control plane",
        "Plan, and your approval",
        "Change the control plane",
        "Change the workers",
        "Confirm against the baseline",
    ]
    assert {stage.verdict for stage in found} == {"done"}
    assert [one.name for one in found[0].attempts] == ["inspect/etcd-tools", "inspect/checks"]
    assert [(one.number, one.outcome) for one in found[6].attempts] == [(1, Outcome.FAILED), (2, Outcome.SUCCEEDED)]
    assert found[0].began == AT
    assert all(before.ended == after.began for before, after in pairwise(found))


def test_a_run_that_was_taken_back_failed_in_a_stage_and_went_back() -> None:
    found = told(taken_back())
    assert [(stage.label, stage.verdict) for stage in found[-2:]] == [
        ("Change the control plane", "failed"),
        ("Take the cluster back", "done"),
    ]
    assert found[-2].reasons == ("kubeadm ended with 1", "cp1: not at v1.28.0")


def test_the_time_that_a_person_took_to_answer_is_not_the_stage_s() -> None:
    teller = Teller(state=State.COPIED)
    teller.row("plan/approve", Outcome.STARTED)
    teller.seq += 50 * 60  # seconds
    teller.row("plan/approve", Outcome.SUCCEEDED)
    teller.move(Event.PLAN_APPROVED, State.PLANNED)
    planned = told(teller.story())[0]
    assert planned.label == "Plan, and your approval"
    assert planned.answered_in == 50 * 60 + 1
    assert planned.seconds == (planned.ended - planned.began).total_seconds() - planned.answered_in


def test_a_stage_that_a_person_took_back_did_not_fail() -> None:
    teller = prepared()
    teller.move(Event.ROLLBACK_BEGUN, State.ROLLING_BACK, asked_by("root"))
    assert [(stage.label, stage.verdict) for stage in told(teller.story())[-2:]] == [
        ("Change the control plane", "given up"),
        ("Take the cluster back", "not finished"),
    ]


def test_an_open_run_is_in_the_stage_that_it_has_not_reached() -> None:
    teller = prepared()
    teller.row("control-plane/cp1/apply", Outcome.STARTED)
    last = told(teller.story())[-1]
    assert (last.label, last.verdict) == ("Change the control plane", "not finished")
    assert last.ended == AT + timedelta(hours=1)
    assert [(one.name, one.seconds) for one in last.attempts] == [("control-plane/cp1/apply", None)]


def test_evidence_that_expired_begins_again() -> None:
    teller = prepared()
    teller.move(Event.EVIDENCE_EXPIRED, State.INSPECTED, "the proof is too old")
    teller.move(Event.SNAPSHOT_TAKEN, State.SNAPSHOTTED)
    found = told(teller.story())
    assert [(stage.label, stage.verdict) for stage in found[5:]] == [
        ("Change the control plane", "expired"),
        ("Take the snapshot", "done"),
        ("Prove that it restores", "not finished"),
    ]


def test_a_rollback_that_stopped_waits_for_a_person_and_goes_on() -> None:
    teller = prepared()
    teller.move(Event.ROLLBACK_BEGUN, State.ROLLING_BACK)
    teller.move(Event.ROLLBACK_STOPPED, State.ROLLBACK_FAILED, "cp2 does not answer")
    teller.move(Event.ROLLBACK_BEGUN, State.ROLLING_BACK)
    teller.move(Event.ROLLBACK_CONFIRMED, State.ROLLED_BACK)
    assert [(stage.label, stage.verdict) for stage in told(teller.story("rolled-back"))[-3:]] == [
        ("Take the cluster back", "failed"),
        ("Wait for a person", "waited"),
        ("Take the cluster back", "done"),
    ]


def test_a_run_that_was_given_up_and_one_that_failed() -> None:
    teller = Teller()
    teller.step("inspect/cluster")
    teller.move(Event.RUN_ABORTED, State.ABORTED)
    assert [(stage.label, stage.verdict) for stage in told(teller.story("aborted"))] == [
        ("Inspect the cluster", "given up")
    ]
    teller = Teller(kind=Kind.DRILL)
    teller.step("drill/prove", Outcome.FAILED)
    teller.move(Event.RUN_FAILED, State.FAILED)
    assert [stage.verdict for stage in told(teller.story("failed"))] == ["failed"]


def test_a_restore_is_one_way_and_not_a_failure() -> None:
    teller = Teller(kind=Kind.RESTORE)
    teller.step("restore/bundle")
    teller.move(Event.BUNDLE_PROVEN, State.INSPECTED)
    teller.move(Event.ROLLBACK_BEGUN, State.ROLLING_BACK)
    teller.step("rollback/cp1/restore")
    teller.move(Event.RESTORE_CONFIRMED, State.RESTORED)
    assert [(stage.label, stage.verdict) for stage in told(teller.story("restored"))] == [
        ("Read the bundle and prove it", "done"),
        ("Bring the cluster back", "done"),
    ]


def test_a_clock_that_was_set_back_makes_no_negative_time() -> None:
    teller = prepared()
    story = teller.story()
    found = stages(story.run, story.transitions, story.steps, AT - timedelta(days=1))
    assert found[-1].seconds == 0


def test_what_was_taken_back_is_no_attempt() -> None:
    teller = Teller()
    teller.step("a")
    teller.row("a", Outcome.VOIDED, detail="its evidence expired")
    (one,) = attempts(teller.steps)
    assert (one.outcome, one.seconds) == (Outcome.SUCCEEDED, 1.0)
