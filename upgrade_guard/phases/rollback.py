"""The way back: the least destructive path that surely works, and which one it is, on the record."""

from __future__ import annotations

from enum import Enum

from upgrade_guard.errors import GuardError, StepFailed
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.run import Event
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.model.version import Version
from upgrade_guard.phases import etcd_restore, failed_state, node_work, old_control_plane, packages
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


def rollback(site: Site, cluster: Cluster, facts: Facts) -> tuple[Phase, ...]:
    """What is still ahead of a rollback. The path is chosen first and journalled; then the engine asks again."""
    choice = Phase("rollback-choose", "Choose the way back", (choose(site, cluster),))
    if not facts.has(CHOICE):
        return (choice,)
    path = Path(facts.of(CHOICE)["path"])
    ways = {Path.PACKAGES: packages_only, Path.FILES: files_and_packages, Path.WHOLE: whole}
    before = {node.name: Version.parse(node.kubelet_version) for node in cluster.nodes}
    confirm = Phase(
        "rollback-verify",
        "Verification",
        comparison(site, cluster, before, Version.parse(cluster.version), "rollback/verify"),
        event=Event.ROLLBACK_CONFIRMED,
    )
    ground = () if path is Path.PACKAGES else (Phase("rollback-bundle", "The bundle", (sound_bundle(site),)),)
    return (choice, *ground, *ways[path](site, cluster, facts), confirm)


def choose(site: Site, cluster: Cluster) -> Step:
    """Look at what was changed. Whatever cannot be told apart from a new component that ran takes the whole way."""

    def look(facts: Facts) -> Seen:
        path, why = chosen(site, cluster, facts)
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
    """Was kubeadm ever let loose on a control plane in this run?"""
    return any(
        facts.touched(f"control-plane/{node.name}/{work}") for node in cluster.control_planes for work in _KUBEADM
    )


_KUBEADM = ("apply", "upgrade-node")


def chosen(site: Site, cluster: Cluster, facts: Facts) -> tuple[Path, str]:
    """The path and the reason for it."""
    if not control_plane_touched(cluster, facts):
        return Path.PACKAGES, "only packages were changed"
    bundle = bundle_of(site, facts)
    for node in cluster.control_planes:
        tools = site.on(node)
        try:
            changed = node_files.differences(tools.files, bundle.manifest.node_files[node.name], manifests=True)
            moved = kubeadm_moved_manifests(site, node, facts)
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


def packages_only(site: Site, cluster: Cluster, facts: Facts) -> tuple[Phase, ...]:
    """(a) Packages, holds and package source; no component was changed."""
    first = cluster.control_planes[0]
    if not (facts.touched(f"plan/{first.name}/package-source") or facts.touched(f"plan/{first.name}/kubeadm")):
        return ()
    return (
        Phase(
            "rollback-packages",
            "Packages back",
            (packages.put_back(site, first, f"rollback/{first.name}/packages"),),
        ),
    )


def files_and_packages(site: Site, cluster: Cluster, _: Facts) -> tuple[Phase, ...]:
    """(b) Node files and packages; etcd's data is kept, because nothing new ever wrote to it."""
    planes = cluster.control_planes
    steps: list[Step] = []
    for node in planes:
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
    return (Phase("rollback-files", "Files and packages back", tuple(steps)),)


def whole(site: Site, cluster: Cluster, facts: Facts) -> tuple[Phase, ...]:
    """(c) Everything: etcd's data, files and packages of every control plane together, then the touched workers."""
    planes = cluster.control_planes
    run_id = facts.run_id
    width = len(planes)
    return (
        failed_state.keep(site, cluster),
        # Whatever can be done, and can fail, while etcd and perhaps the API still serve comes before they are stopped.
        Phase(
            "rollback-fetch",
            "Fetch the old packages",
            tuple(packages.fetch_back(site, node, packages_fetched(node)) for node in planes),
            at_once=width,
        ),
        *etcd_restore.prepare(site, cluster, run_id),
        *quiesce(site, cluster, run_id),
        etcd_restore.swap_all(site, cluster, run_id),
        Phase(
            "rollback-files",
            "Files and packages back",
            tuple(
                step
                for node in planes
                for step in (
                    files_back(site, node, manifests=False),
                    packages.put_back(
                        site, node, f"rollback/{node.name}/packages", lane=node.name, fetched=packages_fetched(node)
                    ),
                )
            ),
            at_once=width,
        ),
        *start(site, cluster),
        *all_nodes(site, cluster, facts),
    )


def packages_fetched(node: Node) -> str:
    """The step that fetches the old packages of that node."""
    return f"rollback/{node.name}/packages-fetched"


def start(site: Site, cluster: Cluster) -> tuple[Phase, ...]:
    """Manifests back and kubelet on, on every control plane; then etcd and the API are waited for."""
    planes = cluster.control_planes
    return (
        Phase(
            "rollback-start",
            "Start the old control plane",
            tuple(
                step
                for node in planes
                for step in (files_back(site, node, manifests=True), old_control_plane.start_kubelet(site, node))
            ),
            at_once=len(planes),
        ),
        Phase(
            "rollback-wait",
            "Wait for the old control plane",
            (old_control_plane.etcd_agrees(site, cluster), old_control_plane.api_ready(site, cluster)),
        ),
    )


def all_nodes(site: Site, cluster: Cluster, facts: Facts) -> tuple[Phase, ...]:
    """Every node and everything that watches the API learns of the restored state."""
    return (
        Phase(
            "rollback-nodes",
            "Every node",
            old_control_plane.every_node(site, cluster, facts),
            at_once=max(1, len(cluster.nodes)),
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
