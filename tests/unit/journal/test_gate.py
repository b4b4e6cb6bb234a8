"""The database refuses to pass the gate, whatever the code says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from unit.journal.making import MIDNIGHT, Clock, begun, copy, done, moved, proof, snapshot, step, with_evidence

from upgrade_guard.errors import ExitCode, Refused
from upgrade_guard.journal import Journal
from upgrade_guard.model.run import Outcome, Record, State

PLAN = moved(State.PLANNED)
UPGRADED = moved(State.CONTROL_PLANE_UPGRADED)
COMPLETE = (snapshot(), proof(), copy())

CLOSED: dict[str, tuple[tuple[Record, ...], str]] = {
    "nothing": ((), "no snapshot"),
    "no proof": ((snapshot(), copy()), "no proof"),
    "proof failed": ((snapshot(), proof(ok=False), copy()), "no proof"),
    "proof failed later": ((snapshot(), proof(), proof(ok=False), copy()), "no proof"),
    "proof of another bundle": ((snapshot(), proof("bundle-0"), copy()), "no proof"),
    "proof of other bytes": ((snapshot(), proof(sha256="c" * 64), copy()), "no proof"),
    "newer snapshot unproven": ((*COMPLETE, snapshot("bundle-2", "d" * 64)), "no proof"),
    "proof too old": ((snapshot(), proof(at=MIDNIGHT - timedelta(seconds=1801)), copy()), "older"),
    "proof from the future": ((snapshot(), proof(at=MIDNIGHT + timedelta(seconds=1801)), copy()), "older"),
    "no copy": ((snapshot(), proof()), "fewer copies"),
    "copy not read back": ((snapshot(), proof(), copy(read_back=False)), "fewer copies"),
    "copy differs later": ((*COMPLETE, copy(read_back=False)), "fewer copies"),
    "copy of another bundle": ((snapshot(), proof(), copy("bundle-0")), "fewer copies"),
    "copy on a control plane": ((snapshot(), proof(), copy(off_control_plane=False)), "off the control plane"),
}


def refused_because(write: Callable[[], object]) -> str:
    with pytest.raises(Refused) as refused:
        write()
    assert refused.value.exit_code is ExitCode.REFUSED
    assert refused.value.hint
    return refused.value.message


@pytest.mark.parametrize("case", CLOSED)
def test_closed_for_transitions_and_for_steps_that_change_a_node(journal: Journal, case: str) -> None:
    records, reason = CLOSED[case]
    with_evidence(journal, *records)
    before = journal.head()
    assert reason in refused_because(lambda: journal.move("run-1", PLAN))
    assert reason in refused_because(lambda: journal.move("run-1", UPGRADED))
    assert reason in refused_because(lambda: journal.start("run-1", step("plan/package", changes_node=True)))
    assert (journal.head(), journal.run("run-1").state) == (before, State.COPIED)
    journal.start("run-1", step("plan/look"))


@pytest.mark.parametrize("seconds", [0, 1799, -1799])
def test_open_when_everything_is_there(journal: Journal, clock: Clock, seconds: float) -> None:
    with_evidence(journal, *COMPLETE)
    clock.go_on(seconds)
    assert journal.start("run-1", step("plan/package", changes_node=True)) == 1
    assert journal.move("run-1", PLAN).to_state is State.PLANNED


def test_the_evidence_of_another_run_does_not_open_it(journal: Journal) -> None:
    begun(journal, "run-0")
    done(journal, "evidence/gather", *COMPLETE, run_id="run-0")
    with_evidence(journal)
    assert "no snapshot" in refused_because(lambda: journal.move("run-1", PLAN))


def test_copies_to_one_target_count_once(journal: Journal) -> None:
    begun(journal, offsite_required=2)
    done(journal, "evidence/gather", snapshot(), proof(), copy(), copy(), move=moved(State.COPIED))
    assert "fewer copies" in refused_because(lambda: journal.move("run-1", PLAN))
    done(journal, "evidence/more", copy(target="file:///san", off_control_plane=False))
    journal.move("run-1", PLAN)


def test_one_copy_off_the_control_plane_is_always_asked_for(journal: Journal) -> None:
    begun(journal, offsite_required=0)
    done(journal, "evidence/gather", snapshot(), proof(), move=moved(State.COPIED))
    assert "off the control plane" in refused_because(lambda: journal.move("run-1", PLAN))


def test_age_is_not_asked_once_the_control_plane_has_begun_to_change(journal: Journal, clock: Clock) -> None:
    with_evidence(journal, *COMPLETE, state=State.PLANNED)
    journal.start("run-1", step("control-plane/cp1/apply", changes_node=True))
    clock.go_on(100_000)
    journal.start("run-1", step("control-plane/cp2/upgrade", changes_node=True))
    assert journal.move("run-1", UPGRADED).to_state is State.CONTROL_PLANE_UPGRADED


def test_a_name_that_only_looks_like_the_control_plane_changes_nothing(journal: Journal, clock: Clock) -> None:
    with_evidence(journal, *COMPLETE)
    journal.start("run-1", step("control-planet/cp1"))
    clock.go_on(100_000)
    assert "older" in refused_because(lambda: journal.move("run-1", PLAN))


@pytest.mark.parametrize("state", [State.PLANNED, State.CONTROL_PLANE_UPGRADED, State.NODES_UPGRADED])
def test_the_first_changing_step_of_later_states_is_gated_too(journal: Journal, state: State) -> None:
    with_evidence(journal, *COMPLETE, state=State.COPIED)
    journal.move("run-1", moved(state))
    done(journal, "evidence/spoiled", copy(read_back=False))
    assert "fewer copies" in refused_because(lambda: journal.start("run-1", step("w1/drain", changes_node=True)))


@pytest.mark.parametrize("state", [State.ROLLING_BACK, State.INSPECTED, State.SNAPSHOTTED])
def test_the_way_back_is_never_gated(journal: Journal, state: State) -> None:
    with_evidence(journal, state=state)
    attempt = journal.start("run-1", step("rollback/cp1/packages", changes_node=True))
    journal.conclude("run-1", "rollback/cp1/packages", attempt, Outcome.SUCCEEDED, move=moved(State.ROLLED_BACK))


def test_the_end_of_a_changing_step_is_recorded_even_when_the_gate_has_closed(journal: Journal) -> None:
    with_evidence(journal, *COMPLETE)
    attempt = journal.start("run-1", step("plan/package", changes_node=True))
    done(journal, "evidence/spoiled", copy(read_back=False))
    journal.conclude("run-1", "plan/package", attempt, Outcome.FAILED)
