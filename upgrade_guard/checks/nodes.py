"""Are the nodes well, and can their pods leave for a while?"""

from __future__ import annotations

from upgrade_guard.checks.findings import blocking, listed, ok, warning
from upgrade_guard.checks.gathered import Gathered
from upgrade_guard.model.finding import Finding
from upgrade_guard.model.node import table_of
from upgrade_guard.model.version import Version
from upgrade_guard.tools.kubectl_objects import Budget, PodRow

CLOCK_TOLERANCE = 10.0
"""Seconds. Certificates are valid from their making on: a node that lags does not accept renewed ones."""


def nodes_ready(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """Every node is Ready; one that is not cannot be drained, and hides what the upgrade does to it."""
    name = "nodes-ready"
    away = [row for row in gathered.api.nodes if not row.ready]
    if not gathered.api.nodes:
        return ()
    if not away:
        return (ok(name, f"{len(gathered.api.nodes)} node(s) Ready"),)
    return tuple(
        blocking(
            name,
            f"{row.name} is not Ready: {row.ready_reason or 'no reason given'}",
            f"repair it, or remove it for good: kubectl describe node {row.name}",
            row.name,
        )
        for row in away
    )


def nodes_left_out(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """Workers that are not upgraded are named: their kubelet may be three minors older than the API server."""
    name = "nodes-left-out"
    return tuple(
        warning(name, f"{node} is not upgraded: {why}", f"upgrade it by other means: {table_of(node)}", node)
        for node, why in gathered.cluster.left_out.items()
    ) or (ok(name, "every node is upgraded"),)


def nodes_pressure(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """No node is short of disk, memory or process numbers: kubelet evicts pods and pulls no images then."""
    name = "nodes-pressure"
    if not gathered.api.nodes:
        return ()
    findings = []
    for row in gathered.api.nodes:
        if row.pressures:
            answer = blocking if row.role == "control-plane" else warning
            hint = f"make room on {row.name}: crictl rmi --prune; df -h"
            findings.append(answer(name, f"{row.name} reports {listed(row.pressures)}", hint, row.name))
    return tuple(findings) or (ok(name, "no node is under pressure"),)


def nodes_schedulable(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """No node was left cordoned by someone."""
    name = "nodes-schedulable"
    if not gathered.api.nodes:
        return ()
    cordoned = [row.name for row in gathered.api.nodes if row.unschedulable]
    if not cordoned:
        return (ok(name, "no node is cordoned"),)
    return tuple(
        warning(name, f"{node} is cordoned", f"if that was forgotten: kubectl uncordon {node}", node)
        for node in cordoned
    )


def disruption_budgets_allow(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """No disruption budget forbids every eviction: a drain would wait for ever."""
    name = "disruption-budgets-allow"
    findings = []
    for budget in gathered.api.budgets:
        if budget.disruptions_allowed > 0:
            continue
        pods = [pod for pod in gathered.api.pods if in_budget(budget, pod)]
        nodes = sorted({pod.node for pod in pods if pod.node})
        if nodes:
            findings.append(
                warning(
                    name,
                    f"{budget.namespace}/{budget.name} allows no eviction now; its pods are on {listed(nodes)}",
                    f"give it room before the drain: kubectl -n {budget.namespace} describe pdb {budget.name}",
                    f"{budget.namespace}/{budget.name}",
                )
            )
    return tuple(findings) or (
        ok(name, f"{len(gathered.api.budgets)} disruption budget(s), none in the way of a drain"),
    )


def pods_can_leave(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """No pod keeps a drain from its end: `kubectl drain` refuses pods without a controller, or with an emptyDir.

    kubectl (pkg/drain/filters.go).
    """
    name = "pods-can-leave"
    settings = gathered.drain
    going = [pod for pod in gathered.api.pods if pod.is_drained and pod.node and pod.node not in settings.skipped]
    bare = [pod for pod in going if not pod.owner_kind]
    local = [pod for pod in going if pod.keeps_local_data]
    findings = []
    if bare and not settings.force:
        findings.append(
            blocking(
                name,
                f"a drain refuses pods that no controller makes again: {_shown(bare)}",
                "give them a controller or delete them, or let them go with upgrade.drain_force = true: "
                f"kubectl -n {bare[0].namespace} get pod {bare[0].name} -o yaml",
            )
        )
    elif bare:
        hint = f"keep what they are made of: kubectl -n {bare[0].namespace} get pod {bare[0].name} -o yaml"
        findings.append(warning(name, f"the drains remove pods that nobody makes again: {_shown(bare)}", hint))
    if local and not settings.delete_emptydir:
        findings.append(
            blocking(
                name,
                f"a drain refuses pods with an emptyDir: {_shown(local)}",
                "let their content go with upgrade.drain_delete_emptydir = true, or skip the drain of that node: "
                f"{table_of(local[0].node)} drain = false",
            )
        )
    elif local:
        hint = "see which of them matter: kubectl get pods -A -o wide"
        findings.append(warning(name, f"the drains delete what these pods keep in an emptyDir: {_shown(local)}", hint))
    return tuple(findings) or (ok(name, f"{len(going)} pod(s) can leave their nodes"),)


def _shown(pods: list[PodRow]) -> str:
    return listed(f"{pod.namespace}/{pod.name} on {pod.node}" for pod in pods)


def in_budget(budget: Budget, pod: PodRow) -> bool:
    """Does the budget select the pod? Pods of daemon sets and static pods are not evicted by a drain."""
    if pod.owner_kind in ("DaemonSet", "Node") or pod.mirror or pod.phase in ("Succeeded", "Failed"):
        return False
    return budget.protects(pod.namespace, pod.labels)


def clocks_agree(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """The clocks of the nodes agree with this machine's."""
    name = "clocks-agree"
    findings = []
    known = [node for node in gathered.nodes if node.clock_offset is not None]
    for node in known:
        offset = node.clock_offset or 0.0
        if abs(offset) > CLOCK_TOLERANCE:
            findings.append(
                warning(
                    name,
                    f"{node.name}: its clock is {abs(offset):.0f} s {'ahead' if offset > 0 else 'behind'}",
                    f"look on {node.name}: timedatectl; chronyc tracking",
                    node.name,
                )
            )
    return tuple(findings) or ((ok(name, "the clocks agree"),) if known else ())
