"""The containers of a node's own control plane."""

from __future__ import annotations

from upgrade_guard.model.cluster import COMPONENTS, Node
from upgrade_guard.nodes.node_tools import NodeTools
from upgrade_guard.tools.containers import Container


def components(tools: NodeTools, node: Node) -> tuple[Container, ...]:
    """Those of the node's four static pods, ended ones too. A name alone does not tell: tenants run an `etcd` too."""
    return tuple(one for one in tools.containers.all() if one.name in COMPONENTS and one.is_of_static_pod(node.name))


def running(tools: NodeTools, node: Node) -> dict[str, str]:
    """Container id to component, for those that run."""
    return {one.id: one.name for one in components(tools, node) if one.running}
