"""What a proof asks for and what it answers, as values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from upgrade_guard.model.etcd import MemberHash
from upgrade_guard.model.run import ProofRecord

LEVELS = ("digest", "status", "restore", "start", "revision", "hashkv")


@dataclass(frozen=True)
class LocalEtcdTools:
    """The cluster's own etcd programs on this machine. `etcdutl` is None for etcd 3.4, whose etcdctl restores."""

    etcd: Path
    etcdctl: Path
    etcdutl: Path | None


@dataclass(frozen=True)
class Expected:
    """What the snapshot must hold.

    `revision_at_least` was read linearizably from the cluster just before the snapshot; `cluster_id` is decimal text.
    `live_hash` asks the member that served the snapshot for its HashKV at a revision; None means that it has compacted
    that revision away. It is asked early in the proof, and may raise what asking raises.
    """

    revision_at_least: int
    cluster_id: str
    live_hash: Callable[[int], MemberHash | None]


@dataclass(frozen=True)
class Level:
    """One level of the proof. `message` says what a failure means for a restore; `seconds` is how long it took."""

    name: str
    ok: bool
    seconds: float
    figures: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""


@dataclass(frozen=True)
class Proof:
    """How the proof went, level by level up to the first that failed.

    `retake`: nothing is wrong with the snapshot, but the live side compacted in between, so that its hash cannot be
    compared: take the snapshot again. `restore_seconds` is restore plus start: the estimate for a real one.
    """

    ok: bool
    levels: tuple[Level, ...]
    revision: int
    hashkv: int
    restore_seconds: float
    snapshot_sha256: str
    proven_at: datetime
    retake: bool = False

    @property
    def message(self) -> str:
        """Why it failed; "" when it did not."""
        return "" if self.ok else self.levels[-1].message

    def record(self, bundle: str) -> ProofRecord:
        """The proof of that bundle for the journal."""
        levels = {
            level.name: {"ok": level.ok, "seconds": round(level.seconds, 3), **level.figures, "message": level.message}
            for level in self.levels
        }
        return ProofRecord(
            bundle=bundle,
            snapshot_sha256=self.snapshot_sha256,
            ok=self.ok,
            revision=self.revision,
            hashkv=self.hashkv,
            restore_seconds=round(self.restore_seconds, 3),
            proven_at=self.proven_at,
            levels=levels,
        )
