"""The objects that kubectl prints as JSON, as small values: nodes, pods, what runs them, and what extends the API."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from upgrade_guard.tools.commands import parse_json, reads, unexpected

T = TypeVar("T")


def items(program: str, text: str) -> list[dict[str, Any]]:
    """The objects of a list as kubectl prints it. Raises UnexpectedOutput."""
    document = parse_json(program, text)
    found = document.get("items") if isinstance(document, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise unexpected(program, text, "no list")
    return found


def rows(program: str, text: str, make: Callable[[dict[str, Any]], T]) -> tuple[T, ...]:
    """One value for each object. Raises UnexpectedOutput when an object lacks what every object of its kind has."""
    return reads(program)(lambda whole: tuple(make(one) for one in items(program, whole)))(text)


def condition(one: dict[str, Any], kind: str) -> dict[str, Any]:
    """The condition of that type in an object's status, or an empty one."""
    for found in (one.get("status") or {}).get("conditions") or ():
        if found.get("type") == kind:
            return dict(found)
    return {}


def images(pod_spec: dict[str, Any]) -> tuple[str, ...]:
    """The images of its containers, those that run first included."""
    containers = (*(pod_spec.get("initContainers") or ()), *(pod_spec.get("containers") or ()))
    return tuple(str(container.get("image", "")) for container in containers)


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


@dataclass(frozen=True)
class WorkloadRow:
    """A Deployment, DaemonSet or StatefulSet; `desired`, `ready` and `updated` count pods."""

    kind: str
    namespace: str
    name: str
    desired: int
    ready: int
    images: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    updated: int = 0


