"""The proof that a snapshot can be restored: it is restored, started and compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from upgrade_guard.hosts.base import Host
from upgrade_guard.model.clock import Clock
from upgrade_guard.model.etcd import MemberHash
from upgrade_guard.vault.bundle import Bundle

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

    `revision_at_least` was read linearizably from the cluster just before the snapshot. `live_hash` asks the member
    that served the snapshot for its HashKV at a revision; None means that it has compacted that revision away.
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


def prove(
    snapshot: Bundle | Path,
    *,
    expected: Expected,
    tools: LocalEtcdTools,
    host: Host,
    scratch: Path,
    clock: Clock,
    progress: Callable[[str], None],
) -> Proof:
    """Restore a snapshot into a directory under `scratch`, start a real etcd on loopback and compare.

    `host` is this machine. Nothing is written into the cluster. Raises Refused when disk or memory do not suffice,
    LockHeld while another proof uses `scratch`. The scratch directory is removed afterwards, whatever happened.
    """
    raise NotImplementedError
