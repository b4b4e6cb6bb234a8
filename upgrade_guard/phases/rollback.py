"""The way back: the least destructive path that surely works, and which one it is, on the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from types import MappingProxyType

from upgrade_guard.errors import CommandFailed, GuardError, HostUnreachable, StepFailed
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.run import ApprovalRecord, Event
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step, always
from upgrade_guard.model.version import Version
from upgrade_guard.phases import etcd_restore, failed_state, lost_nodes, node_work, old_control_plane, packages
from upgrade_guard.phases.kubeadm_work import refuse_unfinished
from upgrade_guard.phases.looking import observation
from upgrade_guard.phases.quiesce import quiesce
from upgrade_guard.phases.site import Site
from upgrade_guard.phases.snapshot import bundle_of, kubeadm_backups, problems_of
from upgrade_guard.phases.verify import comparison
from upgrade_guard.vault import node_files

CHOICE = "rollback/path"


class Path(Enum):
    """How far back: packages only; files and packages; or etcd with everything (DESIGN: rollback a, b, c)."""

    PACKAGES = "packages"
    FILES = "files"
    WHOLE = "whole"


def rollback(
    site: Site,
    cluster: Cluster,
    facts: Facts,
    approvals: Mapping[str, ApprovalRecord] = MappingProxyType({}),
) -> tuple[Phase, ...]:
    """What is still ahead of a rollback. What is decided on the way is journalled; then the engine asks again.

    It begins with the machines that answer. The others go back in the same way once they answer, unless `approvals`, by
    node, say that a person gave them up; only then is the whole verified.
    """
    restores = facts.has(CHOICE) and Path(facts.of(CHOICE)["path"]) is Path.WHOLE
    answering = lost_nodes.see_who_answers(site, cluster, needs_majority=restores)
    choice = Phase("rollback-choose", "Choose the way back", (answering, choose(site, cluster)), decides=True)
    if not facts.has(CHOICE):
        return (choice,)
    path = Path(facts.of(CHOICE)["path"])
    missing = lost_nodes.absent(facts)
    ground = () if path is Path.PACKAGES else (Phase("rollback-bundle", "The bundle", (sound_bundle(site),)),)
    now = lost_nodes.without(cluster, missing)
    ways = {Path.PACKAGES: packages_only, Path.FILES: files_and_packages, Path.WHOLE: whole}
    phases = (choice, *ground, *ways[path](site, cluster, now, facts))
    if not missing:
        return (*phases, confirm(site, cluster))
    step = lost_nodes.behind(site, cluster, missing, approvals)
    phases = (*phases, Phase("rollback-behind", "Nodes that are behind", (step,), decides=True))
    lost = lost_nodes.given_up(facts)
    stay = lost_nodes.without(cluster, lost)
    late = lost_nodes.only(stay, missing)
    later = {Path.PACKAGES: packages_only, Path.FILES: files_and_packages, Path.WHOLE: whole_later}
    if late.nodes:
        phases = (*phases, *later[path](site, stay, late, facts))
    gone = [node for node in cluster.control_planes if node.name in lost]
    if gone:
        steps = tuple(etcd_restore.remove_member(site, stay, node) for node in gone)
        phases = (*phases, Phase("rollback-give-up", "Members that were given up", steps))
    return (*phases, confirm(site, stay, without=lost))


def confirm(site: Site, cluster: Cluster, without: tuple[str, ...] = ()) -> Phase:
    """The cluster against its baseline, `without` the nodes that were given up."""
    before = {node.name: Version.parse(node.kubelet_version) for node in cluster.nodes}
    serving = Version.parse(cluster.version)
    return Phase(
        "rollback-verify",
        "Verification",
        comparison(site, cluster, before, serving, "rollback/verify", without=without, restored=True),
        event=Event.ROLLBACK_CONFIRMED,
    )


def given_up_steps(facts: Facts) -> tuple[str, ...]:
    """What was begun of the way back on nodes that a person has given up since: it is not finished any more."""
    gone = tuple(f"rollback/{name}/" for name in lost_nodes.given_up(facts))
    ours = "/remove-member"
    return tuple(name for name in sorted(facts.started) if name.startswith(gone) and not name.endswith(ours))


def choose(site: Site, cluster: Cluster) -> Step:
    """Look at what was changed. Whatever cannot be told apart from a new component that ran takes the whole way."""

    def look(facts: Facts) -> Seen:
        path, why = chosen(site, cluster, facts)
        if path is Path.WHOLE:
            lost_nodes.refuse_minority(cluster, lost_nodes.silence(facts))
        return Done({"path": path.value, "why": why})

    return observation(CHOICE, "choose the way back", look, lasting=True)


def sound_bundle(site: Site) -> Step:
    """The bundle can take the cluster back: seen before anything is stopped for it."""

    def look(facts: Facts) -> Seen:
        bundle = bundle_of(site, facts)
        problems = problems_of(bundle, facts)
        if problems:
            made = [facts.of(name) for name in facts.results if name.startswith("copy/") and name != "copy/enough"]
            copies = ", ".join(f"{one['target'].rstrip('/')}/{bundle.name}" for one in made if one["read_back"])
            raise StepFailed(
                "the bundle cannot take the cluster back as it is; nothing was stopped",
                hint=f"put its copy ({copies}) in the place of {bundle.path}, then: upgrade-guard resume",
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


def chosen(site: Site, cluster: Cluster, facts: Facts) -> tuple[Path, str]:
    """The path and the reason for it."""
    if not control_plane_touched(cluster, facts):
        return Path.PACKAGES, "only packages were changed"
    bundle = bundle_of(site, facts)
    for node in cluster.control_planes:
        tools = site.on(node)
        if node.name in lost_nodes.absent(facts):
            if kubeadm_began(node, facts):
                return Path.WHOLE, f"{node.name} does not answer, and kubeadm had begun to change it"
            continue
        try:
            changed = node_files.differences(tools.files, bundle.manifest.node_files[node.name], manifests=True)
            moved = kubeadm_moved_manifests(site, node, facts)
        except HostUnreachable:
            raise  # asked again; what it would say decides
        except CommandFailed as problem:
            if problem.exit_status is None:
                raise HostUnreachable(
                    f"{node.name} cannot say in time what ran there: {problem.message}", hint=problem.hint
                ) from problem
            return Path.WHOLE, f"{node.name} cannot say what ran there: {problem.message}"
        except GuardError as problem:
            return Path.WHOLE, f"{node.name} cannot say what ran there: {problem.message}"
        if changed:
            return Path.WHOLE, f"the manifests of {node.name} are new: {changed[0].path}"
        if moved:
            return Path.WHOLE, f"kubeadm had replaced manifests of {node.name}: {moved}"
    return Path.FILES, "no component of the new version ran on any control plane"


def kubeadm_moved_manifests(site: Site, node: Node, facts: Facts) -> str:
    """A manifest that kubeadm moved aside in this run, so that its successor was in force for a while; else ""."""
    before = facts.of(f"snapshot/files/{node.name}")["kubeadm_backups"]
    return next((path for path in kubeadm_backups(site.on(node)) if path not in before), "")


def packages_only(site: Site, cluster: Cluster, going: Cluster, facts: Facts) -> tuple[Phase, ...]:
    """(a) Packages, holds and package source of the first control plane; no component was changed."""
    first = cluster.control_planes[0]
    if first not in going.nodes:
        return ()
    if not (facts.touched(f"plan/{first.name}/package-source") or facts.touched(f"plan/{first.name}/kubeadm")):
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
        steps.append(files_back(site, node, manifests=False))
        steps.append(packages.put_back(site, node, f"rollback/{node.name}/packages", lane=node.name))
        steps.append(files_back(site, node, manifests=True))
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


def whole(site: Site, cluster: Cluster, going: Cluster, facts: Facts) -> tuple[Phase, ...]:
    """(c) Everything: etcd's data, files and packages of every control plane together, then the touched workers."""
    return (
        *data_and_files(site, cluster, going, facts.run_id),
        *start(site, going),
        *all_nodes(site, going, facts),
    )


