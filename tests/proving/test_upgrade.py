"""`upgrade-guard run` on real clusters: to the end, and all the way back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

import pytest
from proving import images
from proving.cluster import Cluster
from proving.ground import NEW, OLD, podman

PROGRAM = str(Path(sys.executable).parent / "upgrade-guard")
RUN_TIMEOUT = 1800.0


def upgrade_guard(config: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    argv = (PROGRAM, "--config", str(config), *argv)
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=RUN_TIMEOUT, check=False, stdin=subprocess.DEVNULL
    )


def answer(config: Path, *argv: str) -> dict[str, object]:
    told = json.loads(upgrade_guard(config, *argv, "--json").stdout)
    assert told["schema"] == 1
    return told


def fresh(cluster: Cluster, name: str) -> Path:
    """A configuration with an empty state directory and an empty off-site target."""
    for place in (cluster.directory / name, cluster.directory / "offsite"):
        shutil.rmtree(place, ignore_errors=True)
    (cluster.directory / "offsite").mkdir(mode=0o700)
    return cluster.configuration(name)


class Outage:
    """Watches whether the API answers, from outside, and adds up the seconds in which it does not."""

    def __init__(self, cluster: Cluster) -> None:
        self.seconds = 0.0
        self.longest = 0.0
        self._cluster = cluster
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watch.join()

    def _look(self) -> None:
        away_since: float | None = None
        while not self._ended.is_set():
            answers = self._cluster.api_answers()
            now = time.monotonic()
            if answers and away_since is not None:
                self.seconds += now - away_since
                self.longest = max(self.longest, now - away_since)
                away_since = None
            elif not answers and away_since is None:
                away_since = now
            self._ended.wait(0.2)


def versions(cluster: Cluster) -> set[str]:
    return set(cluster.kubectl("get", "nodes", "-o", "jsonpath={.items[*].status.nodeInfo.kubeletVersion}").split())


def packages(cluster: Cluster) -> dict[str, str]:
    words = ("dpkg-query", "-W", "-f", "${Package} ${Version}\\n", "kubeadm", "kubelet", "kubectl")
    return {node.name: node.run(*words) for node in cluster.nodes}


def holds(cluster: Cluster) -> dict[str, str]:
    return {node.name: node.run("apt-mark", "showhold") for node in cluster.nodes}


def sources(cluster: Cluster) -> dict[str, str]:
    return {node.name: node.run("cat", "/etc/apt/sources.list.d/kubernetes.list") for node in cluster.nodes}


def test_an_upgrade_completes(mounted_etcd: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster = mounted_etcd
    config = fresh(cluster, "bastion")
    held = holds(cluster)
    with Outage(cluster) as outage:
        ended = upgrade_guard(config, "run", f"v{NEW}", "--yes")
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert versions(cluster) == {f"v{NEW}"}
    assert holds(cluster) == held
    assert f"kube-apiserver:v{NEW}" in cluster.control_plane.run("cat", "/etc/kubernetes/manifests/kube-apiserver.yaml")
    shown = answer(config, "history")["data"]
    assert [run["outcome"] for run in shown] == ["completed"]  # type: ignore[union-attr]
    with capsys.disabled():
        print(f"\nupgrade {OLD} -> {NEW}: API away {outage.seconds:.0f} s in all, {outage.longest:.0f} s at once")


def test_a_broken_api_server_is_rolled_back(plain_etcd: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster = plain_etcd
    config = fresh(cluster, "bastion")
    before = (packages(cluster), holds(cluster), sources(cluster))
    broken = images.broken_api_server(NEW)
    podman("cp", broken, f"{cluster.control_plane.name}:/root/broken.tar")
    cluster.control_plane.run("ctr", "-n", "k8s.io", "images", "import", "/root/broken.tar")

    stop = threading.Event()

    def write_after_the_snapshot() -> None:
        """A ConfigMap that is newer than the snapshot: written as soon as the run says that it has one."""
        while not stop.wait(0.3):
            data = (
                answer(config, "status")["data"]
                if (cluster.directory / "bastion" / "journal.sqlite").exists()
                else None
            )
            if data and data["state"] in ("copied", "planned"):  # type: ignore[index]
                cluster.kubectl("create", "configmap", "after", check=False)
                return

    writer = threading.Thread(target=write_after_the_snapshot, daemon=True)
    writer.start()
    began = time.monotonic()
    with Outage(cluster) as outage:
        ended = upgrade_guard(config, "run", f"v{NEW}", "--yes")
    took = time.monotonic() - began
    stop.set()
    writer.join()

    assert ended.returncode == 7, ended.stderr[-4000:]
    assert "crash-loops" in ended.stderr
    assert versions(cluster) == {f"v{OLD}"}
    assert (packages(cluster), holds(cluster), sources(cluster)) == before
    names = cluster.kubectl("get", "configmap", "-o", "name").split()
    assert "configmap/before" in names
    assert "configmap/after" not in names
    assert cluster.settled()
    assert "upgrade-guard-canary" not in cluster.kubectl("get", "pods,services", "-n", "kube-system")
    plan = cluster.control_plane.run("kubeadm", "upgrade", "plan", f"v{OLD}", check=False)
    assert "Cluster version" in plan
    with capsys.disabled():
        print(f"\nfailed upgrade, rolled back: {took:.0f} s in all, API away {outage.longest:.0f} s at once")
