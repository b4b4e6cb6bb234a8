"""What ordinary clusters have beside the least: crictl, some of it misconfigured, and components that restarted before.

containerd of Debian 12 gives the id of an image through crictl, as every containerd up to 1.7 does.
"""

from __future__ import annotations

import json

from proving import binaries
from proving.cluster import Cluster, ProvingNode
from proving.ground import podman, until

STALE = "runtime-endpoint: unix:///var/run/dockershim.sock\n"
RESTARTS = 2


def make(cluster: Cluster) -> None:
    """crictl on the first control plane, misconfigured on the second and the worker, none on the third."""
    first, second, *_ = cluster.control_planes
    program = binaries.cri_tools() / "crictl"
    for node in (first, second, cluster.worker):
        podman("cp", str(program), f"{node.name}:/usr/local/bin/crictl")
    first.write("/etc/crictl.yaml", "runtime-endpoint: unix:///run/containerd/containerd.sock\n", mode="644")
    for node in (second, cluster.worker):
        node.write("/etc/crictl.yaml", STALE, mode="644")
    for _ in range(RESTARTS):
        restart(first, "kube-controller-manager")


def restart(node: ProvingNode, component: str) -> None:
    """Its container ends as by itself, and kubelet starts the next."""
    before = latest(node, component)
    node.run("ctr", "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", before["id"])
    until(lambda: running_after(node, component, before["metadata"]["attempt"]), 120)


def running_after(node: ProvingNode, component: str, attempt: int) -> bool:
    now = latest(node, component)
    return bool(now["metadata"]["attempt"] > attempt and now["state"] == "CONTAINER_RUNNING")


def latest(node: ProvingNode, component: str) -> dict[str, dict[str, int]]:
    """The newest container of a component, as crictl tells of it."""
    rows = json.loads(node.run("crictl", "ps", "--all", "--name", component, "-o", "json"))["containers"]
    return max(rows, key=lambda row: int(row["metadata"]["attempt"]))
