"""Pods as the API knows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from upgrade_guard.tools.kubectl_lists import condition, images, rows

CORDON_TAINT = "node.kubernetes.io/unschedulable"
_ALIVE = ("Running", "Pending", "Unknown")
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"


@dataclass(frozen=True)
class PodRow:
    """One pod. `ready` is its Ready condition (a pod that completed is not ready); `restarts` of all its containers.

    `waiting_reason` says why a container does not run ("CrashLoopBackOff"); `mirror` marks a static pod;
    `deleted` one that is being removed. `keeps_local_data`: it has an emptyDir.
    """

    namespace: str
    name: str
    node: str
    phase: str
    ready: bool
    owner_kind: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    restarts: int = 0
    waiting_reason: str = ""
    mirror: bool = False
    deleted: bool = False
    owner_name: str = ""
    tolerates_cordon: bool = False
    keeps_local_data: bool = False

    @property
    def is_drained(self) -> bool:
        """Would a drain make it leave its node, and can it be gone for good? Not a static pod, not one of a DaemonSet,
        none that has ended, and none that is put straight back because it tolerates the cordon (operators of a CNI).
        """
        lives = self.phase in _ALIVE and not self.mirror
        return lives and self.owner_kind not in ("DaemonSet", "Node") and not self.tolerates_cordon


def parse_pods(text: str) -> tuple[PodRow, ...]:
    """`kubectl get pods -o json`, as they come."""
    return rows("kubectl get pods", text, pod_row)


def pod_row(one: dict[str, Any]) -> PodRow:
    """One raw pod as a row."""
    metadata, spec, status = one["metadata"], one.get("spec") or {}, one.get("status") or {}
    owners = metadata.get("ownerReferences") or []
    owner = next((row for row in owners if row.get("controller")), owners[0] if owners else {})
    containers = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    return PodRow(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        node=spec.get("nodeName", ""),
        phase=status.get("phase", ""),
        ready=condition(one, "Ready").get("status") == "True",
        owner_kind=owner.get("kind", ""),
        labels=dict(metadata.get("labels") or {}),
        images=images(spec),
        restarts=sum(int(row.get("restartCount", 0)) for row in containers),
        waiting_reason=_waiting_reason(containers),
        mirror=MIRROR_ANNOTATION in (metadata.get("annotations") or {}),
        deleted="deletionTimestamp" in metadata,
        owner_name=owner.get("name", ""),
        tolerates_cordon=any(_tolerates_cordon(row) for row in spec.get("tolerations") or ()),
        keeps_local_data=any("emptyDir" in row for row in spec.get("volumes") or ()),
    )


def _tolerates_cordon(toleration: dict[str, Any]) -> bool:
    """A toleration without a key tolerates every taint, one without an effect every effect (core/v1, Toleration)."""
    if toleration.get("effect") not in (None, "", "NoSchedule"):
        return False
    key = toleration.get("key")
    return key == CORDON_TAINT or (not key and toleration.get("operator") == "Exists")


def _waiting_reason(containers: tuple[dict[str, Any], ...]) -> str:
    for row in containers:
        waiting = (row.get("state") or {}).get("waiting")
        if waiting:
            return str(waiting.get("reason") or "Waiting")
    return ""
