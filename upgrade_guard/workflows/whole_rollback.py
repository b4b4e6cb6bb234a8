"""The whole way back: etcd's data, files and packages of all control planes together, then every node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.step import Facts, Phase, Step, always
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps import (
    cron_jobs,
    etcd_restore,
    failure_archive,
    fencing,
    lost_writes,
    old_control_plane,
    packages,
)
from upgrade_guard.steps.files_back import bundled_files_back
from upgrade_guard.steps.quiesce import Rest, quiesce
from upgrade_guard.vault import node_files


def whole(site: Site, cluster: Cluster, going: Cluster, facts: Facts) -> tuple[Phase, ...]:
    """(c) Everything: etcd's data, files and packages of every control plane together, then the touched workers."""
    return (
        *data_and_files(site, cluster, going, facts.run_id, held=going.workers),
        *start(site, going),
        *nodes_and_watchers(site, going, going, facts),
    )


def whole_later(site: Site, cluster: Cluster, late: Cluster, facts: Facts) -> tuple[Phase, ...]:
    """The same for nodes that did not answer before: same snapshot, same members, same token, so that they belong to
    the cluster that the others made. The others serve meanwhile and are not touched.
    """
    planes = late.control_planes
    nodes = nodes_and_watchers(site, cluster, late, facts, suffix="-later")
    if not planes:
        return nodes
    joined = tuple(
        step
        for node in planes
        for step in (
            old_control_plane.etcd_agrees(site, cluster, f"rollback/{node.name}/etcd-agrees"),
            old_control_plane.api_ready(site, cluster, f"rollback/{node.name}/api-ready"),
        )
    )
    return (
        *data_and_files(site, cluster, late, facts.run_id, at_rest=f"rollback/{planes[0].name}/at-rest"),
        start_phase(site, planes),
        Phase("rollback-wait-later", "Wait for the control planes that were behind", joined),
        *nodes,
    )


def data_and_files(
    site: Site,
    cluster: Cluster,
    going: Cluster,
    run_id: str,
    at_rest: str = "rollback/at-rest",
    held: tuple[Node, ...] = (),
) -> tuple[Phase, ...]:
    """Stop the control planes of `going`, and put etcd's data, files and packages back there, manifests not yet.

    `cluster` has every member of the restored etcd, those that are restored later too. The kubelets of the workers
    `held` are stopped as well.
    """
    planes = going.control_planes
    width, rest = len(planes), Rest()
    meanwhile = (
        *(step for node in planes for step in host_back(site, node)),
        *fencing.fence(site, planes, fencing.GRACE_WHILE_AWAY),
        *fencing.stop_kubelets(site, held),
    )
    return (
        failure_archive.keep(site, going),
        # Whatever can be done, and can fail, while etcd and perhaps the API still serve comes before they are stopped.
        Phase(
            "rollback-fetch",
            "Fetch the old packages",
            tuple(packages.fetch_back(site, node, packages_fetched(node)) for node in planes),
            at_once=width,
        ),
        *etcd_restore.prepare(site, going, run_id, members=cluster),
        *quiesce(site, going, run_id, rest, at_rest, meanwhile),
        etcd_restore.swap_all(site, going, run_id, rest),
    )


def host_back(site: Site, node: Node) -> tuple[Step, ...]:
    """The old files (without manifests) and packages, while the containers end: they need only a stopped kubelet.

    The packages last: a bundle that was taken again has the package source of the new minor.
    """
    lane = f"files and packages of {node.name}"
    files = replace(bundled_files_back(site, node, manifests=False), lane=lane)
    name = f"rollback/{node.name}/packages"
    return (files, packages.put_back(site, node, name, lane=lane, fetched=packages_fetched(node)))


def packages_fetched(node: Node) -> str:
    """The step that fetches the old packages of that node."""
    return f"rollback/{node.name}/packages-fetched"


def start(site: Site, cluster: Cluster) -> tuple[Phase, ...]:
    """Manifests back and kubelet on, on every control plane; then etcd and the API are waited for, while workers end
    what they began since the snapshot. The controllers of the cluster start last.
    """
    planes, fences = cluster.control_planes, fencing.fence(site, cluster.workers, fencing.GRACE)
    return (
        start_phase(site, planes, cron_jobs.but_their_controller),
        Phase(
            "rollback-wait",
            "Wait for the old control plane",
            (
                old_control_plane.etcd_agrees(site, cluster),
                lost_writes.write_down(site, cluster),
                old_control_plane.api_ready(site, cluster),
                *fences,
            ),
            at_once=2 + len(fences),
        ),
        cron_jobs.before_their_controller(site, cluster),
    )


def start_phase(site: Site, planes: tuple[Node, ...], which: Callable[[str], bool] = node_files.every) -> Phase:
    """Manifests back and kubelet on. `which` says of a manifest whether it is meant."""
    return Phase(
        "rollback-start",
        "Start the old control plane",
        tuple(
            step
            for node in planes
            for step in (
                bundled_files_back(site, node, manifests=True, which=which),
                old_control_plane.start_kubelet(site, node),
            )
        ),
        at_once=len(planes),
    )


def nodes_and_watchers(
    site: Site, cluster: Cluster, going: Cluster, facts: Facts, *, suffix: str = ""
) -> tuple[Phase, ...]:
    """Every node of `going`, and everything that watches the API, learns of the restored state."""
    return (
        Phase(
            f"rollback-nodes{suffix}",
            "Nodes that were behind" if suffix else "Every node",
            old_control_plane.every_node(site, cluster, going, facts),
            at_once=max(1, len(going.nodes)),
            goes_on=always,
            pauses=True,
        ),
        Phase(
            f"rollback-watchers{suffix}",
            "Renew what watches the API",
            (old_control_plane.renew_watchers(site, cluster, f"rollback/watchers{suffix}"),),
        ),
    )
