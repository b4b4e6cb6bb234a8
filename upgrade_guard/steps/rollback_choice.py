"""How far back a rollback goes: the least destructive path that surely works, chosen from what was changed."""

from __future__ import annotations

from enum import Enum

from upgrade_guard.errors import CommandFailed, GuardError, HostUnreachable
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.run import ApprovalRecord
from upgrade_guard.model.step import Done, Facts, NotDone, Seen, Step
from upgrade_guard.model.step_results import KUBEADM_WORK, files_of, of_node
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps import control_plane_back, lost_nodes
from upgrade_guard.steps.snapshot import bundle_of, kubeadm_backups
from upgrade_guard.steps.step_helpers import SIGHT, observation, until
from upgrade_guard.vault import node_files

CHOICE = "rollback/path"
EVERYTHING = "rollback/everything"


class Path(Enum):
    """How far back: packages only; files and packages; one control plane while the others serve; or etcd with
    everything.
    """

    PACKAGES = "packages"
    FILES = "files"
    ALONE = "alone"
    WHOLE = "whole"


def choose(site: Site, cluster: Cluster, everything: ApprovalRecord | None = None) -> Step:
    """Look at what was changed. Whatever cannot be told apart from a new component that ran takes the whole way, but
    where it ran on one control plane only while the others serve.
    """

    def look(facts: Facts) -> Seen:
        path, why = chosen(site, cluster, facts)
        records: tuple[ApprovalRecord, ...] = ()
        if path is Path.ALONE and everything is not None:
            path, why, records = Path.WHOLE, everything.subject, (everything,)
        if path is Path.WHOLE:
            lost_nodes.refuse_minority(cluster, lost_nodes.silence(facts))
        result = {"path": path.value, "why": why}
        if path is Path.ALONE:
            result["node"] = next(node.name for node in cluster.control_planes if kubeadm_began(node, facts))
        return Done(result, records)

    return observation(CHOICE, "choose the way back", look, lasting=True)


def control_plane_touched(cluster: Cluster, facts: Facts) -> bool:
    """Has kubeadm run on any control plane in this run?"""
    return any(kubeadm_began(node, facts) for node in cluster.control_planes)


def kubeadm_began(node: Node, facts: Facts) -> bool:
    """Has kubeadm begun to upgrade this control plane in this run?"""
    return any(facts.touched(of_node("control-plane", node.name, work)) for work in KUBEADM_WORK)


def chosen(site: Site, cluster: Cluster, facts: Facts, *, patience: float = SIGHT) -> tuple[Path, str]:
    """The path and the reason for it. `patience` in seconds is for an API that is only coming up."""
    if not control_plane_touched(cluster, facts):
        return Path.PACKAGES, "only packages were changed"
    ran = {node.name: why for node in cluster.control_planes if (why := _what_ran(site, node, facts))}
    if not ran:
        return Path.FILES, "no component of the new version ran on any control plane"
    if len(ran) == 1 and not set(lost_nodes.absent(facts)) & {node.name for node in cluster.control_planes}:
        name = next(iter(ran))
        if _others_are_as_before(site, cluster, cluster.node(name), patience):
            return Path.ALONE, f"the new version ran on {name} alone, and the others serve the old one"
    return Path.WHOLE, next(iter(ran.values()))


def _what_ran(site: Site, node: Node, facts: Facts) -> str:
    """Why a component of the new version may have run on this control plane; "" where none did."""
    tools = site.on(node)
    if node.name in lost_nodes.absent(facts):
        return f"{node.name} does not answer, and kubeadm had begun to change it" if kubeadm_began(node, facts) else ""
    listing = bundle_of(site, facts).manifest.node_files[node.name]
    try:
        changed = node_files.differences(tools.files, listing, manifests=True)
        moved = kubeadm_moved_manifests(site, node, facts)
    except HostUnreachable:
        raise  # asked again; what it would say decides
    except CommandFailed as problem:
        if problem.exit_status is None:
            raise HostUnreachable(
                f"{node.name} cannot say in time what ran there: {problem.message}", hint=problem.hint
            ) from problem
        return f"{node.name} cannot say what ran there: {problem.message}"
    except GuardError as problem:
        return f"{node.name} cannot say what ran there: {problem.message}"
    if changed:
        return f"the manifests of {node.name} are new: {changed[0].path}"
    return f"kubeadm had replaced manifests of {node.name}: {moved}" if moved else ""


def _others_are_as_before(site: Site, cluster: Cluster, node: Node, patience: float) -> bool:
    """Do the others serve, at the old version, a cluster that kubeadm has not recorded as upgraded?

    kubeadm records it before it changes add-ons and what all nodes share (cmd/upgrade/apply.go).
    """
    others = [one for one in cluster.control_planes if one.name != node.name]

    def look() -> Seen:
        seen = control_plane_back.others_serve(site, cluster, node)
        if not isinstance(seen, Done):
            return seen
        served = {str(site.api_server(other).version()) for other in others}
        recorded = site.kubectl(others[0]).kubeadm_config().kubernetes_version
        return Done() if {*served, recorded} == {cluster.version} else NotDone("they are not at the old version")

    return bool(others) and isinstance(until(site.clock, patience, look), Done)


def kubeadm_moved_manifests(site: Site, node: Node, facts: Facts) -> str:
    """A manifest that kubeadm moved aside in this run, so that its successor was in force for a while; else ""."""
    before = facts.of(files_of(node.name))["kubeadm_backups"]
    return next((path for path in kubeadm_backups(site.on(node)) if path not in before), "")


def packages_touched(cluster: Cluster, facts: Facts) -> bool:
    """Was the package source or kubeadm of the first control plane changed in this run?"""
    first = cluster.control_planes[0].name
    return facts.touched(f"plan/{first}/package-source") or facts.touched(f"plan/{first}/kubeadm")


def widen(everything: ApprovalRecord | None) -> Step:
    """A person wants everything back where one control plane would have gone back alone."""

    def look(_: Facts) -> Seen:
        return Done({"asked": True}, () if everything is None else (everything,))

    return observation(EVERYTHING, "take everything back, as was asked for", look, lasting=True)
