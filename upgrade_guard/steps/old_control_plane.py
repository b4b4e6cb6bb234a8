"""Bring the old control plane back into service after a restore, and everything that watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.step import Done, Facts, NotDone, Seen, Step
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps import etcd_restore, kubelet
from upgrade_guard.steps.snapshot import bundle_of
from upgrade_guard.steps.step_helpers import NothingWillCome, waiting
from upgrade_guard.steps.workers import put_worker_back, was_saved
from upgrade_guard.tools.kubectl import PodRow


def start_kubelet(site: Site, node: Node) -> Step:
    """daemon-reload, because the unit came back with the package, then start; it starts the static pods.

    By `restart`: a unit in systemd's restart loop ignores `start` until its delay has passed (systemd: service_start).
    """
    tools = site.on(node)
    unit = tools.settings.kubelet_unit

    def probe(_: Facts) -> Seen:
        return Done() if tools.systemctl.is_active(unit) else NotDone(f"kubelet on {node.name} is not running")

    def act(_: Facts) -> None:
        tools.systemctl.daemon_reload()
        tools.systemctl.restart(unit)

    return Step(
        f"rollback/{node.name}/start-kubelet",
        f"start kubelet on {node.name}",
        probe,
        act,
        changes_node=True,
        lane=node.name,
    )


def etcd_agrees(site: Site, cluster: Cluster, name: str = "rollback/etcd-agrees") -> Step:
    """Every member healthy, all of one mind (equal HashKV at one revision), and of the cluster that was restored.

    A restored cluster has an id of its own, because its token is new (etcd, server/etcdserver/api/membership), and a
    revision that was raised. Whoever still has the old id has not read what was restored.
    """
    planes = cluster.control_planes

    def look(facts: Facts) -> Seen:
        etcdctl = site.etcdctl(planes[0])
        members = etcdctl.endpoint_status(cluster=True)
        if len(members) != len(planes):
            return NotDone(f"{len(members)} of {len(planes)} etcd members answer")
        manifest = bundle_of(site, facts).manifest
        if any(str(member.cluster_id) == manifest.cluster_id for member in members):
            raise NothingWillCome(
                f"etcd still is the cluster of before ({manifest.cluster_id}): what was restored is not what it reads",
                hint="see where it keeps its data and its log: grep -e dir= /etc/kubernetes/manifests/etcd.yaml",
            )
        at = min(member.revision for member in members)
        hashes = {(one.hash, one.compact_revision) for one in etcdctl.hashkv(at, cluster=True)}
        if len(hashes) != 1:
            return NotDone(f"the etcd members differ at revision {at}")
        expected = manifest.revision + (etcd_restore.settings(facts).bump or 0)
        if at < expected:
            return NotDone(f"etcd is at revision {at}, below the {expected} of what was restored")
        return Done({"revision": at})

    return waiting(
        name,
        "wait until every etcd member is healthy and equal",
        look,
        clock=site.clock,
        timeout=site.config.upgrade.ready_timeout,
        lasting=True,
        lane="etcd",
    )


def api_ready(site: Site, cluster: Cluster, name: str = "rollback/api-ready") -> Step:
    """Every control plane's own API server ready, at the old version, and the cluster's endpoint answering."""

    def look(_: Facts) -> Seen:
        for node in cluster.control_planes:
            own = site.api_server(node)
            if not own.ready():
                return NotDone(f"the API server of {node.name} is not ready")
            served = own.version()
            if str(served) != cluster.version:
                return NotDone(f"the API server of {node.name} is {served}")
        if not any(site.on(node).endpoint.ready() for node in cluster.control_planes):
            return NotDone("every API server is ready, but the cluster's endpoint does not answer")
        return Done()

    return waiting(
        name,
        "wait until the API answers on the old version",
        look,
        clock=site.clock,
        timeout=site.config.upgrade.ready_timeout,
        lasting=True,
        lane="API",
    )


def every_node(site: Site, cluster: Cluster, going: Cluster, facts: Facts) -> tuple[Step, ...]:
    """Of `going`: touched workers back; kubelet restarted on the others too: each holds revisions from the future.

    A kubelet that was not restarted keeps phantom pods and may see nothing new (kubernetes#131115).
    """
    steps: list[Step] = []
    for node in going.nodes:
        before = Version.parse(node.kubelet_version)
        prefix = f"rollback/{node.name}"
        if not node.is_control_plane and was_saved(facts, node.name):
            back = put_worker_back(site, cluster, node)
            steps += [replace(step, name=f"{prefix}/{step.name.rpartition('/')[2]}") for step in back[:2]]
        steps += [
            fresh_kubelet(site, node, f"{prefix}/kubelet-restart", facts.run_id),
            waiting(
                f"{prefix}/ready",
                f"wait until {node.name} is Ready at {before}",
                _ready(site, cluster, node, before),
                clock=site.clock,
                timeout=site.config.upgrade.ready_timeout,
                lane=node.name,
            ),
            kubelet.uncordon(site, cluster, node, f"{prefix}/uncordon", node.name),
        ]
    return tuple(steps)


def _ready(site: Site, cluster: Cluster, node: Node, before: Version) -> Callable[[Facts], Seen]:
    return lambda _facts: kubelet.kubelet_at(site, cluster, node, before)


def fresh_kubelet(site: Site, node: Node, name: str, run_id: str) -> Step:
    """Restart kubelet once. Our own note says that it happened: a restart twice is harmless."""
    tools = site.on(node)
    note = f"{tools.settings.work_dir}/kubelet-restarted-{run_id}"

    def probe(_: Facts) -> Seen:
        if not tools.files.exists(note):
            return NotDone(f"kubelet on {node.name} was not restarted since the restore")
        if not tools.systemctl.is_active(tools.settings.kubelet_unit):
            return NotDone(f"kubelet on {node.name} is not running")
        return Done()

    def act(_: Facts) -> None:
        tools.systemctl.daemon_reload()
        tools.systemctl.restart(tools.settings.kubelet_unit)
        tools.files.make_dir(tools.settings.work_dir)
        tools.files.write(note, b"")

    return Step(name, f"restart kubelet on {node.name}", probe, act, changes_node=True, lane=node.name)


def renew_watchers(site: Site, cluster: Cluster, name: str = "rollback/watchers") -> Step:
    """Recreate pods on these nodes that watch the API, if the restored revision is below what they saw.

    Without a bumped revision kube-proxy and the CNI act on stale data for hours (kubernetes#107457); with it their
    watches end by themselves and nothing has to be done (measured).
    """
    renewed: list[str] = []

    def probe(facts: Facts) -> Seen:
        if etcd_restore.settings(facts).bump is not None:
            return Done({"bumped": etcd_restore.settings(facts).bump})
        if not renewed:
            return NotDone("the restored revision is lower than what watchers have seen")
        waits = [pod.name for pod in _watchers(site, cluster) if not pod.ready]
        if waits:
            return NotDone(f"{len(waits)} pods that watch the API are not Ready, first {waits[0]}")
        return Done({"renewed": list(renewed)})

    def act(_: Facts) -> None:
        kubectl = kubelet.answering_api(site, cluster)
        for namespace, selector in sorted({(pod.namespace, _selector(pod)) for pod in _watchers(site, cluster)}):
            if selector:
                kubectl.delete_pods(namespace, selector)
                renewed.append(f"{namespace} {selector}")

    return Step(name, "renew what watches the API", probe, act, changes_node=False)


def _watchers(site: Site, cluster: Cluster) -> list[PodRow]:
    """What acts on the API for everybody: kube-system and the namespaces of known add-ons (a CNI has its own).
    Nobody else's pods are touched, and those that have ended watch nothing.
    """
    namespaces = {"kube-system", *(addon.namespace for addon in cluster.addons)}
    nodes = {node.name for node in cluster.nodes}
    return [
        pod
        for pod in site.any_api(cluster).pods()
        if pod.namespace in namespaces
        and pod.node in nodes
        and not pod.mirror
        and not pod.deleted
        and pod.phase not in _ENDED
    ]


_ENDED = ("Succeeded", "Failed")


def _selector(pod: PodRow) -> str:
    """A label that names the workload of a pod of kube-system; "" when it has none of the usual ones."""
    for key in ("k8s-app", "app.kubernetes.io/name", "app"):
        if key in pod.labels:
            return f"{key}={pod.labels[key]}"
    return ""
