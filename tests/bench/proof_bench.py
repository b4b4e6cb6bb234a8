"""A backup with its proof, against the same by hand: etcdctl snapshot save, etcdutl snapshot restore, start.

    python tests/bench/proof_bench.py [MEBIBYTES] [DIRECTORY]

Prints ratios; the whole is to be within 2 of the bare commands on 1 GiB, and memory that does not grow with it.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from unit.vault.builds import TOOLS, LiveEtcd, RealClock, live_etcd, manifest_for

from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.vault.bundle import Vault
from upgrade_guard.vault.proof import Expected, prove
from upgrade_guard.vault.proof_types import Proof
from upgrade_guard.vault.scratch_etcd import MEMBER, PEER_URL, scratch_directory, scratch_etcd

MIB = 1 << 20
VALUE = 16 * 1024  # bytes


def fill(etcd: LiveEtcd, mebibytes: int) -> None:
    """Random values through etcd's JSON gateway: etcdctl would start a process for each."""
    connection = http.client.HTTPConnection(etcd.endpoint.removeprefix("http://"))
    for number in range(mebibytes * MIB // VALUE):
        key = base64.b64encode(f"/registry/filler/{number}".encode()).decode()
        value = base64.b64encode(os.urandom(VALUE)).decode()
        connection.request("POST", "/v3/kv/put", json.dumps({"key": key, "value": value}))
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.client.OK:
            raise SystemExit(f"etcd refused a put: {answer.status}")
    connection.close()


def seconds(work: Callable[[], object]) -> tuple[float, object]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def by_hand(etcd: LiveEtcd, directory: Path) -> None:
    from upgrade_guard.tools.etcdutl import Etcdutl

    snapshot = directory / "by-hand.db"
    etcd.etcdctl.snapshot_save(str(snapshot))
    with scratch_directory(directory / "by-hand") as scratch:
        Etcdutl(etcd.host, str(TOOLS.etcdutl), str(TOOLS.etcdctl)).restore(
            str(snapshot), str(scratch / "data"), MEMBER, f"{MEMBER}={PEER_URL}", PEER_URL, "by-hand"
        )
        with scratch_etcd(
            scratch, etcd=TOOLS.etcd, etcdctl=TOOLS.etcdctl, host=etcd.host, clock=RealClock(), patience=300.0
        ):
            pass


def guarded(etcd: LiveEtcd, directory: Path) -> Proof:
    vault = Vault(directory / "vault")
    at_least = etcd.etcdctl.revision()
    snapshot = vault.staging("r1") / "snapshot.db"
    etcd.etcdctl.snapshot_save(str(snapshot))
    bundle = vault.publish(vault.staging("r1"), manifest_for(etcd, snapshot), "bench-1")
    return prove(
        bundle,
        expected=Expected(at_least, etcd.cluster_id, etcd.hash_at),
        tools=TOOLS,
        host=LocalHost("here"),
        scratch=directory / "scratch",
        clock=RealClock(),
        progress=lambda _: None,
    )


def main(mebibytes: int, where: str | None) -> None:
    with tempfile.TemporaryDirectory(prefix="ug-bench-", dir=where) as name:
        directory = Path(name)
        with live_etcd(directory, keys=1, more=("--quota-backend-bytes=8589934592",)) as etcd:
            fill(etcd, mebibytes)
            size = etcd.etcdctl.endpoint_status()[0].db_size
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            bare, _ = seconds(lambda: by_hand(etcd, directory))
            ours, proof = seconds(lambda: guarded(etcd, directory))
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert isinstance(proof, Proof) and proof.ok, proof
    print(f"database {size / MIB:.0f} MiB, {proof.revision} revisions")
    print(f"{'by hand: save, restore, start':<44}{bare:>9.2f} s {1:>7.2f} x")
    print(f"{'save, publish and proof of every level':<44}{ours:>9.2f} s {ours / bare:>7.2f} x")
    for level in proof.levels:
        print(f"{'  ' + level.name:<44}{level.seconds:>9.2f} s")
    print(f"{'memory that our process took on top':<44}{(after - before) / 1024:>9.1f} MiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 256, sys.argv[2] if len(sys.argv) > 2 else None)
