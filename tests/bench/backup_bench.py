"""`backup create` with its whole proof, against the same by hand, on a real etcd with TLS.

    python tests/bench/backup_bench.py [MEBIBYTES ...]

By hand: `etcdctl snapshot save`, `etcdutl snapshot restore`, start etcd on it. the whole is to be within 2 of
that on 1 GiB, and memory that does not grow with the database. The cluster is the lab's; what it simulates (kubectl,
crictl) is no part of the comparison, so the steps from snapshot to proof are shown apart from the whole command.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from unit.vault.builds import TOOLS, RealClock

from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.lab import cluster
from upgrade_guard.lab.cluster import LabCluster
from upgrade_guard.lab.simulation import credentials
from upgrade_guard.tools.etcdctl import Etcdctl
from upgrade_guard.tools.etcdutl import Etcdutl
from upgrade_guard.vault.scratch_etcd import MEMBER, PEER_URL, scratch_directory, scratch_etcd

MIB = 1 << 20
VALUE = 1024 * 1024  # bytes; etcd takes requests of up to 1.5 MiB
PROGRAM = Path(sys.executable).with_name("upgrade-guard")
TIMED = ("snapshot/save", "snapshot/files/cp1", "snapshot/publish", "prove/snapshot")


def fill(lab: LabCluster, mebibytes: int) -> None:
    """Random values through etcd's JSON gateway: etcdctl would start a process for each."""
    settings = lab.settings
    address, port = settings.addresses["cp1"], settings.ports.etcd_client
    context: ssl.SSLContext = credentials(lab.layout).context()
    connection = http.client.HTTPSConnection(address, port, context=context)
    for number in range(mebibytes * MIB // VALUE):
        key = base64.b64encode(f"/filler/{number}".encode()).decode()
        value = base64.b64encode(os.urandom(VALUE)).decode()
        connection.request("POST", "/v3/kv/put", json.dumps({"key": key, "value": value}))
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.client.OK:
            raise SystemExit(f"etcd refused a put: {answer.status}")
    connection.close()


def by_hand(lab: LabCluster, directory: Path) -> float:
    """Seconds for the bare commands."""
    who, host = credentials(lab.layout), LocalHost("here")
    endpoint = f"https://{lab.settings.addresses['cp1']}:{lab.settings.ports.etcd_client}"
    etcdctl = Etcdctl(
        host, str(TOOLS.etcdctl), endpoint, str(who.trusted_ca_file), str(who.cert_file), str(who.key_file)
    )
    snapshot = directory / "by-hand.db"
    began = time.perf_counter()
    etcdctl.snapshot_save(str(snapshot))
    with scratch_directory(directory / "by-hand") as scratch:
        Etcdutl(host, str(TOOLS.etcdutl), str(TOOLS.etcdctl)).restore(
            str(snapshot), str(scratch / "data"), MEMBER, f"{MEMBER}={PEER_URL}", PEER_URL, "by-hand"
        )
        with scratch_etcd(
            scratch, etcd=TOOLS.etcd, etcdctl=TOOLS.etcdctl, host=host, clock=RealClock(), patience=300.0
        ):
            seconds = time.perf_counter() - began
    snapshot.unlink()
    return seconds


def guarded(lab: LabCluster) -> tuple[float, float, dict[str, object]]:
    """Seconds of the whole command, the peak of its own resident memory in MiB, and its answer."""
    began = time.perf_counter()
    process = subprocess.Popen(
        (str(PROGRAM), "--config", str(lab.config_path), "--json", "--quiet", "backup", "create"),
        stdout=subprocess.PIPE,
        text=True,
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, high_water(process.pid))
        time.sleep(0.05)
    assert process.stdout is not None
    answer = json.loads(process.stdout.read())
    assert answer["ok"], answer
    return time.perf_counter() - began, peak / 1024, answer["data"]


def high_water(pid: int) -> int:
    """KiB; 0 when the process has just ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def steps(lab: LabCluster, run: object) -> dict[str, float]:
    """Seconds of each step, from the journal."""
    connection = sqlite3.connect(f"file:{lab.directory / 'state' / 'journal.sqlite'}?mode=ro", uri=True)
    sql = (
        "SELECT name, (julianday(MAX(at)) - julianday(MIN(at))) * 86400.0 FROM steps WHERE run_id = ? "
        "GROUP BY name ORDER BY MIN(seq)"
    )
    found = dict(connection.execute(sql, (run,)).fetchall())
    connection.close()
    return found


def measure(mebibytes: int) -> None:
    with tempfile.TemporaryDirectory(prefix="ug-bench-") as name:
        directory = Path(name)
        lab = cluster.up(directory / "lab", workers=0, pace=0.0, patience=5.0, grace=0.5)
        try:
            guarded(lab)  # etcd's programs are taken out of the image by the first one, and only by that
            fill(lab, mebibytes)
            bare = by_hand(lab, directory)
            whole, peak, answer = guarded(lab)
            taken = steps(lab, answer["id"])
        finally:
            cluster.down(directory / "lab")
    snapshot = answer["snapshot"]
    assert isinstance(snapshot, dict)
    ours = sum(taken[step] for step in TIMED)
    print(f"database {snapshot['size'] / MIB:.0f} MiB")
    print(f"{'by hand: save, restore, start':<44}{bare:>9.2f} s {1:>7.2f} x")
    print(f"{'snapshot, node files, bundle, proof':<44}{ours:>9.2f} s {ours / bare:>7.2f} x")
    print(f"{'backup create, with inspection and a copy':<44}{whole:>9.2f} s {whole / bare:>7.2f} x")
    for step, seconds in taken.items():
        print(f"{'  ' + step:<44}{seconds:>9.2f} s")
    print(f"{'peak resident memory of our process':<44}{peak:>9.1f} MiB")


if __name__ == "__main__":
    for size in [int(word) for word in sys.argv[1:]] or [100, 1024]:
        measure(size)
