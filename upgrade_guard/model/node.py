"""Where things are on a node: the defaults of kubeadm, and what odd clusters set otherwise."""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT_HOST_FILES = (
    "/etc/default/kubelet",
    "/etc/sysconfig/kubelet",
    "/etc/systemd/system/kubelet.service.d",
    "/usr/lib/systemd/system/kubelet.service.d",
    "/etc/containerd/config.toml",
    "/etc/cni/net.d",
)


def table_of(node: str) -> str:
    """The head of that node's table in the configuration: a name with dots has to be quoted (toml.io, keys)."""
    return f"[nodes.{node}]" if re.fullmatch("[A-Za-z0-9_-]+", node) else f'[nodes."{node}"]'


@dataclass(frozen=True)
class NodeSettings:
    """One `[nodes.NAME]` of the configuration. All paths are absolute paths on that node.

    `address` is "local", "user@host" or "" for the node's InternalIP. `path` is the PATH of every command
    there ("" leaves it alone). `host_files` are the files and directories outside `kubernetes_dir` and `kubelet_dir`
    that belong to a node's bundle when they exist. `drain`: its pods leave before its kubelet is renewed. `upgrade`: a
    worker is upgraded at all.
    """

    address: str = ""
    kubernetes_dir: str = "/etc/kubernetes"
    kubelet_dir: str = "/var/lib/kubelet"
    work_dir: str = "/var/lib/upgrade-guard/node"
    path: str = ""
    package_source: str = "/etc/apt/sources.list.d/kubernetes.list"
    kubelet_unit: str = "kubelet"
    host_files: tuple[str, ...] = DEFAULT_HOST_FILES
    drain: bool = True
    upgrade: bool = True

    @property
    def manifests_dir(self) -> str:
        """Where kubelet reads static pods."""
        return f"{self.kubernetes_dir}/manifests"

    @property
    def admin_kubeconfig(self) -> str:
        """The kubeconfig with which kubectl speaks for the cluster's administrator."""
        return f"{self.kubernetes_dir}/admin.conf"
