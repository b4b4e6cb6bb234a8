"""How a fixture under tests/fixtures/<tool>/ is asked: the tool, its method, its arguments."""

from __future__ import annotations

import json
from typing import Any

from upgrade_guard.hosts.base import Host
from upgrade_guard.model.codec import to_json
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.model.version import Version
from upgrade_guard.tools.api_server import ApiServer
from upgrade_guard.tools.apt import Apt
from upgrade_guard.tools.etcdctl import Etcdctl
from upgrade_guard.tools.etcdutl import Etcdutl
from upgrade_guard.tools.kubeadm import Kubeadm, UpgradePlan, parse_upgrade_plan
from upgrade_guard.tools.kubectl import Kubectl
from upgrade_guard.tools.systemctl import Systemctl, SystemdAnalyze

PKI = "/etc/kubernetes/pki/etcd"


class PlanningKubeadm(Kubeadm):
    """The text of `kubeadm upgrade plan` is for people; its reading is what a fixture holds."""

    def parsed_plan(self, target: str) -> UpgradePlan:
        return parse_upgrade_plan(self.upgrade_plan(Version.parse(target)))


TOOLS = {
    "api_server": lambda host: ApiServer(host, "/etc/kubernetes/admin.conf", "https://10.0.0.11:6443"),
    "apt": lambda host: Apt(host, NodeSettings()),
    "etcdctl": lambda host: Etcdctl(
        host,
        "/opt/etcd/etcdctl",
        "https://127.0.0.1:2379",
        f"{PKI}/ca.crt",
        f"{PKI}/server.crt",
        f"{PKI}/server.key",
    ),
    "etcdutl": lambda host: Etcdutl(host, "/opt/etcd/etcdutl", "/opt/etcd/etcdctl"),
    "kubeadm": lambda host: PlanningKubeadm(host, NodeSettings()),
    "kubectl": lambda host: Kubectl(host, "/etc/kubernetes/admin.conf"),
    "systemctl": Systemctl,
    "systemd_analyze": SystemdAnalyze,
}


def ask(tool: str, host: Host, call: str, arguments: list[Any]) -> Any:
    """Call the tool's method as the fixture says."""
    words = (tuple(one) if isinstance(one, list) else one for one in arguments)
    return getattr(TOOLS[tool](host), call)(*words)


def plain(value: Any) -> Any:
    """As it would stand in a JSON file."""
    return json.loads(json.dumps(to_json(value)))