def whole_later(site: Site, cluster: Cluster, late: Cluster, facts: Facts) -> tuple[Phase, ...]:
    """The same for nodes that did not answer before: same snapshot, same members, same token, so that they belong to
    the cluster that the others made. The others serve meanwhile and are not touched.
    """
    planes = late.control_planes
    nodes = Phase(
        "rollback-nodes-later",
        "Nodes that were behind",
        old_control_plane.every_node(site, cluster, late, facts),
        at_once=max(1, len(late.nodes)),
        goes_on=always,
        pauses=True,
    )
    watchers = Phase(
        "rollback-watchers-later",
        "Renew what watches the API",
        (old_control_plane.renew_watchers(site, cluster, "rollback/watchers-later"),),
    )
    if not planes:
        return (nodes, watchers)
    joined = tuple(
        step
        for node in planes
        for step in (
            old_control_plane.etcd_agrees(site, cluster, f"rollback/{node.name}/etcd-agrees"),
            old_control_plane.api_ready(site, cluster, f"rollback/{node.name}/api-ready"),
        )
    )
    return (
        *data_and_files(site, cluster, late, facts.run_id, rest=f"rollback/{planes[0].name}/at-rest"),
        start_phase(site, planes),
        Phase("rollback-wait-later", "Wait for the control planes that were behind", joined),
        nodes,
        watchers,
    )


