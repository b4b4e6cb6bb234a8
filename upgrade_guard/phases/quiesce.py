"""Bring every control plane to rest, and prove it: stopping kubelet stops no container (measured).

An etcd that still runs keeps serving a data directory that was moved away, and what it takes is lost without an error.
"""

from __future__ import annotations

from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.phases.kubeadm_work import refuse_unfinished
from upgrade_guard.phases.looking import observation
from upgrade_guard.phases.site import NodeTools, Site

API = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
COMPONENTS = (*API, "etcd")

GRACE = 3
"""Seconds between SIGTERM and SIGKILL. Neither an API server nor an etcd without peers is sure to end sooner than in
thirty; both came back clean after SIGKILL (measured)."""

_AT_REST = ("inactive", "failed", "unknown")


def stopped_manifests(tools: NodeTools, run_id: str) -> str:
    """Where the manifests are kept while the control plane rests: on the same file system, not in manifests/."""
    return f"{tools.settings.kubernetes_dir}/upgrade-guard-stopped-{run_id}"


def quiesce(site: Site, cluster: Cluster, run_id: str, rest: str = "rollback/at-rest") -> tuple[Phase, ...]:
    """First every API server, then every etcd: all before any is restored (kubernetes.io, configure-upgrade-etcd)."""
    planes = cluster.control_planes
    return (
        Phase(
            "rollback-stop-api",
            "Stop the API",
            tuple(step for node in planes for step in (hold_kubelet(site, node), stop(site, node, API, "api", run_id))),
            at_once=len(planes),
        ),
        Phase(
            "rollback-stop-etcd",
            "Stop etcd",
            tuple(stop(site, node, ("etcd",), "etcd", run_id) for node in planes),
            at_once=len(planes),
        ),
        Phase("rollback-at-rest", "At rest", (at_rest(site, cluster, rest),)),
    )


def hold_kubelet(site: Site, node: Node) -> Step:
    """Stop kubelet, so that nothing starts again what is stopped next.

    One that does not come up is not stopped: systemd starts it again every ten seconds ("activating"), and it would
    come up in the middle of the restore, as soon as its package is the old one again.
    """
    tools = site.on(node)
    unit = tools.settings.kubelet_unit

    def probe(_: Facts) -> Seen:
        state = tools.systemctl.state(unit)
        return Done() if state in _AT_REST else NotDone(f"kubelet on {node.name} is {state}")

    def act(_: Facts) -> None:
        refuse_unfinished(tools)
        tools.systemctl.stop(unit)

    return Step(
        f"rollback/{node.name}/stop-kubelet",
        f"stop kubelet on {node.name}",
        probe,
        act,
        changes_node=True,
        lane=node.name,
    )


def running(tools: NodeTools, components: tuple[str, ...]) -> dict[str, str]:
    """Container id to component, for those of `components` that run on the node."""
    return {one.id: one.name for one in tools.containers.all() if one.running and one.name in components}


def stop(site: Site, node: Node, components: tuple[str, ...], what: str, run_id: str) -> Step:
    """Take the manifests out of kubelet's sight and stop the containers."""
    tools = site.on(node)
    aside = stopped_manifests(tools, run_id)
    manifests = tuple(f"{tools.settings.manifests_dir}/{component}.yaml" for component in components)

    def probe(_: Facts) -> Seen:
        there = tools.files.existing(*manifests)
        if there:
            return NotDone(f"{', '.join(sorted(there))} of {node.name} is still there")
        alive = running(tools, components)
        if alive:
            return NotDone(f"{', '.join(sorted(set(alive.values())))} on {node.name} still runs")
        return Done()

    def act(_: Facts) -> None:
        there = tools.files.existing(*manifests)
        if there:
            tools.files.make_dir(aside)
            tools.files.move_into(aside, *sorted(there))
        alive = running(tools, components)
        if alive:
            tools.containers.stop(tuple(alive), GRACE)

    return Step(
        f"rollback/{node.name}/stop-{what}",
        f"stop {', '.join(components)} on {node.name}",
        probe,
        act,
        changes_node=True,
        lane=node.name,
    )


def at_rest(site: Site, cluster: Cluster, name: str) -> Step:
    """Nothing of any control plane runs, and no process holds any etcd database: its file lock is free.

    The lock belongs to the file and not to its name, so it also tells of an etcd whose directory was moved.
    """

    def look(_: Facts) -> Seen:
        for node in cluster.control_planes:
            tools = site.on(node)
            alive = running(tools, COMPONENTS)
            if alive:
                return NotDone(f"{', '.join(sorted(set(alive.values())))} on {node.name} still runs")
            if node.etcd is None:
                continue
            database = f"{node.etcd.data_dir}/member/snap/db"
            if tools.files.exists(database) and tools.files.flock_held(database):
                return NotDone(f"a process on {node.name} still holds {database}")
        return Done({"at_rest": [node.name for node in cluster.control_planes]})

    return observation(name, "prove that every control plane is at rest", look, lasting=True)
