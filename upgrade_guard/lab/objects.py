"""API objects as a kubeadm cluster has them, in the shapes that `kubectl -o json` prints."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from upgrade_guard.lab import releases
from upgrade_guard.lab.world import Object, now_text

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
# The letters of generated names (apimachinery, util/rand): without vowels, so that no words come about.
LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def suffix(length: int = 5) -> str:
    """The random end of a generated name."""
    return "".join(LETTERS[byte % len(LETTERS)] for byte in os.urandom(length))


def node(name: str, address: str, *, control_plane: bool, taint: str, kubelet: str) -> Object:
    """A node as kubelet registers it; `taint` is the effect of the control plane's taint, or ""."""
    labels = {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
    }
    spec: Object = {}
    if control_plane:
        labels[CONTROL_PLANE] = ""
        labels["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
    if taint:
        spec["taints"] = [{"effect": taint, "key": CONTROL_PLANE}]
    sizes = {"cpu": "2", "ephemeral-storage": "264212084Ki", "memory": "24684084Ki", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "annotations": {
                "kubeadm.alpha.kubernetes.io/cri-socket": "unix:///run/containerd/containerd.sock",
                "node.alpha.kubernetes.io/ttl": "0",
                "volumes.kubernetes.io/controller-managed-attach-detach": "true",
            },
            "labels": labels,
            "name": name,
        },
        "spec": spec,
        "status": {
            "addresses": [{"address": address, "type": "InternalIP"}, {"address": name, "type": "Hostname"}],
            "allocatable": sizes,
            "capacity": sizes,
            "conditions": [
                _condition(
                    "MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"
                ),
                _condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                _condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                _condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "images": [],
            "nodeInfo": {
                "architecture": "amd64",
                "containerRuntimeVersion": releases.CONTAINER_RUNTIME,
                "kernelVersion": os.uname().release,
                "kubeProxyVersion": kubelet,
                "kubeletVersion": kubelet,
                "operatingSystem": "linux",
                "osImage": "Debian GNU/Linux 12 (bookworm)",
            },
        },
    }


def set_ready(found: Object, status: str, reason: str, message: str) -> None:
    """A node's Ready condition; its times move only when the status does."""
    for condition in found["status"]["conditions"]:
        if condition["type"] == "Ready" and (condition["status"], condition["reason"]) != (status, reason):
            condition.update(_condition("Ready", status, reason, message))


def is_ready(found: Object) -> bool:
    """Is the Ready condition of a node or a pod true?"""
    conditions = found.get("status", {}).get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _condition(kind: str, status: str, reason: str, message: str) -> Object:
    at = now_text()
    return {
        "lastHeartbeatTime": at,
        "lastTransitionTime": at,
        "message": message,
        "reason": reason,
        "status": status,
        "type": kind,
    }


def workload(
    kind: str,
    namespace: str,
    name: str,
    labels: Mapping[str, str],
    image: str,
    *,
    replicas: int = 0,
    tolerates_everything: bool = False,
    tolerates_control_plane: bool = False,
) -> Object:
    """A Deployment (with `replicas`) or a DaemonSet."""
    tolerations: list[Object] = []
    if tolerates_everything:
        tolerations.append({"operator": "Exists"})
    if tolerates_control_plane:
        tolerations.append({"key": CONTROL_PLANE, "operator": "Exists"})
    spec: Object = {
        "selector": {"matchLabels": dict(labels)},
        "template": {
            "metadata": {"labels": dict(labels)},
            "spec": {"containers": [{"image": image, "name": name}], "tolerations": tolerations},
        },
    }
    if kind == "Deployment":
        spec["replicas"] = replicas
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"generation": 1, "labels": dict(labels), "name": name, "namespace": namespace},
        "spec": spec,
        "status": {},
    }


