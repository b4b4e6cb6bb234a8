"""Will the target's kubelet start on this node?"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from upgrade_guard.checks.findings import blocking, ok, warning
from upgrade_guard.checks.gathered import Gathered
from upgrade_guard.model.finding import Finding
from upgrade_guard.model.version import Version

# Flag -> (first minor without it, does kubeadm itself take it out of kubeadm-flags.env during the upgrade).
REMOVED_FLAGS = {
    "network-plugin": (24, False),  # website#34755, #36896
    "cni-bin-dir": (24, False),
    "cni-conf-dir": (24, False),
    "cni-cache-dir": (24, False),
    "network-plugin-mtu": (24, False),
    "docker-endpoint": (24, False),
    "image-pull-progress-deadline": (24, False),
    "container-runtime": (27, True),
    "pod-infra-container-image": (35, True),  # kubeadm#3281
}

CRI_OF_SOCKET = {
    "dockershim.sock": "docker",
    "cri-dockerd.sock": "docker",
    "containerd.sock": "containerd",
    "crio.sock": "cri-o",
}


def kubelet_flags_supported(gathered: Gathered, target: Version) -> tuple[Finding, ...]:
    """No flag that the target's kubelet does not know any more: it would not start (website#34755, kubeadm#3281)."""
    name = "kubelet-flags-supported"
    findings = []
    for node in gathered.nodes:
        bad = []
        for path, text in node.kubelet_flags.items():
            ours = PurePosixPath(path).name == "kubeadm-flags.env"
            for flag in flags_in(text):
                gone_in, kubeadm_removes = REMOVED_FLAGS.get(flag, (target.minor + 1, False))
                if target.minor >= gone_in and not (ours and kubeadm_removes):
                    bad.append((path, flag, gone_in))
        for path, flag, gone_in in bad:
            findings.append(
                blocking(
                    name,
                    f"{node.name}: {path} sets --{flag}, which kubelet does not know since v{target.major}.{gone_in}",
                    f"take it out on {node.name} and restart kubelet: grep -n -- --{flag} {path}",
                    node.name,
                )
            )
        if node.kubelet_flags and not bad:
            findings.append(ok(name, f"{node.name}: kubelet's flags are known to {target}", node.name))
    return tuple(findings)


def flags_in(text: str) -> tuple[str, ...]:
    """The flags in an environment file, without comments and values: `network-plugin`."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return tuple(match[1] for line in lines for match in re.finditer(r"(?:^|[\s\"'=])--([a-z][a-z0-9-]*)", line))


def runtime_supported(gathered: Gathered, target: Version) -> tuple[Finding, ...]:
    """The container runtime speaks the CRI that the target's kubelet asks for (containerd#7799)."""
    name = "runtime-supported"
    findings = []
    for row in gathered.api.nodes:
        kind, _, text = row.runtime.partition("://")
        version = _release(text)
        if kind == "docker" and target.minor >= 24:
            problem = "Docker through dockershim, which is gone since v1.24"
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
        allowed = re.search(r"^failCgroupV1:\s*false\s*$", node.kubelet_config, re.MULTILINE) is not None
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
