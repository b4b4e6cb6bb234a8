"""What every node goes through after kubeadm: drain, kubelet and kubectl, restart, uncordon."""

from __future__ import annotations

from upgrade_guard.model.cluster import COMPONENTS, Cluster, Node
from upgrade_guard.model.step import Done, Facts, NotDone, Seen, Step
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.crash_watch import CRASHES, crashes_of
from upgrade_guard.steps.lost_nodes import refuse_lost
from upgrade_guard.steps.packages import install
from upgrade_guard.steps.step_helpers import NothingWillCome, required, seeing, until
from upgrade_guard.tools.kubectl import Kubectl


class NotThere(NotDone):
    """Not done, because the cluster has no such node any more."""


def renew_kubelet(
    site: Site, cluster: Cluster, node: Node, target: Version, prefix: str, lane: str
) -> tuple[Step, ...]:
    """Drain, install, restart, wait, uncordon: in the order of kubeadm's documentation (upgrading-linux-nodes)."""
    return (
        drain(site, cluster, node, f"{prefix}/drain", lane),
        install(site, node, f"{prefix}/kubelet-packages", target, ("kubelet", "kubectl"), lane=lane),
        restart_kubelet(site, cluster, node, target, f"{prefix}/kubelet-restart", lane),
        uncordon(site, cluster, node, f"{prefix}/uncordon", lane),
    )


def answering_api(site: Site, cluster: Cluster) -> Kubectl:
    """kubectl on a control plane whose API answers, waited for: static pods restart when their kubelet is renewed."""
    found: list[Kubectl] = []

    def look() -> Seen:
        found.append(site.any_api(cluster))
        return Done()

    until(site.clock, site.config.upgrade.ready_timeout, look)
    return found[-1] if found else site.any_api(cluster)


def drain(site: Site, cluster: Cluster, node: Node, name: str, lane: str) -> Step:
    """Evict what can be evicted. Done when the node is cordoned and only pods that a drain leaves alone remain, or that
    come back to a cordoned node. A node that the configuration does not want drained is left as it is.
    """
    options = site.config.upgrade

    def probe(_: Facts) -> Seen:
        if not site.settings(node.name).drain:
            return Done({"skipped": True})
        kubectl = site.any_api(cluster)
        row = {row.name: row for row in kubectl.nodes()}.get(node.name)
        if row is None:
            return NotThere(f"the API knows no node {node.name}")
        if not row.unschedulable:
            return NotDone(f"{node.name} still takes new pods")
        left = [f"{pod.namespace}/{pod.name}" for pod in kubectl.pods_on(node.name) if pod.is_drained]
        if left:
            return NotDone(f"{len(left)} pods are still on {node.name}: {', '.join(left[:3])}")
        return Done()

    def act(_: Facts) -> None:
        answering_api(site, cluster).drain(
            node.name,
            timeout=options.drain_timeout,
            force=options.drain_force,
            delete_emptydir=options.drain_delete_emptydir,
        )

    return Step(
        name,
        f"drain {node.name}",
        seeing(site.clock, site.config.upgrade.ready_timeout, probe),
        act,
        changes_node=True,
        lane=lane,
    )


def restart_kubelet(site: Site, cluster: Cluster, node: Node, target: Version, name: str, lane: str) -> Step:
    """daemon-reload (the package changed the unit), restart, and wait until the node is Ready at the target.

    A kubelet that systemd starts again and again is not waited for: it stays "activating", and nothing tells the API.
    """
    tools = site.on(node)
    unit = tools.settings.kubelet_unit

    def probe(_: Facts) -> Seen:
        return kubelet_at(site, cluster, node, target)

    def act(_: Facts) -> None:
        tools.systemctl.daemon_reload()
        tools.systemctl.restart(unit)
        before = tools.systemctl.restarts(unit)

        def look() -> Seen:
            again = tools.systemctl.restarts(unit) - before
            if again >= CRASHES:
                raise NothingWillCome(
                    f"the kubelet of {node.name} does not come up: systemd has started it again {again} times",
                    hint=f"look at its log on {node.name}: journalctl -u {unit}",
                )
            return kubelet_at(site, cluster, node, target)

        until(site.clock, site.config.upgrade.ready_timeout, look)

    return Step(
        name,
        f"restart kubelet on {node.name} at {target}",
        seeing(site.clock, site.config.upgrade.ready_timeout, probe),
        act,
        changes_node=True,
        lane=lane,
    )


