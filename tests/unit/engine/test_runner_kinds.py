"""Runs of other kinds, and phases of other kinds: a restore is a way back; a backup is closed where it fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from unit.engine.room import RUN, Room, raising

from upgrade_guard.errors import (
    DecisionNeeded,
    EvidenceLost,
    HostUnreachable,
    Interrupted,
    Refused,
    RollbackFailed,
    StepFailed,
    UsageProblem,
)
from upgrade_guard.model.run import Event, Kind, Outcome, State
from upgrade_guard.model.step import Facts, Phase

MakeRoom = Callable[..., Room]


@pytest.fixture
def restore(make_room: MakeRoom) -> Room:
    """STARTED to INSPECTED to ROLLING_BACK, where the paper's own way back ends in another event."""
    room = make_room(kind=Kind.RESTORE)
    step = room.cluster.step
    room.workflow.replaced |= {
        State.STARTED: (Phase("bundle", "Bundle", (step("restore/bundle"),), Event.BUNDLE_PROVEN),),
        State.INSPECTED: (Phase("plan", "Plan", (step("restore/approve"),), Event.ROLLBACK_BEGUN),),
        State.ROLLING_BACK: (
            Phase("swap", "Swap", (step("restore/cp1/swap", changes_node=True),), Event.RESTORE_CONFIRMED),
        ),
    }
    return room


def test_a_restore_goes_to_its_end_and_is_no_failure(restore: Room) -> None:
    assert restore.go_on().state is State.RESTORED
    assert restore.states == ["inspected", "rolling-back", "restored"]
    assert restore.workflow.evidence_asked == 0, "there is no gate before a way back"


def test_a_restore_that_stops_is_resumed(restore: Room) -> None:
    restore.cluster.trouble["restore/cp1/swap"] = raising(StepFailed("no room"))
    with pytest.raises(RollbackFailed, match="restore failed: no room"):
        restore.go_on()
    assert restore.state is State.ROLLBACK_FAILED
    restore.cluster.trouble.clear()
    assert restore.go_on().state is State.RESTORED
    assert restore.acted("restore/approve") == 1


def test_a_restore_cannot_be_rolled_back(restore: Room) -> None:
    with pytest.raises(Refused, match="cannot be rolled back"):
        restore.runner().roll_back(RUN, ("asked",))
    assert restore.state is State.STARTED


def test_a_restore_is_closed_until_it_changes_the_cluster(restore: Room) -> None:
    restore.cluster.trouble["restore/approve"] = raising(DecisionNeeded("who approves?"))
    with pytest.raises(DecisionNeeded):
        restore.go_on()
    assert restore.runner().abort(RUN).state is State.ABORTED


def test_a_restore_that_changes_the_cluster_is_not_closed(restore: Room) -> None:
    restore.cluster.trouble["restore/cp1/swap"] = raising(Interrupted("stop"))
    with pytest.raises(Interrupted):
        restore.go_on()
    with pytest.raises(Refused, match="begun to change"):
        restore.runner().abort(RUN)
    assert restore.state is State.ROLLING_BACK


@pytest.fixture
def backup(make_room: MakeRoom) -> Room:
    room = make_room(kind=Kind.BACKUP)
    keep = Phase("keep", "Keep", (room.cluster.step("retention/prune"),), Event.BACKUP_KEPT)
    room.workflow.replaced[State.COPIED] = (keep,)
    return room


def test_a_backup_goes_to_its_end_without_a_gate(backup: Room) -> None:
    assert backup.go_on().state is State.COMPLETED
    assert backup.states == ["inspected", "snapshotted", "verified", "copied", "completed"]
    assert backup.workflow.evidence_asked == 0


@pytest.mark.parametrize("problem", [StepFailed("no room"), HostUnreachable("nas is gone"), Refused("nas is full")])
def test_a_backup_that_fails_is_closed_with_the_reasons(backup: Room, problem: Exception) -> None:
    backup.cluster.trouble["copies/nas"] = raising(problem)
    with pytest.raises(type(problem)) as failed:
        backup.go_on()
    assert "upgrade-guard backup create" in failed.value.hint  # type: ignore[attr-defined]
    assert backup.state is State.FAILED
    assert backup.journal.transitions(RUN)[-1].reasons[0] == str(problem)
    with pytest.raises(UsageProblem, match="failed"):
        backup.go_on()


def test_a_backup_that_asks_stays_open(backup: Room) -> None:
    backup.cluster.trouble["copies/nas"] = raising(DecisionNeeded("which key?"))
    with pytest.raises(DecisionNeeded):
        backup.go_on()
    assert backup.state is State.VERIFIED
    backup.cluster.trouble.clear()
    assert backup.go_on().state is State.COMPLETED
    assert backup.acted("snapshot/save") == 1


def test_a_backup_whose_snapshot_is_no_good_takes_another_when_it_is_resumed(backup: Room) -> None:
    backup.cluster.trouble["proof/restore"] = raising(EvidenceLost("snapshot.db is truncated"))
    with pytest.raises(EvidenceLost):
        backup.go_on()
    assert backup.state is State.INSPECTED
    assert backup.journal.transitions(RUN)[-1].reasons[0] == "snapshot.db is truncated"
    backup.cluster.trouble.clear()
    backup.cluster.clear("snapshot/save")
    assert backup.go_on().state is State.COMPLETED
    assert backup.acted("snapshot/save") == 2