def data_and_files(
    site: Site, cluster: Cluster, going: Cluster, run_id: str, rest: str = "rollback/at-rest"
) -> tuple[Phase, ...]:
    """Stop the control planes of `going`, and put etcd's data, files and packages back there, manifests not yet.

    `cluster` has every member of the restored etcd, those that are restored later too.
    """
    planes = going.control_planes
    width = len(planes)
    return (
        failed_state.keep(site, going),
        # Whatever can be done, and can fail, while etcd and perhaps the API still serve comes before they are stopped.
        Phase(
            "rollback-fetch",
            "Fetch the old packages",
            tuple(packages.fetch_back(site, node, packages_fetched(node)) for node in planes),
            at_once=width,
        ),
        *etcd_restore.prepare(site, going, run_id, members=cluster),
        *quiesce(site, going, run_id, rest, meanwhile=tuple(step for node in planes for step in host_back(site, node))),
        etcd_restore.swap_all(site, going, run_id),
    )


def host_back(site: Site, node: Node) -> tuple[Step, ...]:
    """The old files (without manifests) and packages, while the containers end: they need only a stopped kubelet.

    The packages last: a bundle that was taken again has the package source of the new minor.
    """
    lane = f"files and packages of {node.name}"
    files = replace(files_back(site, node, manifests=False), lane=lane)
    name = f"rollback/{node.name}/packages"
    return (files, packages.put_back(site, node, name, lane=lane, fetched=packages_fetched(node)))


def packages_fetched(node: Node) -> str:
    """The step that fetches the old packages of that node."""
    return f"rollback/{node.name}/packages-fetched"


def start(site: Site, cluster: Cluster) -> tuple[Phase, ...]:
    """Manifests back and kubelet on, on every control plane; then etcd and the API are waited for."""
    return (
        start_phase(site, cluster.control_planes),
        Phase(
            "rollback-wait",
            "Wait for the old control plane",
            (old_control_plane.etcd_agrees(site, cluster), old_control_plane.api_ready(site, cluster)),
            at_once=2,
        ),
    )


def start_phase(site: Site, planes: tuple[Node, ...]) -> Phase:
    """Manifests back and kubelet on."""
    return Phase(
        "rollback-start",
        "Start the old control plane",
        tuple(
            step
            for node in planes
            for step in (files_back(site, node, manifests=True), old_control_plane.start_kubelet(site, node))
        ),
        at_once=len(planes),
    )


def all_nodes(site: Site, cluster: Cluster, facts: Facts) -> tuple[Phase, ...]:
    """Every node and everything that watches the API learns of the restored state."""
    return (
        Phase(
            "rollback-nodes",
            "Every node",
            old_control_plane.every_node(site, cluster, cluster, facts),
            at_once=max(1, len(cluster.nodes)),
            goes_on=always,
            pauses=True,
        ),
        Phase("rollback-watchers", "Renew what watches the API", (old_control_plane.renew_watchers(site, cluster),)),
    )


def files_back(site: Site, node: Node, *, manifests: bool) -> Step:
    """The node's files as in the bundle, what was added since moved aside. Manifests last: kubelet acts on them."""
    tools = site.on(node)
    what = "manifests" if manifests else "files"

    def probe(facts: Facts) -> Seen:
        listing = bundle_of(site, facts).manifest.node_files[node.name]
        left = node_files.differences(tools.files, listing, manifests=manifests)
        if left:
            return NotDone(f"{len(left)} files of {node.name} differ, first {left[0].path} ({left[0].kind})")
        return Done()

    def act(facts: Facts) -> None:
        refuse_unfinished(tools)
        bundle = bundle_of(site, facts)
        aside = f"{tools.settings.work_dir}/aside-{facts.run_id}"
        node_files.put_back(
            tools.files,
            bundle.manifest.node_files[node.name],
            bundle.node_archive(node.name),
            aside,
            manifests=manifests,
        )

    return Step(
        f"rollback/{node.name}/{what}",
        f"put the {what} of {node.name} back",
        probe,
        act,
        changes_node=True,
        lane=node.name,
    )