def kubelet_at(site: Site, cluster: Cluster, node: Node, target: Version) -> Seen:
    """Is the node Ready, with a kubelet of that version?"""
    row = {row.name: row for row in site.any_api(cluster).nodes()}.get(node.name)
    if row is None:
        return NotThere(f"the API knows no node {node.name}")
    if row.kubelet_version != str(target):
        return NotDone(f"the kubelet of {node.name} reports {row.kubelet_version}")
    if not row.ready:
        return NotDone(f"{node.name} is not Ready: {row.ready_reason}")
    return Done({"kubelet": row.kubelet_version})


def uncordon(site: Site, cluster: Cluster, node: Node, name: str, lane: str) -> Step:
    """Take pods again, unless the node was cordoned before we came."""

    def probe(_: Facts) -> Seen:
        row = {row.name: row for row in site.any_api(cluster).nodes()}.get(node.name)
        if row is None:
            return NotThere(f"the API knows no node {node.name}")
        if row.unschedulable and not node.unschedulable:
            return NotDone(f"{node.name} takes no new pods")
        return Done({"cordoned_before": node.unschedulable})

    def act(_: Facts) -> None:
        answering_api(site, cluster).uncordon(node.name)

    return Step(
        name,
        f"uncordon {node.name}",
        seeing(site.clock, site.config.upgrade.ready_timeout, probe),
        act,
        changes_node=True,
        lane=lane,
    )


def settled(site: Site, cluster: Cluster, node: Node, target: Version, name: str) -> Step:
    """The control plane of this node works again, before the next one is touched (talos#14227).

    Every etcd member healthy, its own API server ready, the cluster's endpoint (a balancer, perhaps) answering, and the
    mirror pods of this node Running and Ready, and all of it for a
    while: a new kubelet restarts every static pod seconds after its node is Ready, and the API is away for three to
    four (measured).
    """

    def look() -> Seen:
        etcdctl = site.etcdctl(node)
        sick = [member.endpoint for member in etcdctl.endpoint_health(cluster=True) if not member.healthy]
        if sick:
            refuse_lost(site, cluster.control_planes)
            return NotDone(f"etcd is not healthy at {', '.join(sick)}")
        if not site.api_server(node).ready():
            return NotDone(f"the API server of {node.name} is not ready")
        if not site.on(node).endpoint.ready():
            return NotDone(f"the API server of {node.name} is ready, but the cluster's endpoint does not answer")
        pods = {pod.name: pod for pod in site.kubectl(node).pods_on(node.name, "kube-system")}
        for component in COMPONENTS:
            pod = pods.get(f"{component}-{node.name}")
            if pod is None or not pod.ready:
                return NotDone(f"{component} on {node.name} is not Ready")
        return Done()

    crashes = crashes_of(site, node)

    def look_ahead() -> Seen:
        crashes.refuse()
        return look()

    steady: list[bool] = []

    def probe(_: Facts) -> Seen:
        return look() if steady else NotDone(f"the control plane of {node.name} was not seen to stay well yet")

    def act(_: Facts) -> None:
        seen = until(site.clock, site.config.upgrade.ready_timeout, look_ahead, steady=site.config.upgrade.settle_time)
        required(seen, f"the control plane of {node.name} does not settle at {target}")
        steady.append(True)

    return Step(
        name,
        f"wait until the control plane of {node.name} works",
        seeing(site.clock, site.config.upgrade.ready_timeout, probe),
        act,
        lasting=False,
    )
