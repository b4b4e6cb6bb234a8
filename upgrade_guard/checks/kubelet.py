"""Will the target's kubelet start on this node?"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from upgrade_guard.checks.findings import blocking, ok, warning
from upgrade_guard.checks.gathered import Gathered
from upgrade_guard.checks.removed_settings import KUBELET, removed_from
from upgrade_guard.model.finding import Finding
from upgrade_guard.model.version import Version
from upgrade_guard.tools.plain_yaml import plain_yaml

KUBELET_CONFIG = "/var/lib/kubelet/config.yaml"

CRI_OF_SOCKET = {
    "dockershim.sock": "docker",
    "cri-dockerd.sock": "docker",
    "containerd.sock": "containerd",
    "crio.sock": "cri-o",
}


def kubelet_flags_supported(gathered: Gathered, target: Version) -> tuple[Finding, ...]:
    """No flag or feature gate that the target's kubelet is known not to know: it would not start (kubeadm#3281)."""
    name = "kubelet-flags-supported"
    findings = []
    for node in gathered.nodes:
        bad = []
        for path, text in node.kubelet_flags.items():
            ours = PurePosixPath(path).name == "kubeadm-flags.env"
            found = removed_from(KUBELET, flags_in(text), target.minor)
            bad += [(path, one) for one in found if not (ours and one.by_kubeadm)]
        config = f"{KUBELET_CONFIG} of {node.name}"
        bad += [(config, one) for one in removed_from(KUBELET, {}, target.minor, gates_of(node.kubelet_config))]
        for path, one in bad:
            findings.append(
                blocking(
                    name,
                    f"{node.name}: {path} sets {one.shown}, which kubelet does not know since "
                    f"v{target.major}.{one.gone_in}",
                    f"take it out on {node.name} and restart kubelet: grep -n -- {one.name} {path.partition(' ')[0]}",
                    node.name,
                )
            )
        if node.kubelet_flags and not bad:
            message = f"{node.name}: no setting of kubelet is known to be removed in {target.series}"
            findings.append(ok(name, message, node.name))
    return tuple(findings)


def gates_of(config: str) -> dict[str, bool]:
    """The feature gates of a kubelet configuration file; none when it cannot be read as YAML."""
    gates = _configuration(config).get("featureGates")
    return {str(name): bool(value) for name, value in gates.items()} if isinstance(gates, dict) else {}


def _configuration(config: str) -> dict[str, Any]:
    try:
        document = plain_yaml(config)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def flags_in(text: str) -> dict[str, str]:
    """The flags in an environment file or a unit, without comments: `network-plugin` to its value."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    matches = (match for line in lines for match in re.finditer(_A_FLAG, line))
    return {match[1]: match[2] or "" for match in matches}


_A_FLAG = r"(?:^|[\s\"'=])--([a-z][a-z0-9-]*)(?:[= ]([^\s\"'-][^\s\"']*))?"


def runtime_supported(gathered: Gathered, target: Version) -> tuple[Finding, ...]:
    """The container runtime speaks the CRI that the target's kubelet asks for (containerd#7799)."""
    name = "runtime-supported"
    findings = []
    for row in gathered.api.nodes:
        kind, _, text = row.runtime.partition("://")
        version = _release(text)
        if kind == "docker" and target.minor >= 24:
            problem = "Docker through dockershim, which is gone since v1.24"
        elif kind not in ("containerd", "docker", "") and row.role == "control-plane":
            problem = f"{row.runtime}; upgrade-guard takes etcd's programs out of its image through containerd"
        elif kind == "containerd" and version is not None and target.minor >= 36 and version < (2, 0):
            problem = f"containerd {text}; v1.36 needs 2.0 or newer"
        elif kind == "containerd" and version is not None and target.minor >= 26 and version < (1, 6):
            problem = f"containerd {text}; v1.26 needs 1.6 or newer"
        else:
            findings.append(ok(name, f"{row.name}: {row.runtime or 'runtime unknown'}", row.name))
            continue
        findings.append(
            blocking(
                name,
                f"{row.name} runs {problem}",
                f"upgrade the container runtime of {row.name} first: kubectl get node {row.name} -o wide",
                row.name,
            )
        )
    return tuple(findings)


def _release(text: str) -> tuple[int, int] | None:
    match = re.match(r"v?(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def cri_socket_agrees(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """The node's annotation names the socket of the runtime that really runs: kubeadm believes it (kubeadm#2364)."""
    name = "cri-socket-agrees"
    findings = []
    for row in gathered.api.nodes:
        kind = row.runtime.partition("://")[0]
        named = CRI_OF_SOCKET.get(row.cri_socket.rpartition("/")[2])
        if not row.cri_socket or not kind:
            continue
        if named is not None and named != kind:
            findings.append(
                blocking(
                    name,
                    f"{row.name} runs {kind}, but its annotation names {row.cri_socket}",
                    f"correct it: kubectl annotate node {row.name} --overwrite "
                    "kubeadm.alpha.kubernetes.io/cri-socket=unix:///run/containerd/containerd.sock",
                    row.name,
                )
            )
        else:
            findings.append(ok(name, f"{row.name}: {row.cri_socket}", row.name))
    return tuple(findings)


def cgroups_supported(gathered: Gathered, target: Version) -> tuple[Finding, ...]:
    """kubelet 1.35 does not start on cgroup version 1 unless `failCgroupV1: false` is configured."""
    name = "cgroups-supported"
    if target.minor < 35:
        return ()
    findings = []
    for node in gathered.nodes:
        if not node.cgroup_type:
            continue
        allowed = _configuration(node.kubelet_config).get("failCgroupV1") is False
        if node.cgroup_type == "cgroup2fs":
            findings.append(ok(name, f"{node.name}: cgroup version 2", node.name))
        elif allowed:
            findings.append(
                warning(
                    name,
                    f"{node.name}: cgroup version 1, which a later Kubernetes will not support at all",
                    f"plan a newer system for {node.name}: stat -f -c %T /sys/fs/cgroup",
                    node.name,
                )
            )
        else:
            findings.append(
                blocking(
                    name,
                    f"{node.name}: cgroup version 1, on which kubelet {target.series} does not start",
                    "boot with cgroup version 2, or set failCgroupV1: false: "
                    "kubectl -n kube-system edit configmap kubelet-config",
                    node.name,
                )
            )
    return tuple(findings)