def pod(
    namespace: str,
    name: str,
    *,
    labels: Mapping[str, str],
    owner: Object | None,
    template: Mapping[str, Any],
    node_name: str = "",
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """A pod as its controller creates it, or as a kubelet mirrors a static one."""
    metadata: Object = {"labels": dict(labels), "name": name, "namespace": namespace}
    if annotations:
        metadata["annotations"] = dict(annotations)
    if owner:
        metadata["ownerReferences"] = [owner]
    spec: Object = {"restartPolicy": "Always", "terminationGracePeriodSeconds": 30, **template}
    if node_name:
        spec["nodeName"] = node_name
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Pending"}}


def owner_of(controller: Object) -> Object:
    """The owner reference of a workload's pods. A Deployment's pods belong to its ReplicaSet."""
    metadata, kind, name = controller["metadata"], controller["kind"], controller["metadata"]["name"]
    if kind == "Deployment":
        kind, name = "ReplicaSet", f"{name}-{template_hash(controller)}"
    api_version = "v1" if kind == "Node" else "apps/v1"
    return {"apiVersion": api_version, "controller": True, "kind": kind, "name": name, "uid": metadata["uid"]}


def template_hash(controller: Object) -> str:
    """What tells one generation of a workload's pods from the next: it follows the image."""
    images = ",".join(one["image"] for one in controller["spec"]["template"]["spec"]["containers"])
    return f"{zlib.crc32(images.encode()):08x}"


def pod_status(found: Object, *, address: str, containers: Sequence[Object], ready: bool, started: str) -> Object:
    """The status that a kubelet posts. Container statuses come from `container_status`."""
    state = "True" if ready else "False"

    def condition(kind: str, status: str) -> Object:
        before = next((one for one in found.get("status", {}).get("conditions", ()) if one["type"] == kind), None)
        since = before["lastTransitionTime"] if before and before["status"] == status else now_text()
        return {"lastProbeTime": None, "lastTransitionTime": since, "status": status, "type": kind}

    return {
        "conditions": [
            condition("Initialized", "True"),
            condition("Ready", state),
            condition("ContainersReady", state),
            condition("PodScheduled", "True"),
        ],
        "containerStatuses": list(containers),
        "hostIP": address,
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "qosClass": "Burstable",
        "startTime": started,
    }


def container_status(
    name: str, image: str, identity: str, *, ready: bool, restarts: int, waiting: str, started: str
) -> Object:
    """One container of a pod; `waiting` is the reason when it does not run."""
    if waiting:
        message = f"back-off 10s restarting failed container={name}"
        state: Object = {"waiting": {"message": message, "reason": waiting}}
    else:
        state = {"running": {"startedAt": started}}
    return {
        "containerID": f"containerd://{identity}",
        "image": image,
        "imageID": f"sha256:{identity}",
        "lastState": {},
        "name": name,
        "ready": ready,
        "restartCount": restarts,
        "started": not waiting,
        "state": state,
    }


def service(namespace: str, name: str, cluster_ip: str, port: int, selector: Mapping[str, str] | None) -> Object:
    """A service with one port."""
    spec: Object = {
        "clusterIP": cluster_ip,
        "clusterIPs": [cluster_ip],
        "ports": [{"port": port, "protocol": "TCP", "targetPort": port}],
        "sessionAffinity": "None",
        "type": "ClusterIP",
    }
    if selector:
        spec["selector"] = dict(selector)
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec, "status": {"loadBalancer": {}}}


def disruption_budget(namespace: str, name: str, labels: Mapping[str, str], *, max_unavailable: int) -> Object:
    """A PodDisruptionBudget; its status is the controller's."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"generation": 1, "name": name, "namespace": namespace},
        "spec": {"maxUnavailable": max_unavailable, "selector": {"matchLabels": dict(labels)}},
        "status": {},
    }


def configmap(namespace: str, name: str, content: Mapping[str, str]) -> Object:
    """A configmap."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "data": dict(content), "kind": "ConfigMap", "metadata": metadata}
