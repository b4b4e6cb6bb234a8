"""The way back: the least destructive path that surely works, and which one it is, on the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from types import MappingProxyType

from upgrade_guard.errors import CommandFailed, DecisionNeeded, GuardError, HostUnreachable, StepFailed
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.run import ApprovalRecord, Event
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.model.version import Version
from upgrade_guard.phases import (
    etcd_restore,
    lost_nodes,
    node_work,
    one_plane,
    packages,
)
from upgrade_guard.phases.files_back import bundled_files_back
from upgrade_guard.phases.looking import SIGHT, observation, until
from upgrade_guard.phases.site import Site
from upgrade_guard.phases.snapshot import bundle_of, copies_of, kubeadm_backups, problems_of
from upgrade_guard.phases.verify import comparison, manifests_as_before
from upgrade_guard.phases.whole_way import whole, whole_later
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


def rollback(
    site: Site,
    cluster: Cluster,
    facts: Facts,
    approvals: Mapping[str, ApprovalRecord] = MappingProxyType({}),
    everything: ApprovalRecord | None = None,
) -> tuple[Phase, ...]:
    """What is still ahead of a rollback. What is decided on the way is journalled; then the engine asks again.

    It begins with the machines that answer. The others go back in the same way once they answer, unless `approvals`, by
    node, say that a person gave them up; only then is the whole verified. With `everything` a person wants the data
    back too where one control plane would have gone back alone.
    """
    path = Path(facts.of(CHOICE)["path"]) if facts.has(CHOICE) else None
    alone: tuple[Phase, ...] = ()
    if path is Path.ALONE and (everything is not None or facts.has(EVERYTHING)):
        alone, path = (Phase("rollback-everything", "Everything goes back", (widen(everything),)),), Path.WHOLE
    elif path is Path.ALONE:
        alone = one_alone(site, cluster, cluster.node(facts.of(CHOICE)["node"]))
    answering = lost_nodes.see_who_answers(site, cluster, needs_majority=path is Path.WHOLE)
    choose_it = (answering, choose(site, cluster, everything))
    choice = Phase("rollback-choose", "Choose the way back", choose_it, decides=True)
    if path is None:
        return (choice,)
    missing = lost_nodes.absent(facts)
    ground = () if path is Path.PACKAGES else (Phase("rollback-bundle", "The bundle", (sound_bundle(site),)),)
    now = lost_nodes.without(cluster, missing)
    ways = {Path.PACKAGES: packages_only, Path.FILES: files_and_packages, Path.WHOLE: whole}
    way = ways[path](site, cluster, now, facts) if path in ways else ()
    phases = (choice, *ground, *alone, *way)
    files = path is not Path.PACKAGES
    if not missing:
        return (*phases, confirm(site, cluster, files=files))
    step = lost_nodes.behind(site, cluster, missing, approvals)
    phases = (*phases, Phase("rollback-behind", "Nodes that are behind", (step,), decides=True))
    lost = lost_nodes.given_up(facts)
    stay = lost_nodes.without(cluster, lost)
    late = lost_nodes.only(stay, missing)
    later = {**ways, Path.WHOLE: whole_later}
    if late.nodes and path in later:  # where one control plane goes back alone, no other node was touched
        phases = (*phases, *later[path](site, stay, late, facts))
    gone = [node for node in cluster.control_planes if node.name in lost]
    if gone:
        steps = tuple(etcd_restore.remove_member(site, stay, node) for node in gone)
        phases = (*phases, Phase("rollback-give-up", "Members that were given up", steps))
    return (*phases, confirm(site, stay, without=lost, files=files))


def confirm(site: Site, cluster: Cluster, without: tuple[str, ...] = (), *, files: bool) -> Phase:
    """The cluster against its baseline, `without` the nodes that were given up; where `files` went back, those too."""
    before = {node.name: Version.parse(node.kubelet_version) for node in cluster.nodes}
    serving = Version.parse(cluster.version)
    return Phase(
        "rollback-verify",
        "Verification",
        (
            *((manifests_as_before(site, cluster, "rollback/verify"),) if files else ()),
            *comparison(site, cluster, before, serving, "rollback/verify", without=without, restored=True),
        ),
        event=Event.ROLLBACK_CONFIRMED,
    )


def given_up_steps(facts: Facts, *, everything: bool = False) -> tuple[str, ...]:
    """What was begun and is not finished any more: on nodes that a person has given up since, and of the way back of
    one control plane where a person wants `everything` back since.
    """
    gone = tuple(f"rollback/{name}/" for name in lost_nodes.given_up(facts))
    ours = "/remove-member"
    left = [name for name in sorted(facts.started) if name.startswith(gone) and not name.endswith(ours)]
    if everything or facts.has(EVERYTHING):
        left += [name for name in sorted(facts.started) if name.startswith("rollback/") and "/alone/" in name]
    return tuple(left)


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


def sound_bundle(site: Site) -> Step:
    """The bundle can take the cluster back: seen before anything is stopped for it."""

    def look(facts: Facts) -> Seen:
        bundle = bundle_of(site, facts)
        problems = problems_of(bundle, facts)
        if problems:
            raise StepFailed(
                "the bundle cannot take the cluster back as it is; nothing was stopped",
                hint=f"put its copy ({copies_of(bundle.name, facts)}) in the place of {bundle.path}, "
                "then: upgrade-guard resume",
                reasons=problems,
            )
        return Done({"bundle": bundle.name})

    return observation("rollback/bundle", "see that the bundle can take the cluster back", look, lasting=True)


def control_plane_touched(cluster: Cluster, facts: Facts) -> bool:
    """Has kubeadm run on any control plane in this run?"""
    return any(kubeadm_began(node, facts) for node in cluster.control_planes)


def kubeadm_began(node: Node, facts: Facts) -> bool:
    """Has kubeadm begun to upgrade this control plane in this run?"""
    return any(facts.touched(f"control-plane/{node.name}/{work}") for work in _KUBEADM)


_KUBEADM = ("apply", "upgrade-node")


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
        seen = one_plane.others_serve(site, cluster, node)
        if not isinstance(seen, Done):
            return seen
        served = {str(site.api_server(other).version()) for other in others}
        recorded = site.kubectl(others[0]).kubeadm_config().kubernetes_version
        return Done() if {*served, recorded} == {cluster.version} else NotDone("they are not at the old version")

    return bool(others) and isinstance(until(site.clock, patience, look), Done)


def kubeadm_moved_manifests(site: Site, node: Node, facts: Facts) -> str:
    """A manifest that kubeadm moved aside in this run, so that its successor was in force for a while; else ""."""
    before = facts.of(f"snapshot/files/{node.name}")["kubeadm_backups"]
    return next((path for path in kubeadm_backups(site.on(node)) if path not in before), "")


def packages_touched(cluster: Cluster, facts: Facts) -> bool:
    """Was the package source or kubeadm of the first control plane changed in this run?"""
    first = cluster.control_planes[0].name
    return facts.touched(f"plan/{first}/package-source") or facts.touched(f"plan/{first}/kubeadm")


def packages_only(site: Site, cluster: Cluster, going: Cluster, facts: Facts) -> tuple[Phase, ...]:
    """(a) Packages, holds and package source of the first control plane; no component was changed."""
    first = cluster.control_planes[0]
    if first not in going.nodes:
        return ()
    if not packages_touched(cluster, facts):
        return ()
    return (
        Phase(
            "rollback-packages",
            "Packages back",
            (packages.put_back(site, first, f"rollback/{first.name}/packages"),),
        ),
    )


def files_and_packages(site: Site, cluster: Cluster, going: Cluster, _: Facts) -> tuple[Phase, ...]:
    """(b) Node files and packages; etcd's data is kept, because nothing new ever wrote to it."""
    steps: list[Step] = []
    for node in going.control_planes:
        steps.append(bundled_files_back(site, node, manifests=False))
        steps.append(packages.put_back(site, node, f"rollback/{node.name}/packages", lane=node.name))
        steps.append(bundled_files_back(site, node, manifests=True))
        steps.append(
            node_work.restart_kubelet(
                site,
                cluster,
                node,
                Version.parse(node.kubelet_version),
                f"rollback/{node.name}/kubelet-restart",
                node.name,
            )
        )
        steps.append(node_work.uncordon(site, cluster, node, f"rollback/{node.name}/uncordon", node.name))
    return (Phase("rollback-files", "Files and packages back", tuple(steps)),) if steps else ()


