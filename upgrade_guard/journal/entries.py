"""Frozen values to rows."""

from __future__ import annotations

from datetime import datetime

from upgrade_guard.journal.models import (
    ApprovalEntry,
    CommandEntry,
    CopyEntry,
    HistoryEntry,
    NodeEntry,
    ProofEntry,
    SnapshotEntry,
)
from upgrade_guard.model.run import (
    ApprovalRecord,
    CommandRow,
    CopyRecord,
    NodeRecord,
    ProofRecord,
    Record,
    SnapshotRecord,
)


def command_entry(row: CommandRow, at: datetime) -> CommandEntry:
    """A command as a row; its words once more as text, so that a secret shows its mask."""
    return CommandEntry(
        run_id=row.run_id,
        at=at,
        step=row.step,
        attempt=row.attempt,
        host=row.host,
        argv=tuple(str(word) for word in row.argv),
        exit_status=row.exit_status,
        started_at=row.started_at,
        duration=row.duration,
        changes=row.changes,
        stdout=row.stdout,
        stderr=row.stderr,
    )


def record_entry(run_id: str, record: Record, at: datetime) -> HistoryEntry:
    """Evidence as a row of the table of its kind."""
    match record:
        case NodeRecord():
            return NodeEntry(
                run_id=run_id,
                at=at,
                name=record.name,
                role=record.role,
                address=record.address,
                kubelet_version=record.kubelet_version,
                packages=dict(record.packages),
            )
        case SnapshotRecord():
            return SnapshotEntry(
                run_id=run_id,
                at=at,
                bundle=record.bundle,
                path=record.path,
                snapshot_sha256=record.snapshot_sha256,
                manifest_sha256=record.manifest_sha256,
                size=record.size,
                revision=record.revision,
                cluster_id=record.cluster_id,
                taken_at=record.taken_at,
            )
        case ProofRecord():
            return ProofEntry(
                run_id=run_id,
                at=at,
                bundle=record.bundle,
                snapshot_sha256=record.snapshot_sha256,
                ok=record.ok,
                revision=record.revision,
                hashkv=record.hashkv,
                restore_seconds=record.restore_seconds,
                proven_at=record.proven_at,
                levels=dict(record.levels),
            )
        case CopyRecord():
            return CopyEntry(
                run_id=run_id,
                at=at,
                bundle=record.bundle,
                target=record.target,
                location=record.location,
                sha256=record.sha256,
                read_back=record.read_back,
                off_control_plane=record.off_control_plane,
                copied_at=record.copied_at,
            )
        case ApprovalRecord():
            return ApprovalEntry(
                run_id=run_id,
                at=at,
                subject=record.subject,
                by=record.by,
                how=record.how,
                said=record.said,
                approved_at=record.at,
            )
