"""Nodes as the API knows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from upgrade_guard.tools.kubectl_lists import condition, rows

CRI_SOCKET_ANNOTATION = "kubeadm.alpha.kubernetes.io/cri-socket"
_CONTROL_PLANE_LABELS = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")


@dataclass(frozen=True)
class NodeRow:
    """One node. `role` is "control-plane" or "worker"; `pressures` are conditions that are wrong now.

    `runtime` is `containerd://1.6.20`; `cri_socket` is what kubeadm noted ("" when it did not); `system` is `linux` or
    `windows`.
    """

    name: str
    role: str
    internal_ip: str
    kubelet_version: str
    ready: bool
    ready_reason: str
    unschedulable: bool
    runtime: str = ""
    pressures: tuple[str, ...] = ()
    cri_socket: str = ""
    os_image: str = ""
    kernel: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[str, ...] = ()
    system: str = "linux"


def parse_nodes(text: str) -> tuple[NodeRow, ...]:
    """`kubectl get nodes -o json`, sorted by name."""
    return tuple(sorted(rows("kubectl get nodes", text, _node), key=lambda node: node.name))


def _node(one: dict[str, Any]) -> NodeRow:
    metadata, status, spec = one["metadata"], one["status"], one.get("spec") or {}
    labels = metadata.get("labels") or {}
    facts = status["nodeInfo"]
    ready = condition(one, "Ready")
    addresses = {row["type"]: row["address"] for row in reversed(status.get("addresses") or [])}
    return NodeRow(
        name=metadata["name"],
        role="control-plane" if any(label in labels for label in _CONTROL_PLANE_LABELS) else "worker",
        internal_ip=addresses.get("InternalIP", ""),
        kubelet_version=facts["kubeletVersion"],
        ready=ready.get("status") == "True",
        ready_reason=str(ready.get("reason") or ""),
        unschedulable=bool(spec.get("unschedulable", False)),
        runtime=facts.get("containerRuntimeVersion", ""),
        pressures=tuple(kind for kind in _PRESSURES if condition(one, kind).get("status") == "True"),
        cri_socket=(metadata.get("annotations") or {}).get(CRI_SOCKET_ANNOTATION, ""),
        os_image=facts.get("osImage", ""),
        kernel=facts.get("kernelVersion", ""),
        labels=dict(labels),
        system=facts.get("operatingSystem") or "linux",
        taints=tuple(
            f"{row['key']}{'=' + row['value'] if row.get('value') else ''}:{row['effect']}"
            for row in spec.get("taints") or ()
        ),
    )
