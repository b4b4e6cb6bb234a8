"""Runs on the record, as a process would have left them, for the commands that look and that move."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from upgrade_guard.journal import Journal
from upgrade_guard.model.run import (
    CopyRecord,
    Event,
    Move,
    Outcome,
    ProofRecord,
    Record,
    SnapshotRecord,
    State,
)
from upgrade_guard.model.step import Done, Step

RUN = "20240501-abcdef"


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Recorder:
    """Writes a run into the journal of `state_dir`."""

    state_dir: Path
    proven_before: timedelta = timedelta(0)

    def write(self, *entries: Callable[[Journal], None]) -> None:
        with Journal.open(self.state_dir / "journal.sqlite", now) as journal:
            for entry in entries:
                entry(journal)

    def begin(self, journal: Journal) -> None:
        journal.begin(
            run_id=RUN,
            cluster="prod",
            from_version="v1.27.16",
            target="v1.28.0",
            offsite_required=1,
            snapshot_max_age=1800,
            settings={"vault": {"offsite": ["file:///mnt/nas"], "path": str(self.state_dir / "vault")}},
            operator="ada",
            host="bastion",
            tool_version="0.1.0",
        )

    def inspect(self, journal: Journal) -> None:
        done(journal, "inspect/checks", move=Move(Event.CLUSTER_INSPECTED, State.INSPECTED))

    def snapshot(self, journal: Journal) -> None:
        done(journal, "snapshot/publish", self.bundle(), move=Move(Event.SNAPSHOT_TAKEN, State.SNAPSHOTTED))

    def bundle(self) -> SnapshotRecord:
        directory = self.state_dir / "vault" / "bundle-1"
        directory.mkdir(parents=True)
        (directory / "manifest.json").write_text("{}")
        (directory / "snapshot.db").write_bytes(b"snapshot")
        return SnapshotRecord(
            bundle="bundle-1",
            path=str(directory),
            snapshot_sha256=hashlib.sha256(b"snapshot").hexdigest(),
            manifest_sha256=hashlib.sha256(b"{}").hexdigest(),
            size=8,
            revision=1234,
            cluster_id="14841639068965178418",
            taken_at=now(),
        )

    def prove(self, journal: Journal) -> None:
        proof = ProofRecord(
            bundle="bundle-1",
            snapshot_sha256=hashlib.sha256(b"snapshot").hexdigest(),
            ok=True,
            revision=1234,
            hashkv=7,
            restore_seconds=2.5,
            proven_at=now() - self.proven_before,
        )
        done(journal, "prove/snapshot", proof, move=Move(Event.SNAPSHOT_PROVEN, State.VERIFIED))

    def copy(self, journal: Journal) -> None:
        copied = CopyRecord(
            bundle="bundle-1",
            target="file:///mnt/nas",
            location="file:///mnt/nas/bundle-1",
            sha256=hashlib.sha256(b"{}").hexdigest(),
            read_back=True,
            off_control_plane=True,
            copied_at=now(),
        )
        done(journal, "copy/1", copied, move=Move(Event.COPIES_READ_BACK, State.COPIED))

    def copied(self) -> None:
        """A run that stands before its gate, all evidence in place."""
        self.write(self.begin, self.inspect, self.snapshot, self.prove, self.copy)


def step(name: str, *, changes_node: bool = False) -> Step:
    return Step(name=name, summary=name, probe=lambda _: Done(), act=lambda _: None, changes_node=changes_node)


def done(journal: Journal, name: str, *records: Record, move: Move | None = None) -> None:
    attempt = journal.start(RUN, step(name))
    journal.conclude(RUN, name, attempt, Outcome.SUCCEEDED, records=records, move=move)


def in_doubt(journal: Journal, name: str) -> None:
    journal.start(RUN, step(name))


def failed(journal: Journal, name: str, detail: str) -> None:
    attempt = journal.start(RUN, step(name))
    journal.conclude(RUN, name, attempt, Outcome.FAILED, detail=detail)


def aborted(journal: Journal) -> None:
    journal.move(RUN, Move(Event.RUN_ABORTED, State.ABORTED))
