"""What the gate judges: gathered before, so that the guards stay pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Evidence:
    """Everything the gate asks for, gathered from the journal, the vault, the targets and the cluster.

    Times are aware UTC. `problems` are things found wrong while gathering, each a full sentence (a copy that reads back
    different, a bundle file that changed, a journal row whose digest does not match). `age_matters` is False once the
    control plane has begun to change: from then on no newer snapshot can be had, and the one of this run stays bound to
    it. `notes` are told and stop nothing.
    """

    now: datetime
    snapshot_taken: bool
    proof_succeeded: bool
    proven_at: datetime | None
    max_age: float
    copies_read_back: int
    copies_off_control_plane: int
    copies_required: int
    node_files_missing: tuple[str, ...]
    snapshot_cluster_id: str
    live_cluster_id: str | None
    alarms: tuple[str, ...]
    problems: tuple[str, ...] = ()
    age_matters: bool = True
    notes: tuple[str, ...] = ()
