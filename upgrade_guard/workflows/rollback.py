"""The way back: the least destructive path that surely works, and which one it is, on the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from upgrade_guard.errors import DecisionNeeded, HostUnreachable, StepFailed
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.run import ApprovalRecord, Event
from upgrade_guard.model.step import Done, Facts, Phase, Seen, Step
from upgrade_guard.model.step_results import ALONE, ROLLBACK, StepName
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps import control_plane_back, etcd_restore, kubelet, lost_nodes, packages
from upgrade_guard.steps.files_back import bundled_files_back
from upgrade_guard.steps.rollback_choice import CHOICE, EVERYTHING, Path, choose, packages_touched, widen
from upgrade_guard.steps.snapshot import bundle_of, copies_of, problems_of
from upgrade_guard.steps.step_helpers import observation
from upgrade_guard.steps.verify import comparison, manifests_as_before
from upgrade_guard.workflows.whole_rollback import whole, whole_later


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
    gone = lost_nodes.given_up(facts)
    alone_too = everything or facts.has(EVERYTHING)

    def is_left(name: StepName) -> bool:
        if name.stage != ROLLBACK:
            return False
        return (name.node in gone and name.work != etcd_restore.REMOVE_MEMBER) or (alone_too and name.within == ALONE)

    return tuple(text for text in sorted(facts.started) if is_left(StepName.of(text)))


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
            kubelet.restart_kubelet(
                site,
                cluster,
                node,
                Version.parse(node.kubelet_version),
                f"rollback/{node.name}/kubelet-restart",
                node.name,
            )
        )
        steps.append(kubelet.uncordon(site, cluster, node, f"rollback/{node.name}/uncordon", node.name))
    return (Phase("rollback-files", "Files and packages back", tuple(steps)),) if steps else ()


def one_alone(site: Site, cluster: Cluster, node: Node) -> tuple[Phase, ...]:
    """(d) The only control plane on which the new version ran, while the others serve; etcd keeps its data."""
    return (
        Phase(
            "rollback-alone",
            "One control plane back",
            tuple(
                _or_ask(cluster, step)
                for step in control_plane_back.back(site, cluster, node, f"rollback/{node.name}/alone")
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
