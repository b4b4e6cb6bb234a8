"""A control plane that goes back alone, while the others serve: nothing of what etcd holds is lost.

Until every member of etcd runs the new version the cluster stays at the lowest one, and a member may return to the old
program on the data that it has (etcd.io, upgrading etcd: "the cluster and its operations remain at the old version, and
it is possible from this mixed state to return"). API servers may be one minor apart (kubernetes.io, version skew).
"""

from __future__ import annotations

from dataclasses import replace

from upgrade_guard.errors import StepFailed
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.step import Done, Facts, NotDone, Seen, Step
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps import kubelet, packages
from upgrade_guard.steps.files_back import captured_in_bundle, files_back
from upgrade_guard.steps.step_helpers import required, until

KUBELET = ("kubelet", "kubectl")


def kubelet_lane(node: Node) -> str:
    """The lane of what is done to a control plane's kubelet, which goes back alone."""
    return f"{_KUBELET_OF}{node.name}"


def node_of(lane: str) -> str:
    """The node of a lane; "" where the lane is that of the whole cluster."""
    return lane.removeprefix(_KUBELET_OF)


_KUBELET_OF = "kubelet of "


def others_serve(site: Site, cluster: Cluster, node: Node) -> Seen:
    """Without this control plane: has etcd its majority, is every other API server ready, does the endpoint answer?"""
    others = [one for one in cluster.control_planes if one.name != node.name]
    if not others:
        return NotDone(f"{node.name} is the only control plane")
    healthy = sum(member.healthy for member in site.etcdctl(others[0]).endpoint_health(cluster=True))
    if 2 * healthy <= len(cluster.control_planes):
        return NotDone(f"{healthy} of {len(cluster.control_planes)} members of etcd are healthy")
    for other in others:
        if not site.api_server(other).ready():
            return NotDone(f"the API server of {other.name} is not ready")
    if not any(site.on(other).endpoint.ready() for other in others):
        return NotDone("the cluster's endpoint does not answer")
    return Done()


def back(site: Site, cluster: Cluster, node: Node, prefix: str) -> tuple[Step, ...]:
    """The whole node as the bundle has it: files, packages, manifests, kubelet; it serves again at the end.

    Nothing here is lasting: a node may fail twice in one run.
    """
    before = Version.parse(node.kubelet_version)
    captured = captured_in_bundle(site, node)
    etcd = f"{site.settings(node.name).manifests_dir}/etcd.yaml"
    manifests = files_back(site, node, f"{prefix}/manifests", captured, manifests=(True,))
    without_etcd = files_back(
        site, node, f"{prefix}/manifests", captured, manifests=(True,), which=lambda path: path != etcd
    )

    def chosen() -> Step:
        return manifests if runs_old_etcd(site, cluster, node) else without_etcd

    steps = (
        files_back(site, node, f"{prefix}/files", captured, manifests=(False,)),
        packages.put_back(site, node, f"{prefix}/packages", lane=node.name),
        replace(manifests, probe=lambda facts: chosen().probe(facts), act=lambda facts: chosen().act(facts)),
        kubelet.restart_kubelet(site, cluster, node, before, f"{prefix}/kubelet-restart", node.name),
        serves(site, cluster, node, f"{prefix}/serves"),
        kubelet.uncordon(site, cluster, node, f"{prefix}/uncordon", node.name),
    )
    return tuple(replace(step, lasting=False) for step in steps)


def runs_old_etcd(site: Site, cluster: Cluster, node: Node) -> bool:
    """Does another member still run the etcd of before? Then this one may return to it as well."""
    old = Version.parse(f"v{cluster.etcd_version}").series
    others = (one for one in cluster.control_planes if one.name != node.name)
    running = (site.etcdctl(other).endpoint_status(cluster=False)[0].version for other in others)
    return any(Version.parse(f"v{version}").series == old for version in running)


def serves(site: Site, cluster: Cluster, node: Node, name: str) -> Step:
    """Its API server is ready at the old version, and every member of etcd healthy: seen for a while."""

    def look() -> Seen:
        own = site.api_server(node)
        if not own.ready():
            return NotDone(f"the API server of {node.name} is not ready")
        served = own.version()
        if str(served) != cluster.version:
            return NotDone(f"the API server of {node.name} is {served}")
        sick = [one.endpoint for one in site.etcdctl(node).endpoint_health(cluster=True) if not one.healthy]
        return NotDone(f"etcd is not healthy at {', '.join(sick)}") if sick else Done()

    steady: list[bool] = []

    def probe(_: Facts) -> Seen:
        return look() if steady else NotDone(f"{node.name} was not seen to serve again yet")

    def act(_: Facts) -> None:
        options = site.config.upgrade
        required(
            until(site.clock, options.ready_timeout, look, steady=options.settle_time),
            f"{node.name} was put back and does not serve",
        )
        steady.append(True)

    return Step(name, f"wait until {node.name} serves as before", probe, act, lasting=False, lane=node.name)


def kubelet_back(site: Site, cluster: Cluster, node: Node, prefix: str) -> tuple[Step, ...]:
    """The old kubelet and kubectl, under a control plane that stays new: a kubelet may be older than its API server.

    kubeadm and the package source stay new: the next try needs them. So only the package files that were kept help.
    """
    tools = site.on(node)
    before = Version.parse(node.kubelet_version)
    lane = kubelet_lane(node)
    kubernetes, source = f"{tools.settings.kubernetes_dir}/", tools.settings.package_source

    def is_kubelets(path: str) -> bool:
        return not path.startswith(kubernetes) and path not in (source, kubernetes.rstrip("/"))

    steps = (
        files_back(
            site,
            node,
            f"{prefix}/files",
            captured_in_bundle(site, node),
            manifests=(False,),
            which=is_kubelets,
        ),
        _kept_kubelet(site, node, f"{prefix}/packages"),
        kubelet.restart_kubelet(site, cluster, node, before, f"{prefix}/kubelet-restart", lane),
        kubelet.uncordon(site, cluster, node, f"{prefix}/uncordon", lane),
    )
    return tuple(replace(step, lasting=False, lane=lane) for step in steps)


def _kept_kubelet(site: Site, node: Node, name: str) -> Step:
    tools = site.on(node)
    wanted = {package: node.packages[package] for package in KUBELET if package in node.packages}

    def probe(_: Facts) -> Seen:
        behind = packages.differing(tools, wanted)
        return NotDone(f"{', '.join(behind)} on {node.name}: not back at the version it had") if behind else Done()

    def act(facts: Facts) -> None:
        files = packages.kept_files(tools, node, facts, packages.differing(tools, wanted))
        if not files:
            raise StepFailed(
                f"the packages of the old kubelet are not on {node.name} any more",
                hint="upgrade-guard resume tries the new one again; upgrade-guard rollback takes everything back",
            )
        tools.apt.install_files(files)
        held = tuple(package for package in wanted if package in node.holds)
        if held:
            tools.apt.hold(held)

    return Step(name, f"put kubelet and kubectl of {node.name} back", probe, act, changes_node=True)
