"""The cluster as `inspect` found it: journalled as JSON, and read back by every later step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from upgrade_guard.model.etcd import EtcdManifest

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""The static pods that kubeadm writes on every control plane (cmd/kubeadm/app/constants)."""


@dataclass(frozen=True)
class Node:
    """One node. `role` is "control-plane" or "worker"; `packages` are installed versions; `holds` the held names.

    `api_server` is the URL of a control plane's own API server, past any balancer.
    `package_source` is the text of the file that names the Kubernetes package repository; None where there is none.
    """

    name: str
    role: str
    internal_ip: str
    kubelet_version: str
    runtime: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    holds: tuple[str, ...] = ()
    package_source: str | None = None
    unschedulable: bool = False
    etcd: EtcdManifest | None = None
    manifests: Mapping[str, str] = field(default_factory=dict)  # component -> image
    api_server: str = ""

    @property
    def is_control_plane(self) -> bool:
        """Does it run the API server and etcd?"""
        return self.role == "control-plane"


@dataclass(frozen=True)
class Addon:
    """A CNI or other add-on that was recognised; `advice` says what its own upgrade needs."""

    name: str
    kind: str
    namespace: str
    workload: str
    image: str
    healthy: bool
    advice: str = ""


@dataclass(frozen=True)
class Cluster:
    """What an upgrade needs to know. `etcd_cluster_id` is decimal text: it exceeds 2**53. `left_out` has the workers
    that are not upgraded, each with the reason.
    """

    name: str
    version: str
    nodes: tuple[Node, ...]
    etcd_cluster_id: str
    etcd_version: str
    etcd_db_size: int
    addons: tuple[Addon, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def control_planes(self) -> tuple[Node, ...]:
        """In the order in which they are upgraded; the first one runs `kubeadm upgrade apply`."""
        return tuple(node for node in self.nodes if node.is_control_plane)

    @property
    def workers(self) -> tuple[Node, ...]:
        """Every node without a control plane."""
        return tuple(node for node in self.nodes if not node.is_control_plane)

    def node(self, name: str) -> Node:
        """The node of that name. Raises KeyError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)
