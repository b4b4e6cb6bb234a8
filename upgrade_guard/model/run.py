"""A run and its history, and what is known of a bundle over all runs, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any


class Kind(Enum):
    """What a run is for. Everything that writes is a run, so that it is locked, resumed and audited in one way."""

    UPGRADE = "upgrade"
    BACKUP = "backup"
    DRILL = "drill"
    RESTORE = "restore"
    COPY = "copy"
    PRUNE = "prune"


# The kinds that change the cluster: one of them at a time is open, and resume, status, rollback and abort are about it.
OF_THE_CLUSTER = (Kind.UPGRADE, Kind.RESTORE)


class State(Enum):
    """What a run has reached. The journal holds the current one; a new process starts from it."""

    STARTED = "started"
    INSPECTED = "inspected"
    SNAPSHOTTED = "snapshotted"
    VERIFIED = "verified"
    COPIED = "copied"
    PLANNED = "planned"
    CONTROL_PLANE_UPGRADED = "control-plane-upgraded"
    NODES_UPGRADED = "nodes-upgraded"
    COMPLETED = "completed"
    ABORTED = "aborted"
    ROLLING_BACK = "rolling-back"
    ROLLED_BACK = "rolled-back"
    ROLLBACK_FAILED = "rollback-failed"
    RESTORED = "restored"
    FAILED = "failed"


FINAL = frozenset({State.COMPLETED, State.ABORTED, State.ROLLED_BACK, State.RESTORED, State.FAILED})
"""States in which a run has ended."""


class Event(Enum):
    """What happened, in the past tense."""

    CLUSTER_INSPECTED = "cluster-inspected"
    SNAPSHOT_TAKEN = "snapshot-taken"
    SNAPSHOT_PROVEN = "snapshot-proven"
    COPIES_READ_BACK = "copies-read-back"
    PLAN_APPROVED = "plan-approved"
    CONTROL_PLANE_CHANGED = "control-plane-changed"
    NODES_CHANGED = "nodes-changed"
    UPGRADE_CONFIRMED = "upgrade-confirmed"
    EVIDENCE_EXPIRED = "evidence-expired"
    RUN_ABORTED = "run-aborted"
    ROLLBACK_BEGUN = "rollback-begun"
    ROLLBACK_CONFIRMED = "rollback-confirmed"
    ROLLBACK_STOPPED = "rollback-stopped"
    BACKUP_KEPT = "backup-kept"
    DRILL_PASSED = "drill-passed"
    VAULT_PRUNED = "vault-pruned"
    BUNDLE_PROVEN = "bundle-proven"
    RESTORE_CONFIRMED = "restore-confirmed"
    RUN_FAILED = "run-failed"


class Outcome(Enum):
    """How a step's attempt stands. STARTED without a later row means in doubt.

    A step counts as done only while its latest row is SUCCEEDED: VOIDED takes that back, because what it achieved
    no longer holds (its evidence expired, or its node was put back).
    """

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"
    INTERRUPTED = "interrupted"
    VOIDED = "voided"


@dataclass(frozen=True)
class Run:
    """One attempt at an upgrade, a backup, a drill, a restore or a pruning.

    `target` is the version to reach, or the bundle that a drill or a restore is about; empty where there is none.
    `settings` is the JSON frozen at its start (policy values, not credentials).
    """

    id: str
    cluster: str
    from_version: str
    target: str
    state: State
    outcome: str
    started_at: datetime
    finished_at: datetime | None
    offsite_required: int
    snapshot_max_age: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    operator: str = ""
    host: str = ""
    tool_version: str = ""
    kind: Kind = Kind.UPGRADE


@dataclass(frozen=True)
class Transition:
    """The run moved. `reasons` says why where there is more to say than the event."""

    seq: int
    run_id: str
    event: Event
    from_state: State
    to_state: State
    at: datetime
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Move:
    """Where a run goes, before it is recorded: the event and the state that it leads to.

    `voids` names steps whose success no longer holds after the move: each gets a VOIDED row in the same transaction.
    """

    event: Event
    to_state: State
    reasons: tuple[str, ...] = ()
    voids: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepRow:
    """One row of a step's history: an attempt that started, or how it ended (same `attempt` number)."""

    seq: int
    run_id: str
    name: str
    lane: str
    attempt: int
    state: State
    outcome: Outcome
    changes_node: bool
    at: datetime
    result: Mapping[str, Any] = field(default_factory=dict)
    detail: str = ""


@dataclass(frozen=True)
class CommandRow:
    """One command that ran. `argv` has its secrets masked; `stdout` and `stderr` are tails."""

    run_id: str
    step: str
    attempt: int
    host: str
    argv: tuple[str, ...]
    exit_status: int | None
    started_at: datetime
    duration: float
    changes: bool
    stdout: str = ""
    stderr: str = ""
    seq: int = 0


# What a step leaves in the journal beside its result: the evidence that the gate and its trigger ask for.


@dataclass(frozen=True)
class NodeRecord:
    """A node as inspected: the versions to which a rollback returns."""

    name: str
    role: str
    address: str
    kubelet_version: str
    packages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SnapshotRecord:
    """A bundle that was published. `size` in bytes, `snapshot_sha256` of snapshot.db."""

    bundle: str
    path: str
    snapshot_sha256: str
    manifest_sha256: str
    size: int
    revision: int
    cluster_id: str
    taken_at: datetime


@dataclass(frozen=True)
class ProofRecord:
    """A bundle was restored into a scratch etcd and compared. `levels` maps level to its figures."""

    bundle: str
    snapshot_sha256: str
    ok: bool
    revision: int
    hashkv: int
    restore_seconds: float
    proven_at: datetime
    levels: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CopyRecord:
    """A bundle was copied to `target` and read back equal. `off_control_plane`: not on a control-plane node's disk."""

    bundle: str
    target: str
    location: str
    sha256: str
    read_back: bool
    off_control_plane: bool
    copied_at: datetime


@dataclass(frozen=True)
class ApprovalRecord:
    """A person, or a flag a person gave, said yes. `how`: "prompt" or the flag's name."""

    subject: str
    by: str
    how: str
    said: str
    at: datetime


@dataclass(frozen=True)
class ProvenSnapshot:
    """A snapshot that was proven in the run that took it. `copies` were read back equal, the last one at `kept_at`."""

    run: Run
    snapshot: SnapshotRecord
    proof: ProofRecord
    copies: int
    kept_at: datetime | None


Record = NodeRecord | SnapshotRecord | ProofRecord | CopyRecord | ApprovalRecord


def asked_by(who: str) -> str:
    """The reason of a rollback that a person asked for."""
    return f"{who}{_ASKED}"


def was_asked(reasons: tuple[str, ...]) -> bool:
    """Did a person ask for that rollback, so that nothing need have failed?"""
    return len(reasons) == 1 and reasons[0].endswith(_ASKED)


_ASKED = " asked for it"


@dataclass(frozen=True)
class Recorded:
    """A bundle that was published here. `proof` is its newest one, `copies` the newest record for each target."""

    run_id: str
    snapshot: SnapshotRecord
    proof: ProofRecord | None = None
    copies: tuple[CopyRecord, ...] = ()

    @property
    def proven(self) -> bool:
        """Did the newest proof of exactly this snapshot succeed?"""
        return self.proof is not None and self.proof.ok and self.proof.snapshot_sha256 == self.snapshot.snapshot_sha256
