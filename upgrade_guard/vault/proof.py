"""The proof that a snapshot can be restored: it is restored, started and compared."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upgrade_guard.errors import Refused, StepFailed
from upgrade_guard.hosts.base import Host
from upgrade_guard.hosts.process import GentleHost
from upgrade_guard.model.clock import Clock
from upgrade_guard.model.etcd import MemberHash
from upgrade_guard.tools.etcdctl import Etcdctl
from upgrade_guard.tools.etcdutl import Etcdutl
from upgrade_guard.vault.bundle import Bundle, examine
from upgrade_guard.vault.proof_types import LEVELS, Expected, Level, LocalEtcdTools, Proof
from upgrade_guard.vault.scratch_etcd import (
    MEMBER,
    PEER_URL,
    ScratchEtcd,
    data_directory,
    scratch_directory,
    scratch_etcd,
)
from upgrade_guard.vault.trailer import read_snapshot

__all__ = ["LEVELS", "Expected", "Level", "LocalEtcdTools", "Proof", "prove", "room_lacking"]

WAL_SIZE = 64_000_000  # etcd preallocates its first WAL segment (measured with 3.5)
_MIB = 1 << 20
# What a failure on a level means for a restore.
_MEANS = {
    "digest": "etcd refuses to restore such a file, so nothing could be brought back with it. Take the snapshot again.",
    "status": "A restore would fail or bring back something else. Take the snapshot again.",
    "restore": "In an emergency the same would happen: nothing could be brought back with it. Take the snapshot again.",
    "start": "It restores, but no healthy etcd comes out: a rollback with it would end without a cluster.",
    "revision": "A restore would lose writes that the cluster had acknowledged. Take it from another member.",
    "hashkv": "A restore would bring back other content than the cluster's. Take it from another member.",
}
_RETAKE_MEANS = "Nothing is wrong with the snapshot, but nothing is left to compare it with. Take it again."

_PATIENCE = 60.0  # seconds for etcd to answer; opening a large database takes longer
_OPENED_A_SECOND = 10 * _MIB


@dataclass(frozen=True)
class _Task:
    """What is to be proven, and with what."""

    snapshot: Path
    bundle: Bundle | None
    size: int
    expected: Expected
    tools: LocalEtcdTools
    host: Host
    directory: Path
    look: Callable[[Etcdctl], None]


def prove(
    snapshot: Bundle | Path,
    *,
    expected: Expected,
    tools: LocalEtcdTools,
    host: Host,
    scratch: Path,
    clock: Clock,
    progress: Callable[[str], None],
    look: Callable[[Etcdctl], None] = lambda _etcdctl: None,
) -> Proof:
    """Restore a snapshot into a directory under `scratch`, start a real etcd that only we can reach, and compare.

    `host` is this machine. Nothing is written into the cluster. `look` is shown the restored etcd once every level
    held; what it raises is raised. Raises Refused when disk or memory do not suffice, LockHeld while another proof uses
    `scratch`, and what `expected.live_hash` raises. The scratch directory is removed afterwards, whatever happened.
    """
    bundle = snapshot if isinstance(snapshot, Bundle) else None
    path = snapshot.snapshot if isinstance(snapshot, Bundle) else snapshot
    size = path.stat().st_size if path.is_file() else 0
    with scratch_directory(scratch) as directory:
        if lacking := room_lacking(size, shutil.disk_usage(directory).free, _memory_available(), scratch):
            raise Refused("there is no room to prove the snapshot", reasons=lacking)  # what to type: the engine knows
        ladder = _Ladder(clock, progress)
        try:
            # The machine may be a control plane, whose etcd needs its disk.
            _climb(ladder, _Task(path, bundle, size, expected, tools, GentleHost(host), directory, look))
        except _LevelFailedError:
            return ladder.proof(ok=False)
        return ladder.proof(ok=True)


def room_lacking(size: int, disk_free: int, memory_available: int, scratch: Path) -> tuple[str, ...]:
    """What is missing for the proof of a snapshot of `size` bytes, a sentence each.

    Disk: the restored database, etcd's first WAL segment, and the database again for what etcd writes when it starts.
    Memory: etcd maps the whole database and indexes all keys; without room it would push out the node's own etcd.
    """
    disk_needed = 2 * size + WAL_SIZE
    memory_needed = size + 128 * _MIB
    reasons = []
    if disk_free < disk_needed:
        reasons.append(f"{scratch} has {disk_free // _MIB} MiB free; the proof needs {disk_needed // _MIB + 1} MiB.")
    if memory_available < memory_needed:
        have, need = memory_available // _MIB, memory_needed // _MIB + 1
        reasons.append(f"This machine has {have} MiB of memory available; the proof needs {need} MiB.")
    return tuple(reasons)


def _memory_available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 1 << 62  # a kernel that does not say


class _LevelFailedError(Exception):
    """A level failed, and so the proof ends. With `retake`, only because the live side moved on."""

    def __init__(self, message: str, *, retake: bool = False) -> None:
        super().__init__(message)
        self.retake = retake


class _Ladder:
    """The levels climbed so far, and what was learned on them."""

    def __init__(self, clock: Clock, progress: Callable[[str], None]) -> None:
        self.clock = clock
        self.levels: list[Level] = []
        self.sha256 = ""
        self.revision = 0
        self.hashkv = 0
        self._progress = progress
        self._retake = False

    @contextmanager
    def level(self, name: str, doing: str) -> Iterator[dict[str, Any]]:
        """Climb one level: its figures are filled in by the body, and a failure is noted with what it means."""
        self._progress(doing)
        began = self.clock.monotonic()
        figures: dict[str, Any] = {}
        try:
            yield figures
        except (_LevelFailedError, StepFailed) as failed:
            self._retake = isinstance(failed, _LevelFailedError) and failed.retake
            means = _RETAKE_MEANS if self._retake else _MEANS[name]
            seconds = self.clock.monotonic() - began
            self.levels.append(Level(name, ok=False, seconds=seconds, figures=figures, message=f"{failed}. {means}"))
            raise _LevelFailedError(str(failed), retake=self._retake) from failed
        self.levels.append(Level(name, ok=True, seconds=self.clock.monotonic() - began, figures=figures))

    def proof(self, *, ok: bool) -> Proof:
        return Proof(
            ok=ok,
            levels=tuple(self.levels),
            revision=self.revision,
            hashkv=self.hashkv,
            restore_seconds=sum(level.seconds for level in self.levels if level.name in ("restore", "start")),
            snapshot_sha256=self.sha256,
            proven_at=self.clock.now(),
            retake=self._retake,
        )


def _climb(ladder: _Ladder, task: _Task) -> None:
    etcdctl, etcdutl = str(task.tools.etcdctl), str(task.tools.etcdutl) if task.tools.etcdutl else None
    offline = Etcdutl(task.host, etcdutl, etcdctl)
    with ladder.level("digest", "Checking the snapshot's own digest") as figures:
        figures["bytes"] = task.size
        _check_digest(ladder, task)
        figures["sha256"] = ladder.sha256
    with ladder.level("status", "Reading the snapshot with etcd's own tool") as figures:
        status = offline.snapshot_status(str(task.snapshot))
        figures.update(hash=status.hash, revision=status.revision, keys=status.total_keys)
        ladder.revision = status.revision
        if task.bundle and status.revision != task.bundle.manifest.revision:
            stated = task.bundle.manifest.revision
            raise _LevelFailedError(f"the snapshot is at revision {status.revision}, its manifest says {stated}")
    # Asked now and not at the end, so that the API server's five-minute compaction has little time to come between.
    live = task.expected.live_hash(status.revision)
    if live is None:
        with ladder.level("hashkv", "Comparing its content"):
            raise _LevelFailedError(f"the cluster has compacted revision {status.revision} away", retake=True)
    with ladder.level("restore", f"Restoring {task.size / _MIB:.1f} MiB into a scratch directory"):
        offline.restore(
            str(task.snapshot),
            str(data_directory(task.directory)),
            name=MEMBER,
            initial_cluster=f"{MEMBER}={PEER_URL}",
            peer_urls=PEER_URL,
            token=task.directory.name,
            bump=None,
        )
    with ExitStack() as running:
        with ladder.level("start", "Starting an etcd on the restored copy") as figures:
            scratch = running.enter_context(_etcd_on(task, ladder.clock))
            figures["alarms"] = alarms = sorted({alarm.kind for alarm in scratch.etcdctl.alarms()})
            if alarms:
                raise _LevelFailedError(f"the snapshot carries the alarm {', '.join(alarms)}: etcd refuses writes")
        with ladder.level("revision", "Comparing its revision") as figures:
            found = scratch.etcdctl.revision()
            figures.update(restored=found, at_least=task.expected.revision_at_least)
            _compare_revision(found, status.revision, task.expected.revision_at_least)
        with ladder.level("hashkv", "Comparing its content") as figures:
            _compare_hash(ladder, scratch.etcdctl.hashkv(status.revision)[0], live, figures)
        task.look(scratch.etcdctl)


def _etcd_on(task: _Task, clock: Clock) -> AbstractContextManager[ScratchEtcd]:
    return scratch_etcd(
        task.directory,
        etcd=task.tools.etcd,
        etcdctl=task.tools.etcdctl,
        host=task.host,
        clock=clock,
        patience=_PATIENCE + task.size / _OPENED_A_SECOND,
    )


def _check_digest(ladder: _Ladder, task: _Task) -> None:
    if task.bundle:
        problems = examine(task.bundle)
        ladder.sha256 = task.bundle.snapshot_sha256
        theirs, ours = task.bundle.manifest.cluster_id, task.expected.cluster_id
        if theirs != ours:
            problems += (f"the bundle belongs to etcd cluster {theirs}, not to {ours}",)
    else:
        try:
            digest = read_snapshot(task.snapshot)
        except OSError as error:
            raise _LevelFailedError(f"{task.snapshot} cannot be read: {error.strerror}") from error
        problems, ladder.sha256 = digest.problems, digest.sha256
    if problems:
        raise _LevelFailedError("; ".join(problems))


def _compare_revision(found: int, snapshot: int, at_least: int) -> None:
    if found < at_least:
        raise _LevelFailedError(f"the snapshot ends at revision {found}, the cluster was at {at_least} before it")
    if found < snapshot:
        raise _LevelFailedError(f"the restored etcd is at revision {found}, the snapshot at {snapshot}")


def _compare_hash(ladder: _Ladder, restored: MemberHash, live: MemberHash, figures: dict[str, Any]) -> None:
    """Equal HashKV at one revision means equal content, but only with one compact revision (etcd's HashKV API)."""
    ladder.hashkv = restored.hash
    figures.update(restored=restored.hash, live=live.hash)
    figures.update(compacted=restored.compact_revision, live_compacted=live.compact_revision)
    if restored.compact_revision != live.compact_revision:
        raise _LevelFailedError("the cluster was compacted between the snapshot and the comparison", retake=True)
    if restored.hash != live.hash:
        raise _LevelFailedError(f"the restored content has HashKV {restored.hash}, the live member has {live.hash}")
