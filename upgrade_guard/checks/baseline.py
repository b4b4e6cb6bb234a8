"""The cluster before the upgrade, and what is different afterwards: by comparison, not by eye."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from upgrade_guard.checks.findings import blocking, listed, ok, warning
from upgrade_guard.model.finding import Finding
from upgrade_guard.model.version import Version
from upgrade_guard.tools.kubectl import Kubectl
from upgrade_guard.tools.kubectl_objects import NodeRow, PodRow, ServiceRow, WorkloadRow

CHECK = "baseline"

Say = Callable[[str, str, str, str], Finding]

EXPECTED_TO_CHANGE = frozenset({"kube-system/kube-proxy", "kube-system/coredns"})
"""kubeadm's own two add-ons: the last control plane's upgrade gives them new images."""


@dataclass(frozen=True)
class WorkloadState:
    """One deployment, daemon set or stateful set: how many pods it wants and has ready, and their images."""

    kind: str
    namespace: str
    name: str
    desired: int
    ready: int
    images: tuple[str, ...]

    @property
    def place(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.kind} {self.place}"

    @property
    def well(self) -> bool:
        """As many pods are ready as it wants."""
        return self.ready >= self.desired


@dataclass(frozen=True)
class Baseline:
    """What the comparison looks at. `nodes`: name to Ready; `ready_pods`: namespace to their number.

    `static_pods`: as "namespace/name", None in a baseline that an earlier version took.
    """

    nodes: Mapping[str, bool]
    workloads: tuple[WorkloadState, ...]
    services: tuple[str, ...]
    ready_pods: Mapping[str, int]
    static_pods: tuple[str, ...] | None = None


def capture(kubectl: Kubectl) -> Baseline:
    """The cluster as it is now."""
    return baseline_of(kubectl.nodes(), kubectl.workloads(), kubectl.services(), kubectl.pods())


def baseline_of(
    nodes: tuple[NodeRow, ...],
    workloads: tuple[WorkloadRow, ...],
    services: tuple[ServiceRow, ...],
    pods: tuple[PodRow, ...],
) -> Baseline:
    """The same from rows that were read already."""
    ready: dict[str, int] = {}
    for pod in pods:
        if pod.ready and not pod.deleted:
            ready[pod.namespace] = ready.get(pod.namespace, 0) + 1
    return Baseline(
        nodes={row.name: row.ready for row in nodes},
        workloads=tuple(
            WorkloadState(row.kind, row.namespace, row.name, row.desired, row.ready, tuple(row.images))
            for row in sorted(workloads, key=lambda row: (row.namespace, row.kind, row.name))
        ),
        services=tuple(sorted(f"{row.namespace}/{row.name}" for row in services)),
        ready_pods=dict(sorted(ready.items())),
        static_pods=tuple(sorted(f"{pod.namespace}/{pod.name}" for pod in pods if pod.mirror)),
    )


def compare(
    before: Baseline,
    after: Baseline,
    target: Version,
    given_up: Collection[str] = (),
    *,
    restored: bool = False,
) -> tuple[Finding, ...]:
    """What is no longer ready blocks; what is gone, changed or new is said; kubeadm's own add-ons may change.

    An upgrade deletes no object, so one that is gone was deleted by somebody. In a state that was `restored` it has to
    be there: then it blocks, as does a static pod that was not there before: kubelet runs it whatever etcd holds. A
    StatefulSet starts its pods one after the other, so it may take longer than anybody
    waits here: it is said. Something that was not well before the upgrade is no regression as long as it is no worse.
    `target` is the version that the control plane serves now. Nodes that were `given_up` are missed nowhere: each may
    have taken one pod of every workload with it.
    """
    gone = blocking if restored else warning
    findings = (
        *_nodes(before, after, given_up, gone),
        *_workloads(before, after, len(given_up), gone),
        *_services(before, after, gone),
        *_static_pods(before, after, gone),
        *_proxy(after, target),
        *_namespaces(before, after),
    )
    return findings or (ok(CHECK, f"{len(before.workloads)} workload(s) and {len(before.nodes)} node(s) as before"),)


def _nodes(before: Baseline, after: Baseline, given_up: Collection[str], gone: Say) -> list[Finding]:
    findings = []
    for name, ready in before.nodes.items():
        if name in given_up:
            continue
        if name not in after.nodes:
            findings.append(gone(CHECK, f"node {name} is missing", f"look: kubectl get node {name}", name))
        elif ready and not after.nodes[name]:
            hint = f"look: kubectl describe node {name}"
            findings.append(blocking(CHECK, f"node {name} is no longer Ready", hint, name))
    if new := sorted(set(after.nodes) - set(before.nodes)):
        findings.append(warning(CHECK, f"new nodes: {listed(new)}", "see who added them: kubectl get nodes"))
    return findings


def _workloads(before: Baseline, after: Baseline, lost: int, gone: Say) -> list[Finding]:
    findings = []
    now = {workload.key: workload for workload in after.workloads}
    for old in before.workloads:
        new = now.pop(old.key, None)
        look = f"look: kubectl -n {old.namespace} describe {old.kind.lower()} {old.name}"
        if new is None:
            hint = f"look: kubectl -n {old.namespace} get {old.kind.lower()}"
            findings.append(gone(CHECK, f"{old.key} is missing", hint, old.place))
            continue
        findings += _one_workload(old, new, look, lost)
    for workload in now.values():
        hint = f"see who made it: kubectl -n {workload.namespace} get {workload.kind.lower()} {workload.name} -o yaml"
        findings.append(warning(CHECK, f"{workload.key} is new", hint, workload.place))
    return findings


def _one_workload(old: WorkloadState, new: WorkloadState, look: str, lost: int) -> list[Finding]:
    findings = []
    if not new.well:
        said = f"{new.key} has {new.ready} of {new.desired} pods ready"
        slow = new.kind == "StatefulSet" and new.ready > 0
        # Somebody may have scaled it meanwhile, in either direction.
        if not slow and new.ready + lost < min(new.desired, old.ready):
            findings.append(blocking(CHECK, f"{said}, before {old.ready} of {old.desired}", look, new.place))
        else:
            before = "as before the upgrade" if not old.well else f"before {old.ready} of {old.desired}"
            findings.append(warning(CHECK, f"{said}, {before}", look, new.place))
    if old.desired != new.desired:
        findings.append(warning(CHECK, f"{new.key} wants {new.desired} pods, before {old.desired}", look, new.place))
    if old.images != new.images and new.place not in EXPECTED_TO_CHANGE:
        said = f"{new.key} has other images: {listed(new.images)}, before {listed(old.images)}"
        findings.append(warning(CHECK, said, look, new.place))
    return findings


def _services(before: Baseline, after: Baseline, gone: Say) -> list[Finding]:
    findings = [
        gone(CHECK, f"service {name} is missing", f"look: kubectl -n {name.partition('/')[0]} get services", name)
        for name in before.services
        if name not in after.services
    ]
    if new := [name for name in after.services if name not in before.services]:
        findings.append(warning(CHECK, f"new services: {listed(new)}", "see who made them: kubectl get services -A"))
    return findings


def _static_pods(before: Baseline, after: Baseline, new: Say) -> list[Finding]:
    known = before.static_pods
    if known is None or after.static_pods is None:
        return []
    return [
        new(
            CHECK,
            f"static pod {name} was not there before",
            f"see which node runs it, then look among its manifests: kubectl -n {name.partition('/')[0]} "
            f"get pod {name.partition('/')[2]} -o wide",
            name,
        )
        for name in after.static_pods
        if name not in known
    ]


def _proxy(after: Baseline, target: Version) -> list[Finding]:
    for workload in after.workloads:
        if workload.key != "DaemonSet kube-system/kube-proxy":
            continue
        tags = {image.partition("@")[0].rpartition(":")[2] for image in workload.images}
        if str(target) not in tags:
            hint = "kubeadm does that with the last control plane: kubectl -n kube-system describe daemonset kube-proxy"
            return [warning(CHECK, f"kube-proxy runs {listed(sorted(tags))}, not {target}", hint, workload.place)]
    return []


def _namespaces(before: Baseline, after: Baseline) -> list[Finding]:
    """Pods that belong to no workload show only here: jobs come and go, so fewer of them is said and no failure."""
    findings = []
    for namespace, count in before.ready_pods.items():
        now = after.ready_pods.get(namespace, 0)
        if now == 0:
            hint = f"look: kubectl -n {namespace} get pods"
            findings.append(warning(CHECK, f"namespace {namespace} has no ready pod, before {count}", hint, namespace))
    return findings
