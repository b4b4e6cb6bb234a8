"""Bring every control plane to rest, and prove it: stopping kubelet stops no container (measured).

An etcd that still runs keeps serving a data directory that was moved away, and what it takes is lost without an error.
"""

from __future__ import annotations

from dataclasses import dataclass

from upgrade_guard.errors import StepFailed
from upgrade_guard.model.cluster import COMPONENTS, Cluster, Node
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.nodes.site import NodeTools, Site
from upgrade_guard.steps.components import running
from upgrade_guard.steps.kubeadm import refuse_unfinished
from upgrade_guard.steps.snapshot import bundle_of
from upgrade_guard.steps.step_helpers import observation

GRACE = 3
"""Seconds between SIGTERM and SIGKILL. Neither an API server nor an etcd without peers is sure to end sooner than in
thirty; both came back clean after SIGKILL (measured)."""


@dataclass
class Rest:
    """Has this process `seen` the control planes at rest? What an earlier one saw may not be so any more."""

    seen: bool = False


_AT_REST = ("inactive", "failed", "unknown")


def stopped_manifests(tools: NodeTools, run_id: str) -> str:
    """Where the manifests are kept while the control plane rests: on the same file system, not in manifests/."""
    return f"{tools.settings.kubernetes_dir}/upgrade-guard-stopped-{run_id}"


def quiesce(
    site: Site,
    cluster: Cluster,
    run_id: str,
    rest: Rest,
    name: str = "rollback/at-rest",
    meanwhile: tuple[Step, ...] = (),
) -> tuple[Phase, ...]:
    """Every API server and every etcd: all before any is restored (kubernetes.io, configure-upgrade-etcd).

    No control plane waits for another one whose containers need their whole grace. `meanwhile` is done beside it, in
    lanes of its own: what needs a kubelet that is stopped, and no more. `rest` remembers what was seen at the end.
    """
    planes = cluster.control_planes
    return (
        Phase(
            "rollback-hold",
            "Stop kubelet",
            tuple(hold_kubelet(site, node, run_id) for node in planes),
            at_once=len(planes),
        ),
        Phase(
            "rollback-stop",
            "Stop the control planes",
            (*(stop(site, node) for node in planes), *meanwhile),
            at_once=len(planes) + len({step.lane for step in meanwhile}),
        ),
        Phase("rollback-at-rest", "At rest", (at_rest(site, cluster, name, rest),)),
    )


def hold_kubelet(site: Site, node: Node, run_id: str) -> Step:
    """Stop kubelet and take the manifests out of its sight, so that nothing starts again what is stopped next.

    A kubelet that does not come up is not stopped: systemd starts it again every ten seconds ("activating"), and it
    would come up in the middle of the restore, as soon as its package is the old one again.
    """
    tools = site.on(node)
    unit = tools.settings.kubelet_unit
    aside = stopped_manifests(tools, run_id)
    manifests = tuple(f"{tools.settings.manifests_dir}/{component}.yaml" for component in COMPONENTS)

    def probe(_: Facts) -> Seen:
        state = tools.systemctl.state(unit)
        if state not in _AT_REST:
            return NotDone(f"kubelet on {node.name} is {state}")
        there = tools.files.existing(*manifests)
        return NotDone(f"{', '.join(sorted(there))} of {node.name} is still there") if there else Done()

    def act(facts: Facts) -> None:
        bundle_of(site, facts)  # what is gone back to is still what was published: seen before anything is stopped
        refuse_unfinished(tools)
        if tools.systemctl.state(unit) not in _AT_REST:
            tools.systemctl.stop(unit)
        there = tools.files.existing(*manifests)
        if there:
            tools.files.make_dir(aside)
            tools.files.move_into(aside, *sorted(there))

    return Step(
        f"rollback/{node.name}/stop-kubelet",
        f"stop kubelet on {node.name}",
        probe,
        act,
        changes_node=True,
        lane=node.name,
    )


def stop(site: Site, node: Node) -> Step:
    """Stop the containers of one control plane together: what it still writes is not in the snapshot anyway."""
    tools = site.on(node)

    def probe(_: Facts) -> Seen:
        alive = running(tools, node)
        return NotDone(f"{', '.join(sorted(set(alive.values())))} on {node.name} still runs") if alive else Done()

    def act(_: Facts) -> None:
        alive = running(tools, node)
        if alive:
            tools.containers.stop(tuple(alive), GRACE)

    return Step(
        f"rollback/{node.name}/stop",
        f"stop etcd and the API on {node.name}",
        probe,
        act,
        changes_node=True,
        lane=node.name,
    )


def at_rest(site: Site, cluster: Cluster, name: str, rest: Rest) -> Step:
    """Nothing of any control plane runs, and no process holds any etcd database: its file lock is free.

    The lock belongs to the file and not to its name, so it also tells of an etcd whose directory was moved.
    """

    def look(_: Facts) -> Seen:
        for node in cluster.control_planes:
            stirs = what_stirs(site, node)
            if stirs:
                return NotDone(stirs)
        rest.seen = True
        return Done({"at_rest": [node.name for node in cluster.control_planes]})

    return observation(name, "prove that every control plane is at rest", look, lasting=True)


def what_stirs(site: Site, node: Node) -> str:
    """What of this control plane runs or holds etcd's database; "" where nothing does."""
    tools = site.on(node)
    alive = running(tools, node)
    if alive:
        return f"{', '.join(sorted(set(alive.values())))} on {node.name} still runs"
    if node.etcd is None:
        return ""
    database = f"{node.etcd.data_dir}/member/snap/db"
    if tools.files.exists(database) and tools.files.flock_held(database):
        return f"a process on {node.name} still holds {database}"
    return ""


def refuse_unless_at_rest(site: Site, node: Node, rest: Rest) -> None:
    """Raises StepFailed where a control plane runs again since an earlier process saw it at rest."""
    stirs = "" if rest.seen else what_stirs(site, node)
    if stirs:
        raise StepFailed(
            f"{stirs}: it was started again after it had been stopped for the restore; its data was not touched",
            hint=f"stop kubelet on {node.name} and that container, then: upgrade-guard resume",
        )
