"""What crictl and ctr print about containers and images."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from upgrade_guard.tools.commands import parse_json, reads, unexpected

_CONTAINER_NAME = "io.kubernetes.container.name"
_POD_NAME = "io.kubernetes.pod.name"
_POD_NAMESPACE = "io.kubernetes.pod.namespace"
_POD_UID = "io.kubernetes.pod.uid"
_CRI_METADATA = "io.cri-containerd.container.metadata"
_CRI_KIND = "io.cri-containerd.kind"


@dataclass(frozen=True)
class Container:
    """One container of a pod. `restarts` counts how often its pod started that container before this one.

    `image` may be an id, as containerd up to 1.7 gives it through crictl; `names` are all the names of that image that
    are known, `image` itself without them.
    """

    id: str
    name: str
    image: str
    running: bool
    restarts: int = 0
    pod: str = ""
    namespace: str = ""
    pod_uid: str = ""
    names: tuple[str, ...] = ()

    def is_of_static_pod(self, node: str) -> bool:
        """Is it the container of that name in the static pod of that name? A tenant's `etcd` is not.

        kubelet names a static pod `NAME-NODE` (pkg/kubelet/config/common.go, generatePodName).
        """
        return self.namespace == "kube-system" and self.pod == f"{self.name}-{node}"


@dataclass(frozen=True)
class Sandbox:
    """What the runtime made for one pod, before any of its containers. `created` is in seconds since 1970."""

    id: str
    namespace: str
    pod: str
    pod_uid: str
    created: float

    @property
    def is_of_static_pod(self) -> bool:
        """kubelet makes the uid of a static pod from a digest, without the dashes of one that the API gave
        (pkg/kubelet/config/common.go, applyDefaults).
        """
        return "-" not in self.pod_uid


@reads("crictl pods")
def parse_crictl_pods(text: str) -> tuple[Sandbox, ...]:
    """`crictl pods -o json`; the time is in nanoseconds."""
    rows = parse_json("crictl pods", text).get("items") or []
    return tuple(
        Sandbox(
            id=row["id"],
            namespace=row["metadata"]["namespace"],
            pod=row["metadata"]["name"],
            pod_uid=row["metadata"]["uid"],
            created=int(row["createdAt"]) / 1e9,
        )
        for row in rows
    )


@reads("crictl ps")
def parse_crictl_containers(text: str) -> tuple[Container, ...]:
    """`crictl ps -o json`."""
    rows = parse_json("crictl ps", text).get("containers") or []
    return tuple(
        Container(
            id=row["id"],
            name=row["metadata"]["name"],
            image=(row.get("image") or {}).get("userSpecifiedImage") or (row.get("image") or {}).get("image", ""),
            running=row["state"] == "CONTAINER_RUNNING",
            restarts=int(row["metadata"].get("attempt", 0)),
            pod=(row.get("labels") or {}).get(_POD_NAME, ""),
            namespace=(row.get("labels") or {}).get(_POD_NAMESPACE, ""),
            pod_uid=(row.get("labels") or {}).get(_POD_UID, ""),
        )
        for row in rows
    )


@reads("crictl images")
def parse_crictl_images(text: str) -> tuple[str, ...]:
    """`crictl images -o json`: every tag."""
    found = {name for names in parse_crictl_image_names(text).values() for name in names}
    return tuple(sorted(name for name in found if "@" not in name))


@reads("crictl images")
def parse_crictl_image_names(text: str) -> dict[str, tuple[str, ...]]:
    """`crictl images -o json`: the id of each image to its names, those with a tag and those with a digest."""
    rows = parse_json("crictl images", text).get("images") or []
    return {str(row["id"]): (*(row.get("repoTags") or ()), *(row.get("repoDigests") or ())) for row in rows}


def is_image_id(image: str) -> bool:
    """Is it the id of an image, and no name?"""
    return re.fullmatch(r"(sha256:)?[0-9a-f]{64}", image) is not None


@reads("ctr tasks ls")
def parse_tasks(text: str) -> dict[str, str]:
    """`ctr tasks ls`: container to RUNNING, STOPPED, PAUSED…"""
    lines = text.splitlines()
    if not lines or not lines[0].startswith("TASK"):
        raise unexpected("ctr tasks ls", text)
    rows = (line.split() for line in lines[1:])
    return {row[0]: row[-1] for row in rows if len(row) >= 3}


@reads("ctr containers ls")
def parse_container_ids(text: str) -> tuple[str, ...]:
    """`ctr containers ls`: the first column."""
    lines = text.splitlines()
    if not lines or not lines[0].startswith("CONTAINER"):
        raise unexpected("ctr containers ls", text)
    return tuple(line.split()[0] for line in lines[1:] if line.strip())


@reads("ctr containers info")
def parse_containerd_container(text: str, *, running: bool) -> Container | None:
    """`ctr containers info`; None for what is no container of a pod (a sandbox, or not Kubernetes' own)."""
    document = parse_json("ctr containers info", text)
    labels = document.get("Labels") or {}
    if not labels.get(_CONTAINER_NAME):
        return None
    return Container(
        id=str(document.get("ID", "")),
        name=labels[_CONTAINER_NAME],
        image=str(document.get("Image", "")),
        running=running,
        restarts=_restarts(document),
        pod=labels.get(_POD_NAME, ""),
        namespace=labels.get(_POD_NAMESPACE, ""),
        pod_uid=labels.get(_POD_UID, ""),
    )


@reads("ctr containers info")
def parse_containerd_sandbox(text: str) -> Sandbox | None:
    """`ctr containers info`; None for what is no sandbox of a pod."""
    document = parse_json("ctr containers info", text)
    labels = document.get("Labels") or {}
    if labels.get(_CRI_KIND) != "sandbox":
        return None
    return Sandbox(
        id=str(document["ID"]),
        namespace=labels[_POD_NAMESPACE],
        pod=labels[_POD_NAME],
        pod_uid=labels[_POD_UID],
        created=datetime.fromisoformat(document["CreatedAt"]).timestamp(),
    )


def _restarts(document: dict[str, Any]) -> int:
    """containerd keeps the attempt in an extension of its own; 0 where it cannot be read."""
    extension = (document.get("Extensions") or {}).get(_CRI_METADATA) or {}
    try:
        metadata = json.loads(base64.b64decode(extension.get("value", "")))
        return int(metadata["Metadata"]["Config"]["metadata"].get("attempt", 0))
    except (KeyError, TypeError, ValueError, AttributeError):
        return 0