@dataclass(frozen=True)
class ServiceRow:
    """A service; `ports` as `80/TCP`."""

    namespace: str
    name: str
    kind: str
    cluster_ip: str
    ports: tuple[str, ...] = ()
    selector: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Budget:
    """A PodDisruptionBudget; `selector` is the label selector as the API has it."""

    namespace: str
    name: str
    disruptions_allowed: int
    expected_pods: int
    current_healthy: int
    selector: Mapping[str, Any] = field(default_factory=dict)

    def protects(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Does it count a pod with these labels? (policy/v1: an empty selector matches every pod of the namespace)"""
        return namespace == self.namespace and selects(self.selector, labels)


def parse_workloads(text: str) -> tuple[WorkloadRow, ...]:
    """`kubectl get deployments,daemonsets,statefulsets -o json`."""
    return rows("kubectl get workloads", text, _workload)


def parse_services(text: str) -> tuple[ServiceRow, ...]:
    """`kubectl get services -o json`."""
    return rows("kubectl get services", text, _service)


def parse_budgets(text: str) -> tuple[Budget, ...]:
    """`kubectl get poddisruptionbudgets -o json`."""
    return rows("kubectl get poddisruptionbudgets", text, _budget)


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """A label selector with `matchLabels` and `matchExpressions` against labels."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_expression(row, labels) for row in selector.get("matchExpressions") or ())


def _expression(row: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, operator, values = row["key"], row["operator"], row.get("values") or ()
    if operator == "In":
        return labels.get(key) in tuple(values)
    if operator == "NotIn":
        return labels.get(key) not in tuple(values)
    return (key in labels) is (operator == "Exists")


def _workload(one: dict[str, Any]) -> WorkloadRow:
    spec, status, metadata = one["spec"], one.get("status") or {}, one["metadata"]
    if one["kind"] == "DaemonSet":
        desired = status.get("desiredNumberScheduled", 0)
        ready = status.get("numberReady", 0)
        updated = status.get("updatedNumberScheduled", 0)
    else:
        desired = spec.get("replicas", 1)
        ready = status.get("readyReplicas", 0)
        updated = status.get("updatedReplicas", 0)
    return WorkloadRow(
        kind=one["kind"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        desired=int(desired),
        ready=int(ready),
        images=images(spec["template"]["spec"]),
        labels=dict(metadata.get("labels") or {}),
        updated=int(updated),
    )


def _service(one: dict[str, Any]) -> ServiceRow:
    spec, metadata = one["spec"], one["metadata"]
    return ServiceRow(
        namespace=metadata["namespace"],
        name=metadata["name"],
        kind=spec.get("type", "ClusterIP"),
        cluster_ip=spec.get("clusterIP", ""),
        ports=tuple(f"{row['port']}/{row.get('protocol', 'TCP')}" for row in spec.get("ports") or ()),
        selector=dict(spec.get("selector") or {}),
    )


def _budget(one: dict[str, Any]) -> Budget:
    status, metadata = one.get("status") or {}, one["metadata"]
    return Budget(
        namespace=metadata["namespace"],
        name=metadata["name"],
        disruptions_allowed=int(status.get("disruptionsAllowed", 0)),
        expected_pods=int(status.get("expectedPods", 0)),
        current_healthy=int(status.get("currentHealthy", 0)),
        selector=dict((one.get("spec") or {}).get("selector") or {}),
    )


@dataclass(frozen=True)
class CronJobRow:
    """A CronJob; `last` is the time for which it last made a Job, None where it never did."""

    namespace: str
    name: str
    suspended: bool = False
    last: datetime | None = None


def parse_cron_jobs(text: str) -> tuple[CronJobRow, ...]:
    """`kubectl get cronjobs -o json`."""
    return rows("kubectl get cronjobs", text, _cron_job)


def _cron_job(one: dict[str, Any]) -> CronJobRow:
    last = (one.get("status") or {}).get("lastScheduleTime")
    return CronJobRow(
        namespace=one["metadata"]["namespace"],
        name=one["metadata"]["name"],
        suspended=bool(one["spec"].get("suspend")),
        last=datetime.fromisoformat(last) if last else None,
    )


_DEPRECATED = re.compile(r"^apiserver_requested_deprecated_apis\{(?P<labels>[^}]*)\}\s+(?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class ApiService:
    """One API group and version. `service` is `namespace/name` of the server behind it, "" for kube-apiserver."""

    name: str
    available: bool
    service: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Webhook:
    """One admission webhook. `target` is `namespace/name` of its service or a URL; `failure_policy` Fail or Ignore."""

    configuration: str
    name: str
    kind: str
    target: str
    failure_policy: str
    timeout_seconds: int = 10

    @property
    def service(self) -> str:
        """`namespace/name`, "" when it is a URL."""
        return "" if "://" in self.target else self.target


@dataclass(frozen=True)
class DeprecatedApi:
    """An API that was asked for and is deprecated; `removed_release` is `1.32`, "" when no removal is planned."""

    group: str
    version: str
    resource: str
    removed_release: str


def parse_api_services(text: str) -> tuple[ApiService, ...]:
    """`kubectl get apiservices -o json`."""
    return rows("kubectl get apiservices", text, _api_service)


def parse_webhooks(text: str) -> tuple[Webhook, ...]:
    """`kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations -o json`."""
    return tuple(hook for hooks in rows("kubectl get webhooks", text, _webhooks) for hook in hooks)


def parse_deprecated_apis(text: str) -> tuple[DeprecatedApi, ...]:
    """The gauge `apiserver_requested_deprecated_apis` of the API server's metrics; the same API once."""
    found: dict[DeprecatedApi, None] = {}
    for line in text.splitlines():
        match = _DEPRECATED.match(line)
        if match and match["value"] != "0":
            labels = dict(_LABEL.findall(match["labels"]))
            keys = ("group", "version", "resource", "removed_release")
            found[DeprecatedApi(*(labels.get(key, "") for key in keys))] = None
    return tuple(found)


def _api_service(one: dict[str, Any]) -> ApiService:
    service = one["spec"].get("service")
    available = condition(one, "Available")
    return ApiService(
        name=one["metadata"]["name"],
        available=available.get("status") == "True",
        service=f"{service['namespace']}/{service['name']}" if service else "",
        reason=str(available.get("reason") or ""),
    )


def _webhooks(one: dict[str, Any]) -> tuple[Webhook, ...]:
    kind = "validating" if one["kind"].startswith("Validating") else "mutating"
    return tuple(_webhook(hook, one["metadata"]["name"], kind) for hook in one.get("webhooks") or ())


def _webhook(hook: dict[str, Any], configuration: str, kind: str) -> Webhook:
    client = hook["clientConfig"]
    service = client.get("service")
    return Webhook(
        configuration=configuration,
        name=hook["name"],
        kind=kind,
        target=f"{service['namespace']}/{service['name']}" if service else str(client.get("url", "")),
        failure_policy=hook.get("failurePolicy", "Fail"),
        timeout_seconds=int(hook.get("timeoutSeconds", 10)),
    )