def test_a_snapshot_that_is_lost_while_it_is_taken_is_taken_again(room: Room) -> None:
    """The run has not moved since it was inspected: only the steps are voided."""
    room.cluster.trouble["snapshot/files/cp1"] = raising(EvidenceLost("snapshot.db is gone", reasons=("looked twice",)))
    with pytest.raises(EvidenceLost):
        room.go_on()
    assert room.states == ["inspected"]
    voided = room.latest("snapshot/save")
    assert voided.outcome is Outcome.VOIDED
    assert voided.detail.startswith("snapshot.db is gone; looked twice; ")
    assert room.latest("inspect/cluster").outcome is Outcome.SUCCEEDED
    room.cluster.trouble.clear()
    assert room.go_on().state is State.COMPLETED


def test_with_nothing_to_void_nothing_is_voided(room: Room) -> None:
    room.cluster.trouble["snapshot/save"] = raising(EvidenceLost("etcd ended the stream"))
    with pytest.raises(EvidenceLost):
        room.go_on()
    assert [row.outcome for row in room.journal.steps(RUN) if row.outcome is Outcome.VOIDED] == []
    assert room.state is State.INSPECTED


# What a phase may say of itself.


def decided(room: Room, state: State, event: Event) -> list[str]:
    """Phases of that state of which the first decides which one follows."""
    choose = Phase("choose", "Choose", (room.cluster.step("rollback/choose"),), decides=True)
    asked: list[str] = []
    inner = room.workflow.ahead

    def ahead(now: State, facts: Facts) -> tuple[Phase, ...]:
        if now is not state:
            return inner(now, facts)
        way = "deep" if facts.has("rollback/choose") else "shallow"
        asked.append(way)
        return (choose, Phase(way, way, (room.cluster.step(f"rollback/{way}"),), event))

    room.workflow.ahead = ahead  # type: ignore[method-assign]
    return asked


def test_what_a_phase_decides_is_asked_for_before_the_next_begins(room: Room) -> None:
    asked = decided(room, State.STARTED, Event.CLUSTER_INSPECTED)
    assert room.go_on().state is State.COMPLETED
    assert room.acted("rollback/choose") == room.acted("rollback/deep") == 1
    assert room.acted("rollback/shallow") == 0
    assert asked == ["shallow", "deep"]


def lanes(room: Room, goes_on: Callable[[Exception], bool], **more: bool) -> Phase:
    steps = tuple(room.cluster.step(f"rollback/{lane}/{what}", lane=lane) for lane in ("w1", "w2") for what in "ab")
    return Phase("behind", "Nodes", steps, Event.ROLLBACK_CONFIRMED, goes_on=goes_on, **more)


def rolling_back(room: Room, phase: Phase) -> None:
    room.workflow.replaced[State.ROLLING_BACK] = (phase,)
    room.cluster.trouble["control-plane/cp1/apply"] = raising(StepFailed("apply failed"))


@pytest.mark.parametrize(
    ("problem", "walked"),
    [(HostUnreachable("w1 is gone"), True), (StepFailed("no room"), False), (ZeroDivisionError("a bug"), False)],
)
def test_other_lanes_are_walked_to_their_end_where_the_phase_goes_on(
    room: Room, problem: Exception, walked: bool
) -> None:
    rolling_back(room, lanes(room, lambda said: isinstance(said, HostUnreachable | ZeroDivisionError)))
    room.cluster.trouble["rollback/w1/a"] = raising(problem)
    with pytest.raises((RollbackFailed, ZeroDivisionError)):
        room.go_on()
    assert (room.acted("rollback/w2/a") == room.acted("rollback/w2/b") == 1) is walked
    assert room.acted("rollback/w1/b") == 0, "its own lane has ended"


def test_a_phase_that_pauses_leaves_a_way_back_to_a_person(room: Room) -> None:
    rolling_back(room, lanes(room, lambda _: True, pauses=True))
    room.cluster.trouble["rollback/w1/a"] = raising(StepFailed("not Ready", hint="look at its kubelet"))
    with pytest.raises(DecisionNeeded, match="control plane is back, and these nodes are not: w1") as asked:
        room.go_on()
    assert asked.value.hint == "look at its kubelet"
    assert room.state is State.ROLLING_BACK
    assert room.acted("rollback/w2/b") == 1


def test_a_lost_host_is_tried_again_before_a_phase_pauses(room: Room) -> None:
    rolling_back(room, lanes(room, lambda _: True, pauses=True))
    room.cluster.trouble["rollback/w1/a"] = raising(HostUnreachable("w1 is gone"))
    with pytest.raises(DecisionNeeded, match="w1 is gone"):
        room.go_on()
    assert room.acted("rollback/w1/a") == 6, "once, and five times after that"
    assert room.state is State.ROLLING_BACK
