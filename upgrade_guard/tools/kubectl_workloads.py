"""What runs pods, what reaches them, and what protects them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from upgrade_guard.tools.kubectl_lists import images, rows


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
