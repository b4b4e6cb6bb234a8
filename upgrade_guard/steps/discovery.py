"""Find the cluster: from one control plane to all nodes, what runs there and what is installed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from upgrade_guard.checks.addons import recognise
from upgrade_guard.checks.gather_node import read_installed
from upgrade_guard.errors import CommandFailed, GuardError, HostUnreachable, StepFailed, UnexpectedOutput
from upgrade_guard.model.cluster import COMPONENTS, Cluster, Node
from upgrade_guard.model.etcd import MemberStatus
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.node_tools import NodeTools
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.lost_nodes import silent
from upgrade_guard.tools.api_server import own_url
from upgrade_guard.tools.etcd_manifest import read_etcd_manifest
from upgrade_guard.tools.etcdctl import Etcdctl
from upgrade_guard.tools.files import read_if_there
from upgrade_guard.tools.kubectl_objects import NodeRow
from upgrade_guard.tools.static_pod import image_of


def read_nodes(site: Site, rows: Sequence[NodeRow]) -> tuple[Node, ...]:
    """Those nodes, the control plane that the configuration names first, then control planes and workers by name.

    Raises HostUnreachable that names every node that could not be reached, not only the first.
    """
    nodes: list[Node] = []
    unreachable: list[HostUnreachable] = []
    lost: list[str] = []
    for row in rows:
        node = _from_row(row)
        try:
            nodes.append(_with_its_own_words(site.on(node), node))
        except HostUnreachable as problem:
            unreachable.append(problem)
            lost.append(row.name)
    if unreachable:
        raise HostUnreachable(
            f"{len(lost)} of {len(rows)} nodes cannot be reached: {', '.join(lost)}",
            hint=unreachable[0].hint,
            reasons=tuple(problem.message for problem in unreachable),
        )
    return tuple(sorted(nodes, key=lambda node: (not node.is_control_plane, not site.is_entrance(node), node.name)))


def left_out(site: Site, rows: Sequence[NodeRow]) -> dict[str, str]:
    """The workers that are not upgraded, with the reason.

    Also one whose machine is gone: the others need not wait for it. A Ready one that does not answer is no such worker:
    the way to it is wrong, which is told as a refusal.
    """
    found = {row.name: why for row in rows if (why := why_left_out(site, row))}
    doubtful = [row for row in rows if row.role != "control-plane" and not row.ready and row.name not in found]
    lost = silent(site, [_from_row(row) for row in doubtful])
    return found | {
        row.name: f"it is not Ready ({row.ready_reason}) and its machine does not answer"
        for row in doubtful
        if row.name in lost
    }


def why_left_out(site: Site, row: NodeRow) -> str:
    """Why a worker is not upgraded: "" for every other node. kubeadm knows neither Windows nor what is no machine."""
    if row.role == "control-plane":
        return ""
    if row.system != "linux":
        return f"it runs {row.system}"
    settings = site.settings(row.name)
    if not settings.upgrade:
        return "the configuration leaves it out"
    if not row.internal_ip and not settings.address:
        return "it has no InternalIP and no address in the configuration: it may be no machine (virtual-kubelet)"
    return ""


def read_control_planes(site: Site) -> tuple[Node, ...]:
    """The control planes with their etcd manifests and API servers, and no more: enough to find and to ask them."""
    found = []
    for row in site.first_control_plane().kubectl.nodes():
        node = _from_row(row)
        if node.is_control_plane:
            tools = site.on(node)
            manifests = tools.settings.manifests_dir
            etcd = read_if_there(tools.files, f"{manifests}/etcd.yaml")
            api_server = read_if_there(tools.files, f"{manifests}/kube-apiserver.yaml") or ""
            url = own_url(api_server, node.internal_ip)
            found.append(replace(node, etcd=read_etcd_manifest(etcd)[0], api_server=url))
    return tuple(found)


def read_cluster(site: Site) -> Cluster:
    """The whole cluster. etcd's own facts are empty when none of its members answers: the checks then say why.

    etcd's programs are extracted on the way, into our own work directory on each control plane and on this machine.
    """
    kubectl = site.first_control_plane().kubectl
    rows = kubectl.nodes()
    not_upgraded = left_out(site, rows)
    nodes = read_nodes(site, [row for row in rows if row.name not in not_upgraded])
    ensure_etcd_tools(site, nodes)
    status = _leader_status(site, nodes)
    return Cluster(
        name=site.config.cluster.name or kubectl.kubeadm_config().cluster_name,
        version=_version(site, nodes),
        nodes=nodes,
        etcd_cluster_id=str(status.cluster_id) if status else "",
        etcd_version=status.version if status else "",
        etcd_db_size=status.db_size if status else 0,
        addons=recognise(kubectl.workloads()),
        left_out=not_upgraded,
    )


def ensure_etcd_tools(site: Site, nodes: tuple[Node, ...]) -> dict[str, str]:
    """Extract etcd's own programs on every control plane; where they are, by node."""
    found = {}
    for node in nodes:
        if node.etcd is not None:
            site.ensure_etcd_tools(node)
            found[node.name] = site.etcd_tools_directory(node)
    return found


