"""What the engine does when the gate is closed: give evidence up, take it anew, or refuse."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from unit.engine.paper import MAX_AGE
from unit.engine.room import RUN, Room, raising

from upgrade_guard.errors import EvidenceLost, HostUnreachable, Interrupted, Refused, StepFailed
from upgrade_guard.model.run import Event, Outcome, State
from upgrade_guard.model.step import Phase


def stopped_before(room: Room, step: str) -> None:
    """Bring the run to the point where this step is next, in a process that has ended."""
    room.cluster.trouble[step] = raising(Interrupted("stop"))
    with pytest.raises(Interrupted):
        room.go_on()
    room.cluster.trouble.clear()


def age(room: Room) -> None:
    room.clock.time += timedelta(seconds=MAX_AGE + 1)


def test_a_closed_gate_refuses_with_every_reason_and_gives_the_evidence_up(room: Room) -> None:
    room.workflow.evidence_differs = {"alarms": ("NOSPACE",), "copies_off_control_plane": 0}
    with pytest.raises(Refused, match="gate is closed") as refused:
        room.go_on()
    assert len(refused.value.reasons) == 2
    assert "upgrade-guard resume" in refused.value.hint
    assert room.state is State.INSPECTED
    assert room.states[-1] == "inspected"
    assert room.journal.transitions(RUN)[-1].reasons == refused.value.reasons
    assert room.notes.lines[-2:] == ["gate closed", "moved inspected"]
    for step in ("snapshot/save", "snapshot/files/cp1", "proof/restore", "copies/nas"):
        assert room.latest(step).outcome is Outcome.VOIDED
    assert room.latest("inspect/cluster").outcome is Outcome.SUCCEEDED
    assert room.journal.latest(RUN, "packages/cp1/kubeadm") is None


def test_resume_after_a_closed_gate_goes_through_every_stage_again(room: Room) -> None:
    room.workflow.evidence_differs = {"problems": ("snapshot.db was changed.",)}
    with pytest.raises(Refused):
        room.go_on()
    room.workflow.evidence_differs = {}
    assert room.go_on().state is State.COMPLETED
    assert len(room.outcomes("proof/restore")) == 5  # started, succeeded, voided, started, succeeded
    assert len(room.outcomes("inspect/cluster")) == 2


def test_a_proof_that_only_grew_old_is_taken_anew_in_the_same_process(room: Room) -> None:
    room.cluster.aftermath["copies/nas"] = lambda: age(room) if room.acted("copies/nas") == 1 else None
    assert room.go_on().state is State.COMPLETED
    assert room.states[:6] == ["inspected", "snapshotted", "verified", "copied", "inspected", "snapshotted"]
    assert room.acted("snapshot/save") == room.acted("proof/restore") == 2
    assert room.acted("inspect/cluster") == 1


def test_a_limit_shorter_than_the_taking_does_not_go_round_for_ever(room: Room) -> None:
    room.cluster.aftermath["copies/nas"] = lambda: age(room)
    with pytest.raises(Refused) as refused:
        room.go_on()
    assert room.acted("snapshot/save") == 2
    assert "snapshot_max_age" in refused.value.hint
    assert room.state is State.INSPECTED


def test_the_gate_is_judged_again_when_planned_is_entered(room: Room) -> None:
    room.cluster.aftermath["plan/approve"] = lambda: age(room) if room.acted("plan/approve") == 1 else None
    assert room.go_on().state is State.COMPLETED
    assert Outcome.SUCCEEDED in room.outcomes("plan/approve")[:2]  # what the operator said is on record
    assert room.states.count("planned") == 1
    assert room.states.count("inspected") == 2
    assert room.acted("packages/cp1/kubeadm") == 1


def test_the_journal_notices_a_proof_that_grows_old_between_two_changes(room: Room) -> None:
    first = room.cluster.step("packages/cp1/kubeadm", changes_node=True)
    second = room.cluster.step("packages/cp1/images", changes_node=True)
    approve = room.cluster.step("plan/approve")
    room.workflow.replaced[State.COPIED] = (Phase("plan", "Plan", (first, second, approve), Event.PLAN_APPROVED),)
    room.cluster.aftermath["packages/cp1/kubeadm"] = lambda: age(room)
    assert room.go_on().state is State.COMPLETED
    assert room.notes.lines.count("gate closed") == 1
    assert room.states.count("inspected") == 2


def test_every_process_judges_the_gate_before_it_first_changes_a_node(room: Room) -> None:
    stopped_before(room, "control-plane/cp1/kubelet")
    asked = room.workflow.evidence_asked
    room.go_on()
    assert room.workflow.evidence_asked == asked + 1


def test_once_the_control_plane_changes_a_closed_gate_leads_back_and_not_round(room: Room) -> None:
    stopped_before(room, "control-plane/cp1/kubelet")
    room.workflow.evidence_differs = {"problems": ("The copy at nas reads back different.",)}
    with pytest.raises(Refused, match="begun to change") as refused:
        room.go_on()
    assert "upgrade-guard rollback" in refused.value.hint
    assert "off-site" in refused.value.hint
    assert room.state is State.PLANNED
    assert room.latest("control-plane/cp1/apply").outcome is Outcome.SUCCEEDED
    assert room.acted("control-plane/cp1/kubelet") == 1


def test_once_the_control_plane_changes_age_is_not_asked(room: Room) -> None:
    stopped_before(room, "control-plane/cp1/kubelet")
    age(room)
    assert room.go_on().state is State.COMPLETED
    assert room.acted("snapshot/save") == 1


def test_evidence_that_cannot_be_gathered_is_no_failure_of_the_upgrade(room: Room) -> None:
    stopped_before(room, "control-plane/cp1/kubelet")

    def unreachable(facts: Any) -> Any:
        raise HostUnreachable("cp1 does not answer")

    gathers, room.workflow.evidence = room.workflow.evidence, unreachable  # type: ignore[method-assign]
    with pytest.raises(HostUnreachable):
        room.go_on()
    assert room.state is State.PLANNED
    room.workflow.evidence = gathers  # type: ignore[method-assign]
    assert room.go_on().state is State.COMPLETED


def test_a_step_stands_when_the_gate_behind_it_cannot_be_judged(room: Room) -> None:
    def then_unreachable() -> None:
        room.workflow.evidence = raising_evidence  # type: ignore[method-assign]

    def raising_evidence(facts: Any) -> Any:
        raise HostUnreachable("nas does not answer")

    gathers = room.workflow.evidence
    room.cluster.aftermath["plan/approve"] = then_unreachable
    with pytest.raises(HostUnreachable):
        room.go_on()
    assert room.latest("plan/approve").outcome is Outcome.SUCCEEDED
    assert room.state is State.COPIED
    room.workflow.evidence = gathers  # type: ignore[method-assign]
    assert room.go_on().state is State.COMPLETED
    assert room.acted("plan/approve") == 1


def too_lenient(room: Room) -> None:
    """Evidence that says yes to a proof which the limit of the run says no to."""
    room.workflow.evidence_differs = {"max_age": 10 * MAX_AGE}


def test_the_database_alone_keeps_a_node_from_being_changed(room: Room) -> None:
    too_lenient(room)
    room.cluster.aftermath["copies/nas"] = lambda: age(room)
    with pytest.raises(Refused, match="snapshot_max_age"):
        room.go_on()
    assert room.notes.lines[-2:] == ["gate open", "gate open"]
    assert room.state is State.COPIED
    assert room.acted("packages/cp1/kubeadm") == 0


def test_the_database_alone_keeps_planned_shut_and_the_step_before_it_stands(room: Room) -> None:
    too_lenient(room)
    room.cluster.aftermath["plan/approve"] = lambda: age(room)
    with pytest.raises(Refused, match="snapshot_max_age"):
        room.go_on()
    assert room.state is State.COPIED
    assert room.latest("plan/approve").outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    ("state", "step", "event", "reason"),
    [
        (State.INSPECTED, "snapshot/save", Event.SNAPSHOT_TAKEN, "no snapshot"),
        (State.SNAPSHOTTED, "proof/restore", Event.SNAPSHOT_PROVEN, "not been proven"),
        (State.VERIFIED, "copies/nas", Event.COPIES_READ_BACK, "0 of 1"),
    ],
)
def test_what_nobody_wrote_down_does_not_count(room: Room, state: State, step: str, event: Event, reason: str) -> None:
    """Steps that leave a result, for which the evidence says yes, but no record."""
    room.workflow.replaced[state] = (Phase("silent", "Silent", (room.cluster.step(step),), event),)
    with pytest.raises(Refused, match="gate is closed") as refused:
        room.go_on()
    assert any(reason in said for said in refused.value.reasons)
    assert room.acted("packages/cp1/kubeadm") == 0


def edit_the_proof(room: Room) -> None:
    with closing(sqlite3.connect(room.folder / "state" / "journal.sqlite3")) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("UPDATE proofs SET revision = 999")


def test_an_edited_journal_is_never_gone_on_with(room: Room) -> None:
    room.cluster.aftermath["copies/nas"] = lambda: edit_the_proof(room)
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            room.go_on()
        assert refused.value.reasons
        assert "upgrade-guard abort" in refused.value.hint
    assert room.acted("packages/cp1/kubeadm") == 0
    assert room.runner().abort(RUN).state is State.ABORTED


@pytest.mark.parametrize("step", ["snapshot/files/cp1", "proof/restore", "copies/nas", "plan/approve"])
def test_evidence_that_turns_out_to_be_no_good_is_given_up(room: Room, step: str) -> None:
    room.cluster.trouble[step] = raising(EvidenceLost("snapshot.db is truncated"))
    with pytest.raises(EvidenceLost):
        room.go_on()
    assert room.state is State.INSPECTED
    assert room.latest("snapshot/save").outcome is Outcome.VOIDED
    room.cluster.trouble.clear()
    assert room.go_on().state is State.COMPLETED


def test_evidence_lost_after_the_control_plane_changed_is_a_failure(room: Room) -> None:
    room.cluster.trouble["control-plane/cp1/kubelet"] = raising(EvidenceLost("snapshot.db is gone"))
    with pytest.raises(Exception, match="rolled back"):
        room.go_on()
    assert room.state is State.ROLLED_BACK


def test_ways_back_are_never_gated(room: Room) -> None:
    room.cluster.trouble["control-plane/cp1/apply"] = raising(StepFailed("no"))
    room.cluster.aftermath["ready/nodes"] = lambda: None
    stopped_before(room, "control-plane/cp1/apply")
    room.workflow.evidence_differs = {"problems": ("The copy at nas reads back different.",)}
    asked = room.workflow.evidence_asked
    assert room.runner().roll_back(RUN, ("asked",)).state is State.ROLLED_BACK
    assert room.workflow.evidence_asked == asked
