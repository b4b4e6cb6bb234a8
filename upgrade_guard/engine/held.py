"""Evidence held against the rows of the journal: what nobody wrote down does not count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from upgrade_guard.model.evidence import Evidence
from upgrade_guard.model.run import CopyRecord, ProofRecord, SnapshotRecord


def held_against(
    evidence: Evidence,
    snapshots: Sequence[SnapshotRecord],
    proofs: Sequence[ProofRecord],
    copies: Sequence[CopyRecord],
    edited: Sequence[str],
) -> Evidence:
    """The evidence, less what the rows of the run (oldest first) do not bear out, plus what was done to the rows.

    The newest snapshot alone counts, and of its proofs and of its copies at one target the newest, as for the gate of
    the database: what was equal once and differs now is no evidence.
    """
    snapshot = snapshots[-1] if snapshots else None
    proof: ProofRecord | None = None
    newest: dict[str, CopyRecord] = {}
    if snapshot is not None:
        for row in proofs:
            if row.bundle == snapshot.bundle and row.snapshot_sha256 == snapshot.snapshot_sha256:
                proof = row
        newest = {copy.target: copy for copy in copies if copy.bundle == snapshot.bundle}
    equal = [copy for copy in newest.values() if copy.read_back]
    off_control_plane = [copy for copy in equal if copy.off_control_plane]
    return replace(
        evidence,
        snapshot_taken=evidence.snapshot_taken and snapshot is not None,
        proof_succeeded=evidence.proof_succeeded and proof is not None and proof.ok,
        copies_read_back=min(evidence.copies_read_back, len(equal)),
        copies_off_control_plane=min(evidence.copies_off_control_plane, len(off_control_plane)),
        problems=(*evidence.problems, *edited),
    )
