"""No pod runs twice after a restore: what a node began since the snapshot ends before its kubelet hears of the old API.

The restored API still binds a pod to the node where it was, while it runs on the node to which it was moved since. Both
would run until the second kubelet has looked around, with the same volumes perhaps.
"""

from __future__ import annotations

from collections.abc import Iterable

from upgrade_guard.checks.nodes import CLOCK_TOLERANCE
from upgrade_guard.errors import StepFailed
from upgrade_guard.model.cluster import Node
from upgrade_guard.model.step import Done, Facts, NotDone, Seen, Step
from upgrade_guard.model.step_results import first_of_each_node
from upgrade_guard.nodes.site import NodeTools, Site
from upgrade_guard.steps.snapshot import bundle_of
from upgrade_guard.steps.step_helpers import noting
from upgrade_guard.tools.containers import Container, Sandbox

GRACE = 30
"""Seconds that a pod has to end: what Kubernetes gives where a pod names none (terminationGracePeriodSeconds)."""

GRACE_WHILE_AWAY = 10
"""The same on a control plane, where the API is away meanwhile."""

MARGIN = CLOCK_TOLERANCE
"""Seconds by which a node's clock may be behind: a pod that the snapshot knows and that is ended is only restarted."""

NOT_FENCED = "not_fenced"


def stop_kubelets(site: Site, workers: Iterable[Node]) -> tuple[Step, ...]:
    """No worker hears of the restored API before what it began since is ended. One that cannot be stopped is noted."""
    return tuple(noting(_stop_kubelet(site, node), NOT_FENCED) for node in workers)


def fence(site: Site, nodes: Iterable[Node], grace: int) -> tuple[Step, ...]:
    """End the pods that each node began since the snapshot. A node where that fails is noted and holds nobody up."""
    return tuple(noting(_fence(site, node, grace), NOT_FENCED) for node in nodes)


def not_fenced(facts: Facts) -> dict[str, str]:
    """Nodes on which a pod may have run twice for a while, and why."""
    return first_of_each_node(facts, NOT_FENCED)


def begun_since(sandboxes: Iterable[Sandbox], containers: Iterable[Container], since: float) -> dict[str, str]:
    """Running containers, by id, of the pods that a node began after `since` (seconds since 1970): `namespace/pod`.

    A pod never changes its node (Kubernetes, pod lifecycle), so one that ran here before was bound to this node in the
    snapshot as well. Static pods are no objects of the API.
    """
    first: dict[str, Sandbox] = {}
    for one in sandboxes:
        if one.pod_uid not in first or one.created < first[one.pod_uid].created:
            first[one.pod_uid] = one
    begun = {uid: one for uid, one in first.items() if one.created > since and not one.is_of_static_pod}
    return {one.id: f"{one.namespace}/{one.pod}" for one in containers if one.running and one.pod_uid in begun}


def _stop_kubelet(site: Site, node: Node) -> Step:
    tools = site.on(node)
    unit = tools.settings.kubelet_unit

    def probe(_: Facts) -> Seen:
        state = tools.systemctl.state(unit)
        return Done() if state in ("inactive", "failed") else NotDone(f"kubelet on {node.name} is {state}")

    def act(_: Facts) -> None:
        tools.systemctl.stop(unit)

    summary = f"stop kubelet on {node.name}"
    return Step(
        f"rollback/{node.name}/stop-kubelet", summary, probe, act, changes_node=True, lane=f"kubelet of {node.name}"
    )


def _fence(site: Site, node: Node, grace: int) -> Step:
    tools = site.on(node)
    ended: set[str] = set()

    def probe(facts: Facts) -> Seen:
        left = _left(site, tools, facts)
        if left:
            return NotDone(f"{_listed(left.values())} on {node.name} began after the snapshot and still runs")
        return Done({"ended": sorted(ended)})

    def act(facts: Facts) -> None:
        if tools.systemctl.is_active(tools.settings.kubelet_unit):
            raise StepFailed(f"kubelet on {node.name} runs, and would start again what is ended")
        left = _left(site, tools, facts)
        tools.containers.stop(tuple(left), grace)
        ended.update(left.values())

    name, summary = f"rollback/{node.name}/fence", f"end what {node.name} began since the snapshot"
    return Step(name, summary, probe, act, changes_node=True, lane=f"pods of {node.name}")


def _left(site: Site, tools: NodeTools, facts: Facts) -> dict[str, str]:
    since = bundle_of(site, facts).manifest.taken_at.timestamp() - MARGIN
    return begun_since(tools.containers.sandboxes(), tools.containers.all(), since)


def _listed(pods: Iterable[str]) -> str:
    names = sorted(set(pods))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
