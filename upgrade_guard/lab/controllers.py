"""What kube-controller-manager and kube-scheduler do, as far as an upgrade can see it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from upgrade_guard.lab import objects
from upgrade_guard.lab.layout import LabSettings
from upgrade_guard.lab.records import NodeRecord
from upgrade_guard.lab.world import Object, World, labels_match, now_text

UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
NOT_READY = {"effect": "NoExecute", "key": "node.kubernetes.io/unreachable"}


def judge_nodes(settings: LabSettings, records: Mapping[str, NodeRecord], world: World) -> None:
    """A node whose kubelet has been silent for longer than the grace period is not ready."""
    for node in world.kind("nodes"):
        record = records.get(node["metadata"]["name"])
        silent = record.kubelet.silent_since if record else 0.0
        if silent and not (record and record.kubelet.works) and time.time() - silent > settings.grace:
            objects.set_ready(node, "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")


def collect_orphans(world: World) -> None:
    """Remove the pods of nodes that are gone (kube-controller-manager, pod garbage collector)."""
    there = {node["metadata"]["name"] for node in world.kind("nodes")}
    for pod in list(world.kind("pods")):
        if pod["spec"].get("nodeName", "") not in ("", *there):
            world.remove(pod)


def keep_daemon_sets(world: World) -> None:
    """One pod of every daemon set on every node, of the current template."""
    for daemon_set in list(world.kind("daemonsets")):
        _drop_outdated(daemon_set, _owned(daemon_set, world), world)
        living = [pod for pod in _owned(daemon_set, world) if "deletionTimestamp" not in pod["metadata"]]
        for node in list(world.kind("nodes")):
            name = node["metadata"]["name"]
            if not tolerates(daemon_set["spec"]["template"]["spec"].get("tolerations", ()), node):
                continue
            if not any(pod["spec"].get("nodeName") == name for pod in living):
                _create(daemon_set, world, node_name=name)


def keep_deployments(world: World) -> None:
    """As many pods as a deployment wants, of the current template."""
    for deployment in list(world.kind("deployments")):
        _drop_outdated(deployment, _owned(deployment, world), world)
        living = [pod for pod in _owned(deployment, world) if "deletionTimestamp" not in pod["metadata"]]
        wanted = deployment["spec"].get("replicas", 1)
        for _ in range(wanted - len(living)):
            _create(deployment, world)
        for pod in living[wanted:] if len(living) > wanted else ():
            mark_deleted(pod, world)


def schedule(world: World) -> None:
    """Bind pending pods to the node with the fewest pods that takes them; say so when there is none."""
    nodes = list(world.kind("nodes"))
    for pod in list(world.kind("pods")):
        if pod["spec"].get("nodeName") or "deletionTimestamp" in pod["metadata"]:
            continue
        fitting = [node for node in nodes if _takes(node, pod)]
        if fitting:
            count = {node["metadata"]["name"]: _reluctance(node, pod) for node in fitting}
            for other in world.kind("pods"):
                name = other["spec"].get("nodeName")
                if name in count:
                    # Replicas of one workload spread before anything else counts.
                    count[name] += 100 if _same_owner(other, pod) else 1
            pod["spec"]["nodeName"] = min(count, key=lambda name: (count[name], name))
            continue
        message = (
            f"0/{len(nodes)} nodes are available: {len(nodes)} node(s) were unschedulable or had untolerated taints."
        )
        condition = {"message": message, "reason": "Unschedulable", "status": "False", "type": "PodScheduled"}
        pod["status"] = {"conditions": [condition], "phase": "Pending", "qosClass": "BestEffort"}


def report(world: World) -> None:
    """The status of workloads and disruption budgets, from their pods."""
    for plural in ("daemonsets", "deployments"):
        for workload in world.kind(plural):
            owned = _owned(workload, world)
            ready = sum(1 for pod in owned if objects.is_ready(pod))
            if plural == "daemonsets":
                workload["status"] = {
                    "currentNumberScheduled": len(owned),
                    "desiredNumberScheduled": len(owned),
                    "numberAvailable": ready,
                    "numberMisscheduled": 0,
                    "numberReady": ready,
                    "observedGeneration": workload["metadata"]["generation"],
                    "updatedNumberScheduled": len(owned),
                }
            else:
                workload["status"] = {
                    "availableReplicas": ready,
                    "observedGeneration": workload["metadata"]["generation"],
                    "readyReplicas": ready,
                    "replicas": len(owned),
                    "updatedReplicas": len(owned),
                }
    for budget in world.kind("poddisruptionbudgets"):
        judge_budget(budget, world)


def judge_budget(budget: Object, world: World) -> int:
    """How many of its pods may be disrupted now; written into its status."""
    namespace, spec = budget["metadata"]["namespace"], budget["spec"]
    pods = [pod for pod in world.kind("pods", namespace) if labels_match(spec["selector"]["matchLabels"], pod)]
    healthy = sum(1 for pod in pods if objects.is_ready(pod) and "deletionTimestamp" not in pod["metadata"])
    expected = max(
        (
            workload["spec"].get("replicas", 1)
            for workload in world.kind("deployments", namespace)
            if labels_match(spec["selector"]["matchLabels"], workload["spec"]["template"])
        ),
        default=len(pods),
    )
    desired = spec["minAvailable"] if "minAvailable" in spec else expected - spec["maxUnavailable"]
    allowed = int(max(healthy - desired, 0))
    budget["status"] = {
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": allowed,
        "expectedPods": expected,
        "observedGeneration": budget["metadata"].get("generation", 1),
    }
    return allowed


def budgets_of(pod: Object, world: World) -> list[Object]:
    """The disruption budgets that cover a pod."""
    namespace = pod["metadata"]["namespace"]
    return [
        budget
        for budget in world.kind("poddisruptionbudgets", namespace)
        if labels_match(budget["spec"]["selector"]["matchLabels"], pod)
    ]


def mark_deleted(pod: Object, world: World) -> None:
    """Delete a pod through the API: at once when nothing runs it, otherwise its kubelet ends it."""
    if not pod["spec"].get("nodeName") or pod["spec"].get("terminationGracePeriodSeconds") == 0:
        world.remove(pod)
        return
    pod["metadata"].setdefault("deletionTimestamp", now_text())
    pod["metadata"].setdefault("deletionGracePeriodSeconds", pod["spec"].get("terminationGracePeriodSeconds", 30))


def tolerates(tolerations: Iterable[Object], node: Object) -> bool:
    """May a pod with these tolerations be put on the node, as far as taints say?"""
    taints = [taint for taint in node["spec"].get("taints", ()) if taint["effect"] != "PreferNoSchedule"]
    return all(any(_tolerates_one(one, taint) for one in tolerations) for taint in taints)


def _tolerates_one(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if not toleration.get("key"):
        return toleration.get("operator") == "Exists"
    return bool(toleration["key"] == taint["key"])


def _takes(node: Object, pod: Object) -> bool:
    spec = pod["spec"]
    status = node["status"]
    if status["nodeInfo"].get("operatingSystem", "linux") != "linux" or not status.get("addresses"):
        return False  # nobody runs it there: a node of the lab that is no machine of the lab
    tolerations = list(spec.get("tolerations", ()))
    cordoned = {"effect": "NoSchedule", "key": UNSCHEDULABLE}
    if node["spec"].get("unschedulable") and not any(_tolerates_one(one, cordoned) for one in tolerations):
        return False
    if not labels_match(spec.get("nodeSelector", {}), node):
        return False
    if not objects.is_ready(node) and not any(_tolerates_one(one, NOT_READY) for one in tolerations):
        return False
    return tolerates(tolerations, node)


def _reluctance(node: Object, pod: Object) -> int:
    """A taint with the effect PreferNoSchedule counts more than any spreading."""
    tolerations = pod["spec"].get("tolerations", ())
    soft = [taint for taint in node["spec"].get("taints", ()) if taint["effect"] == "PreferNoSchedule"]
    return 0 if all(any(_tolerates_one(one, taint) for one in tolerations) for taint in soft) else 10_000


def _owned(workload: Object, world: World) -> list[Object]:
    uid = workload["metadata"]["uid"]
    return [
        pod
        for pod in world.kind("pods", workload["metadata"]["namespace"])
        if any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences", ()))
    ]


def _same_owner(one: Object, other: Object) -> bool:
    owners = {owner["uid"] for owner in one["metadata"].get("ownerReferences", ())}
    return any(owner["uid"] in owners for owner in other["metadata"].get("ownerReferences", ()))


def _drop_outdated(workload: Object, pods: list[Object], world: World) -> None:
    current = objects.template_hash(workload)
    for pod in pods:
        labels = pod["metadata"]["labels"]
        if labels.get("pod-template-hash", labels.get("controller-revision-hash")) != current:
            mark_deleted(pod, world)


def _create(workload: Object, world: World, *, node_name: str = "") -> None:
    metadata, template = workload["metadata"], workload["spec"]["template"]
    generation = objects.template_hash(workload)
    label = "pod-template-hash" if workload["kind"] == "Deployment" else "controller-revision-hash"
    middle = f"-{generation}" if workload["kind"] == "Deployment" else ""
    world.put(
        objects.pod(
            metadata["namespace"],
            f"{metadata['name']}{middle}-{objects.suffix()}",
            labels={**template["metadata"]["labels"], label: generation},
            owner=objects.owner_of(workload),
            template=template["spec"],
            node_name=node_name,
        )
    )
