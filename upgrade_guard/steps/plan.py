"""The plan of the target's kubeadm, a person's yes, and then that kubeadm on the first control plane."""

from __future__ import annotations

from typing import Protocol

from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.run import ApprovalRecord, Event
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.model.step_results import APPROVE_PLAN, CHECKS, KUBEADM_PLAN, files_of
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps import kubeadm, packages
from upgrade_guard.steps.canary import BEFORE as CANARY
from upgrade_guard.steps.staging import FETCHES_AT_ONCE


class Approve(Protocol):
    """Ask for a yes to `subject`, showing `shown` first. Raises DecisionNeeded on no, and where nobody can be asked."""

    def __call__(self, subject: str, shown: str, step: str) -> ApprovalRecord:
        """The approval, with who and how."""


def plan(site: Site, cluster: Cluster, target: Version, approve: Approve) -> Phase:
    """From copied to planned. Nothing is changed before the yes; the gate stands before the package source changes."""
    first = cluster.control_planes[0]
    old = Version.parse(cluster.version)
    prefix = f"plan/{first.name}"
    return Phase(
        "plan",
        "Plan",
        steps=(
            kubeadm.plan(site, first, target, KUBEADM_PLAN),
            approval(cluster, target, approve),
            packages.point_source(site, first, f"{prefix}/package-source", old, target),
            packages.install(site, first, f"{prefix}/kubeadm", target, ("kubeadm",)),
            packages.available(site, first, f"{prefix}/packages-available", target),
        ),
        event=Event.PLAN_APPROVED,
    )


def keeping(site: Site, cluster: Cluster) -> Phase:
    """The packages of now, on every node: before the source of any of them names the next minor."""
    steps = tuple(packages.keep(site, node) for node in cluster.nodes)
    return Phase("keep", "Keep the present packages", steps, at_once=FETCHES_AT_ONCE)


def approval(cluster: Cluster, target: Version, approve: Approve) -> Step:
    """A person, or the flag a person gave, says yes to the plan that was shown."""
    given: list[ApprovalRecord] = []

    def probe(_: Facts) -> Seen:
        if given:
            return Done({"by": given[-1].by, "how": given[-1].how}, records=(given[-1],))
        return NotDone("the plan is not approved yet")

    def act(facts: Facts) -> None:
        subject = f"Upgrade cluster {cluster.name} from {cluster.version} to {target}?"
        given.append(approve(subject, shown(facts, cluster), APPROVE_PLAN))

    return Step(APPROVE_PLAN, "approve the plan", probe, act)


def consequences(facts: Facts, cluster: Cluster) -> list[str]:
    """What the drains take with them, and what cannot be judged afterwards."""
    found = facts.of(CHECKS)["findings"] if facts.has(CHECKS) else ()
    told = [str(one["message"]) for one in found if one["check"] == "pods-can-leave"]
    told += [
        f"the way back of {node.name} needs the package repository: {facts.of(packages.kept_name(node))['why']}"
        for node in cluster.nodes
        if facts.has(packages.kept_name(node)) and facts.of(packages.kept_name(node))["why"]
    ]
    for node in cluster.control_planes:
        saved = facts.of(files_of(node.name)) if facts.has(files_of(node.name)) else {}
        if saved.get("left_out"):
            told.append(f"not in the bundle of {node.name}, because it is large: {', '.join(saved['left_out'])}")
    without = facts.of(CANARY)["why"] if facts.has(CANARY) else {}
    return told + [f"no new pod or service works on {node} now: {why}" for node, why in without.items()]


def shown(facts: Facts, cluster: Cluster) -> str:
    """kubeadm's table and what add-ons need, as an operator reads it before the yes."""
    rows = facts.of(KUBEADM_PLAN)["components"]
    width = max((len(f"{row['component']} {row['node']}") for row in rows), default=0)
    lines = [
        f"  {(row['component'] + ' ' + row['node']).ljust(width)}  {row['current']} -> {row['target']}" for row in rows
    ]
    lines += [f"  {addon.name}: {addon.advice}" for addon in cluster.addons if addon.advice]
    lines += [f"  {text}" for text in consequences(facts, cluster)]
    return "\n".join(lines)