def answering_etcdctl(site: Site, nodes: tuple[Node, ...]) -> Etcdctl | None:
    """etcdctl on the first control plane whose own member answers; None when none does."""
    for node in nodes:
        if node.etcd is None:
            continue
        etcdctl = site.etcdctl(node)
        try:
            etcdctl.endpoint_status(cluster=False)
        except HostUnreachable:
            raise
        except GuardError:
            continue
        return etcdctl
    return None


def _leader_status(site: Site, nodes: tuple[Node, ...]) -> MemberStatus | None:
    etcdctl = answering_etcdctl(site, nodes)
    if etcdctl is None:
        return None
    try:
        statuses = etcdctl.endpoint_status()
    except CommandFailed:
        return None
    return next((status for status in statuses if status.is_leader), statuses[0] if statuses else None)


def _from_row(row: NodeRow) -> Node:
    return Node(
        name=row.name,
        role=row.role,
        internal_ip=row.internal_ip,
        kubelet_version=row.kubelet_version,
        runtime=row.runtime,
        unschedulable=row.unschedulable,
    )


def _with_its_own_words(tools: NodeTools, node: Node) -> Node:
    """Add what only the node itself knows: packages, holds, their source, and on a control plane its manifests."""
    installed = read_installed(tools) or {}
    seen = replace(
        node,
        packages=dict(installed),
        holds=tools.apt.holds() if installed else (),
        package_source=read_if_there(tools.files, tools.settings.package_source),
    )
    if not node.is_control_plane:
        return seen
    manifests = tools.settings.manifests_dir
    texts = {component: read_if_there(tools.files, f"{manifests}/{component}.yaml") for component in COMPONENTS}
    images = {component: _image(tools, component, text) for component, text in texts.items() if text is not None}
    url = own_url(texts["kube-apiserver"] or "", node.internal_ip)
    return replace(seen, etcd=read_etcd_manifest(texts["etcd"])[0], manifests=images, api_server=url)


def _image(tools: NodeTools, component: str, text: str) -> str:
    """The image that a manifest names. A run compares with it later, so none is no answer."""
    try:
        return image_of(text, component)
    except UnexpectedOutput as problem:
        path = f"{tools.settings.manifests_dir}/{component}.yaml"
        raise UnexpectedOutput(
            f"{path} on {tools.name} is no static pod: {problem.message}",
            hint=f"Look at it on {tools.name} (cat {path}), and try again.",
        ) from None


def _version(site: Site, nodes: tuple[Node, ...]) -> str:
    """The oldest API server by image tag, as kubeadm itself reads it; what they say where tags are no releases."""
    found = []
    for node in nodes:
        image = node.manifests.get("kube-apiserver", "")
        try:
            found.append(Version.parse(image.partition("@")[0].rpartition(":")[2]))
        except ValueError:
            continue
    return str(min(found) if found else oldest_served(site, tuple(node for node in nodes if node.is_control_plane)))


def oldest_served(site: Site, planes: tuple[Node, ...]) -> Version:
    """The oldest version that one of these control planes serves itself: in a half-done upgrade they differ."""
    if not planes:
        return site.first_control_plane().endpoint.version()
    return min(site.api_server(node).version() for node in planes)


def require_control_plane(cluster: Cluster) -> None:
    """Raises StepFailed when no node has the label of a control plane."""
    if not cluster.control_planes:
        raise StepFailed(
            "no node of this cluster is labelled as a control plane",
            hint="kubeadm labels them; look: kubectl get nodes --show-labels",
        )
