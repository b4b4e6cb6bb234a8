"""Runs and rows for the tests of the journal."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from upgrade_guard.journal import Journal
from upgrade_guard.model.run import (
    ApprovalRecord,
    CommandRow,
    CopyRecord,
    Event,
    Move,
    NodeRecord,
    Outcome,
    ProofRecord,
    Record,
    Run,
    SnapshotRecord,
    State,
)
from upgrade_guard.model.step import Done, Step

MIDNIGHT = datetime(2024, 5, 1, tzinfo=UTC)
SHA256 = "a" * 64


@dataclass
class Clock:
    """Stands still until it is told to go on."""

    at: datetime = field(default=MIDNIGHT)

    def __call__(self) -> datetime:
        return self.at

    def go_on(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def begun(journal: Journal, run_id: str = "run-1", *, target: str = "v1.28.0", offsite_required: int = 1) -> Run:
    """A run that has just begun; proofs are good for 30 minutes."""
    return journal.begin(
        run_id=run_id,
        cluster="prod",
        from_version="v1.27.16",
        target=target,
        offsite_required=offsite_required,
        snapshot_max_age=1800,
        settings={"upgrade": {"max_unavailable": 1}},
        operator="ada",
        host="bastion",
        tool_version="0.1.0",
    )


def step(name: str, *, changes_node: bool = False, lane: str = "") -> Step:
    """A step by its name; nobody runs it here."""
    return Step(
        name=name, summary=name, probe=lambda _: Done(), act=lambda _: None, changes_node=changes_node, lane=lane
    )


def done(journal: Journal, name: str, *records: Record, run_id: str = "run-1", move: Move | None = None) -> None:
    """A step that started and succeeded."""
    attempt = journal.start(run_id, step(name))
    journal.conclude(run_id, name, attempt, Outcome.SUCCEEDED, result={"of": name}, records=records, move=move)


def snapshot(bundle: str = "bundle-1", sha256: str = SHA256) -> SnapshotRecord:
    return SnapshotRecord(
        bundle=bundle,
        path=f"/vault/{bundle}",
        snapshot_sha256=sha256,
        manifest_sha256="b" * 64,
        size=1 << 30,
        revision=2**62,
        cluster_id="17237436991929493444",
        taken_at=MIDNIGHT,
    )


def proof(bundle: str = "bundle-1", sha256: str = SHA256, *, ok: bool = True, at: datetime = MIDNIGHT) -> ProofRecord:
    return ProofRecord(
        bundle=bundle,
        snapshot_sha256=sha256,
        ok=ok,
        revision=2**62,
        hashkv=4294967295,
        restore_seconds=2.5,
        proven_at=at,
        levels={"status": {"hash": 1}},
    )


def copy(
    bundle: str = "bundle-1",
    target: str = "ssh://nas/etcd",
    *,
    read_back: bool = True,
    off_control_plane: bool = True,
) -> CopyRecord:
    return CopyRecord(
        bundle=bundle,
        target=target,
        location=f"{target}/{bundle}",
        sha256=SHA256,
        read_back=read_back,
        off_control_plane=off_control_plane,
        copied_at=MIDNIGHT,
    )


def node() -> NodeRecord:
    return NodeRecord(
        name="w1", role="worker", address="10.0.0.2", kubelet_version="v1.27.16", packages={"kubelet": "1.27.16-1.1"}
    )


def approval() -> ApprovalRecord:
    return ApprovalRecord(subject="plan", by="ada", how="prompt", said="prod", at=MIDNIGHT)


def command(run_id: str = "run-1", *argv: str) -> CommandRow:
    return CommandRow(
        run_id=run_id,
        step="snapshot/save",
        attempt=1,
        host="cp1",
        argv=argv or ("etcdctl", "snapshot", "save"),
        exit_status=None,
        started_at=MIDNIGHT,
        duration=1.5,
        changes=False,
        stdout="a\n",
        stderr="b\n",
    )


def moved(state: State, event: Event = Event.CLUSTER_INSPECTED) -> Move:
    return Move(event, state)


def with_evidence(journal: Journal, *records: Record, state: State = State.COPIED) -> None:
    """A run in `state` that left those records behind."""
    begun(journal)
    done(journal, "evidence/gather", *records, move=moved(state))


def by_hand(path: Path, *statements: str) -> None:
    """Somebody opens the file and writes past the product; triggers are dropped first."""
    connection = sqlite3.connect(path)
    try:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            assert connection.execute(statement).rowcount != 0, statement
        connection.commit()
    finally:
        connection.close()
