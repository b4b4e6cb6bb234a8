"""What the journal knows of a bundle, gathered over all runs."""

from __future__ import annotations

from dataclasses import dataclass

from upgrade_guard.model.run import CopyRecord, ProofRecord, SnapshotRecord


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
