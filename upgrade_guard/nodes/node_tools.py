"""The tools of one node, bound to its host: what checks gather with and phases work with."""

from __future__ import annotations

from dataclasses import dataclass

from upgrade_guard.hosts.base import Host
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.tools.api_server import ApiServer
from upgrade_guard.tools.apt import Apt
from upgrade_guard.tools.containers import Containers
from upgrade_guard.tools.files import Files
from upgrade_guard.tools.kubeadm import Kubeadm
from upgrade_guard.tools.kubectl import Kubectl
from upgrade_guard.tools.systemctl import Systemctl


@dataclass(frozen=True)
class NodeTools:
    """Every tool of one node. `kubectl` and `endpoint` use the node's admin.conf, which only control planes have.

    Both ask the cluster's endpoint, which may be a balancer: whichever API server answers there.
    """

    name: str
    settings: NodeSettings
    host: Host
    files: Files
    kubeadm: Kubeadm
    kubectl: Kubectl
    endpoint: ApiServer
    apt: Apt
    systemctl: Systemctl
    containers: Containers


def bind(name: str, settings: NodeSettings, host: Host) -> NodeTools:
    """Every tool of a node on its host."""
    return NodeTools(
        name=name,
        settings=settings,
        host=host,
        files=Files(host, work_dir=settings.work_dir),
        kubeadm=Kubeadm(host, settings),
        kubectl=Kubectl(host, settings.admin_kubeconfig),
        endpoint=ApiServer(host, settings.admin_kubeconfig),
        apt=Apt(host, settings),
        systemctl=Systemctl(host),
        containers=Containers(host),
    )
