from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from upgrade_guard.engine.gate import closed_because, only_age
from upgrade_guard.model.evidence import Evidence

CLOCK_STEP = 60  # seconds, of a clock that is set right
NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


def open_evidence(**different: Any) -> Evidence:
    """Evidence for which the gate is open, but for what is named."""
    values: dict[str, Any] = {
        "now": NOW,
        "snapshot_taken": True,
        "proof_succeeded": True,
        "proven_at": NOW - timedelta(minutes=12),
        "max_age": 1800.0,
        "copies_read_back": 2,
        "copies_off_control_plane": 1,
        "copies_required": 2,
        "node_files_missing": (),
        "snapshot_cluster_id": "14841639068965178418",
        "live_cluster_id": "14841639068965178418",
        "alarms": (),
    }
    return Evidence(**(values | different))


def test_it_is_open_when_nothing_is_wrong() -> None:
    assert closed_because(open_evidence()) == ()
    assert not only_age(open_evidence())


def test_a_clock_that_was_set_back_a_little_closes_nothing() -> None:
    assert closed_because(open_evidence(proven_at=NOW + timedelta(seconds=CLOCK_STEP))) == ()
    late = open_evidence(proven_at=NOW + timedelta(seconds=CLOCK_STEP + 1))
    assert len(closed_because(late)) == 1


@pytest.mark.parametrize(("minutes", "shown"), [(9, "9.0 min"), (10, "10 min")])
def test_short_times_have_a_decimal_place(minutes: int, shown: str) -> None:
    [reason] = closed_because(open_evidence(proven_at=NOW + timedelta(minutes=minutes)))
    assert f"dated {shown} in the future" in reason


CLOSED = {
    "no snapshot": ({"snapshot_taken": False}, "This run has no snapshot."),
    "not proven": ({"proof_succeeded": False}, "The snapshot of this run has not been proven restorable."),
    "proof without a time": ({"proven_at": None}, "The journal does not say when the snapshot was proven."),
    "too old": (
        {"proven_at": NOW - timedelta(minutes=45)},
        "The proof is 45 min old; it may be at most 30 min old.",
    ),
    "as old as the limit": (
        {"proven_at": NOW - timedelta(minutes=30)},
        "The proof is 30 min old; it may be at most 30 min old.",
    ),
    "from the future": (
        {"proven_at": NOW + timedelta(minutes=5)},
        "The proof is dated 5.0 min in the future, so its age cannot be told.",
    ),
    "too few copies": ({"copies_read_back": 1}, "Only 1 of 2 required off-site copies read back equal."),
    "only copies on control planes": (
        {"copies_off_control_plane": 0},
        "No copy that read back equal is off the control-plane nodes.",
    ),
    "node files missing": (
        {"node_files_missing": ("cp2", "cp3")},
        "The bundle lacks the files of 2 nodes: cp2, cp3.",
    ),
    "another cluster": (
        {"live_cluster_id": "7"},
        "The snapshot comes from etcd cluster 14841639068965178418, but the live cluster is 7.",
    ),
    "a snapshot that does not say its cluster": (
        {"snapshot_cluster_id": "", "live_cluster_id": "7"},
        "The snapshot comes from etcd cluster unknown, but the live cluster is 7.",
    ),
    "a silent cluster": (
        {"live_cluster_id": None},
        "The cluster's etcd did not say its cluster id, so the snapshot cannot be matched with it.",
    ),
    "an alarm": ({"alarms": ("NOSPACE on cp1",)}, "etcd has an alarm: NOSPACE on cp1."),
    "a problem": ({"problems": ("snapshot.db was changed.",)}, "snapshot.db was changed."),
}


@pytest.mark.parametrize(("different", "reason"), CLOSED.values(), ids=CLOSED.keys())
def test_each_reason_alone_closes_it(different: dict[str, Any], reason: str) -> None:
    assert closed_because(open_evidence(**different)) == (reason,)


@pytest.mark.parametrize("case", CLOSED)
def test_only_age_is_cured_by_a_new_snapshot(case: str) -> None:
    different, _ = CLOSED[case]
    assert only_age(open_evidence(**different)) is (case in {"too old", "as old as the limit", "from the future"})


def test_every_reason_is_given_at_once() -> None:
    evidence = open_evidence(
        proven_at=NOW - timedelta(hours=2),
        copies_read_back=0,
        copies_off_control_plane=0,
        node_files_missing=("cp1",),
        live_cluster_id="7",
        alarms=("NOSPACE", "CORRUPT"),
        problems=("a", "b"),
    )
    assert len(closed_because(evidence)) == 9
    assert not only_age(evidence)


def test_no_copies_required_still_wants_one_off_the_control_plane() -> None:
    evidence = open_evidence(copies_required=0, copies_read_back=0, copies_off_control_plane=0)
    assert len(closed_because(evidence)) == 1


def test_one_copy_reads_as_one() -> None:
    assert "of 1 required off-site copy" in closed_because(open_evidence(copies_required=1, copies_read_back=0))[0]


def test_age_is_not_asked_once_the_control_plane_changes() -> None:
    old = open_evidence(proven_at=NOW - timedelta(days=2), age_matters=False)
    assert closed_because(old) == ()
    assert closed_because(open_evidence(age_matters=False, proof_succeeded=False)) != ()


def test_a_clock_stepped_back_by_a_moment_closes_nothing() -> None:
    assert closed_because(open_evidence(proven_at=NOW + timedelta(seconds=2))) == ()


def test_short_ages_keep_their_tenths() -> None:
    reasons = closed_because(open_evidence(proven_at=NOW - timedelta(seconds=90), max_age=30.0))
    assert reasons == ("The proof is 1.5 min old; it may be at most 0.5 min old.",)
