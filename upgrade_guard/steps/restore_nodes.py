"""The nodes that the restored API knows, and how each of them is now."""

from __future__ import annotations

from dataclasses import replace

from upgrade_guard.checks.gather_node import read_installed
from upgrade_guard.errors import HostUnreachable
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.codec import from_json, to_json
from upgrade_guard.model.step import Done, Facts, NotDone, Seen, Step
from upgrade_guard.model.step_results import RESTORE, first_of_each_node
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.discovery import why_left_out
from upgrade_guard.steps.packages import installed_version
from upgrade_guard.steps.step_helpers import observation
from upgrade_guard.tools.kubectl_objects import NodeRow

NODES = "restore/nodes"
GIVEN_UP = "given_up"


def see_nodes(site: Site, cluster: Cluster) -> Step:
    """Every node that the restored API knows. A worker that cannot be reached does not hold the others up."""

    def look(_: Facts) -> Seen:
        rows = [row for row in site.any_api(cluster).nodes() if not why_left_out(site, row)]
        known = {node.name: node for node in cluster.nodes}
        nodes, unreachable = [], {}
        for row in rows:
            node = replace(known.get(row.name) or _worker(row), unschedulable=row.unschedulable)
            try:
                nodes.append(node if node.name in known else _with_its_version(site, node))
            except HostUnreachable as problem:
                unreachable[row.name] = problem.message
        missing = [name for name in known if name not in {row.name for row in rows}]
        if missing:
            return NotDone(f"the API knows no node {', '.join(missing)} yet")
        nodes.sort(key=lambda node: (not node.is_control_plane, node.name))
        whole = replace(cluster, nodes=tuple(nodes))
        return Done({"cluster": to_json(whole), "unreachable": unreachable, "newer": _newer(whole)})

    return observation(NODES, "read the nodes out of the restored API", look, lasting=True)


def given_up(facts: Facts) -> dict[str, str]:
    """The workers that did not come up, and why: the first reason of each."""
    return first_of_each_node(facts, GIVEN_UP, (RESTORE,))


def in_service(facts: Facts) -> Cluster:
    """The nodes that were reached and came up. Raises KeyError before they were read."""
    cluster = from_json(Cluster, facts.of(NODES)["cluster"])
    without = given_up(facts)
    return replace(cluster, nodes=tuple(node for node in cluster.nodes if node.name not in without))


def _worker(row: NodeRow) -> Node:
    return Node(row.name, row.role, row.internal_ip, row.kubelet_version, row.runtime)


def _with_its_version(site: Site, node: Node) -> Node:
    """The kubelet that is installed there: what the API says of it is as old as the snapshot."""
    tools = site.on(node)
    installed = read_installed(tools) or {}
    version = installed_version(installed.get("kubelet", ""))
    tools.systemctl.state(tools.settings.kubelet_unit)  # where there is no dpkg, this says whether it is reached
    return replace(node, kubelet_version=str(version) if version else node.kubelet_version, packages=dict(installed))


def _newer(cluster: Cluster) -> list[str]:
    """Nodes whose kubelet is newer than the restored API server, which Kubernetes does not support (skew policy)."""
    serving = Version.parse(cluster.version)
    return [
        f"{node.name} {node.kubelet_version}"
        for node in cluster.workers
        if (Version.parse(node.kubelet_version).major, Version.parse(node.kubelet_version).minor)
        > (serving.major, serving.minor)
    ]