def one_alone(site: Site, cluster: Cluster, node: Node) -> tuple[Phase, ...]:
    """(d) The only control plane on which the new version ran, while the others serve; etcd keeps its data."""
    return (
        Phase(
            "rollback-alone",
            "One control plane back",
            tuple(
                _or_ask(cluster, step) for step in one_plane.back(site, cluster, node, f"rollback/{node.name}/alone")
            ),
        ),
    )


def _or_ask(cluster: Cluster, step: Step) -> Step:
    """The same step; where it fails a person decides, because the other control planes serve."""

    def act(facts: Facts) -> None:
        try:
            step.act(facts)
        except HostUnreachable:
            raise
        except StepFailed as problem:
            raise DecisionNeeded(
                f"{problem.message.rstrip('.')}; the other control planes serve the old version",
                hint="cure it and type `upgrade-guard resume`; to take everything back, etcd's data too: "
                f"`upgrade-guard rollback --everything --confirm-cluster {cluster.name}`",
                reasons=problem.reasons,
            ) from problem

    return replace(step, act=act)


def widen(everything: ApprovalRecord | None) -> Step:
    """A person wants everything back where one control plane would have gone back alone."""

    def look(_: Facts) -> Seen:
        return Done({"asked": True}, () if everything is None else (everything,))

    return observation(EVERYTHING, "take everything back, as was asked for", look, lasting=True)
