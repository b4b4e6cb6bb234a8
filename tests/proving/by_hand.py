"""The runbook on control planes, typed by hand: what upgrade-guard is measured beside."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from proving.cluster import READY_TIMEOUT, Cluster, ProvingNode
from proving.ground import NEW, OLD, podman, until
from proving.kubeadm_files import IGNORED
from proving.packages import series
from proving.watching import ready_version

COMMANDS = Path(__file__).with_name("by_hand.sh")
APPLY_TIMEOUT = 900.0
IGNORE = f"--ignore-preflight-errors={','.join(IGNORED)}"
SNAPSHOT = "/backup/pre.db"


def step(node: ProvingNode, *words: str) -> float:
    """One step of the runbook; how long it took, in seconds."""
    began = time.monotonic()
    node.run("bash", "-s", *words, stdin=COMMANDS.read_bytes())
    return time.monotonic() - began


def new_kubeadm(node: ProvingNode) -> None:
    """The target's package source and its kubeadm."""
    step(node, "source", series(NEW))
    step(node, "packages", f"kubeadm={NEW}-1.1")


def new_kubelet(node: ProvingNode) -> None:
    """The target's kubelet and kubectl, and kubelet restarted."""
    step(node, "packages", f"kubelet={NEW}-1.1", f"kubectl={NEW}-1.1")
    step(node, "start")


def apply(node: ProvingNode) -> tuple[int, str]:
    """`kubeadm upgrade apply` and nothing else: its exit status, and what it said."""
    argv = ("exec", node.name, "kubeadm", "upgrade", "apply", f"v{NEW}", "--yes", IGNORE)
    ended = podman(*argv, check=False, timeout=APPLY_TIMEOUT)
    return ended.returncode, ended.stdout + ended.stderr


def upgrade_node(node: ProvingNode, seen: Callable[[], bool]) -> None:
    """`kubeadm upgrade node` on a further control plane, ended by whoever has `seen` that it will not come up."""
    argv = ("podman", "--runtime", "runc", "exec", node.name, "kubeadm", "upgrade", "node", IGNORE)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        try:
            until(seen, APPLY_TIMEOUT)
        finally:
            node.run("pkill", "-x", "kubeadm")


def save_together(cluster: Cluster) -> None:
    """What the way back needs on every control plane, with the first one's snapshot on all of them."""
    first, *others = cluster.control_planes
    for node in cluster.control_planes:
        step(node, "save")
    with tempfile.TemporaryDirectory() as work:
        podman("cp", f"{first.name}:{SNAPSHOT}", f"{work}/snapshot")
        for node in others:
            podman("cp", f"{work}/snapshot", f"{node.name}:{SNAPSHOT}")


def back_together(cluster: Cluster) -> float:
    """The way back on every control plane at once: seconds from the first stop until each API server is ready, and
    the cluster's endpoint answers.
    """
    planes = cluster.control_planes
    members = ",".join(f"{node.name}=https://{node.address}:2380" for node in planes)
    token = f"by-hand-{time.time_ns()}"
    began = time.monotonic()
    with ThreadPoolExecutor(len(planes)) as hands:
        for words in (("stop-api",), ("stop-etcd",), ("restore", members, token), ("files",), ("start",)):
            list(hands.map(lambda node, words=words: step(node, *words), planes))
    addresses = (*(node.address for node in planes), cluster.api_address)
    until(lambda: all(ready_version(address) == f"v{OLD}" for address in addresses), READY_TIMEOUT)
    return time.monotonic() - began
