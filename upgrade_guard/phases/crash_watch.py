"""Looks, while kubeadm works on a control plane, for what it would wait for in vain, and ends that wait.

That is a new container which plainly crash-loops, and the machine of another control plane that is lost.

kubeadm gives each component five minutes and gave up after six minutes and 17 seconds (measured); the operator's API is
away all that time, and nothing that is waited for will come. With a new scheduler that crash-loops kubeadm even ends
well (measured): it waits for a pod that runs at one moment (kubeadm, util/apiclient/wait.go).
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable

from upgrade_guard.errors import GuardError
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.phases.looking import NothingWillCome
from upgrade_guard.phases.lost_nodes import answers_now, lost_machines, silent
from upgrade_guard.phases.site import NodeTools, Site
from upgrade_guard.tools.containers import Container

PERIOD = 2.0
"""Seconds between two looks: kubelet restarts a crashed container at once, then after 10, 20, 40 seconds."""

OTHERS = 5
"""Every so many looks the other control planes are asked too."""

CRASHES = 2
"""Restarts after which something new plainly crash-loops: one may be bad luck while etcd is replaced."""


def watched(site: Site, cluster: Cluster, node: Node, work: Callable[[], object]) -> None:
    """Do `work`, which waits for kubeadm on `node`.

    Raises NothingWillCome with the last words of what crash-loops, and HostUnreachable that names the other control
    planes that are lost: kubeadm waits for every member of etcd (cmd/kubeadm/app/util/etcd), for a quarter of an hour.
    """
    tools = site.on(node)
    others = tuple(plane for plane in cluster.control_planes if plane.name != node.name)
    crashed: list[Container] = []
    lost: dict[str, str] = {}
    ended = threading.Event()

    def watch() -> None:
        looks = 0
        while not ended.wait(PERIOD):
            looks += 1
            try:
                looping = crash_looping(tools, node)
                if looping:
                    crashed.append(looping)
                elif looks % OTHERS == 0:
                    lost.update(lost_now(site, others))
                if crashed or lost:
                    tools.kubeadm.stop_upgrade()
                    return
            except GuardError:
                continue  # the runtime is busy, or the connection is; kubeadm's own end decides then

    watcher = threading.Thread(target=contextvars.copy_context().run, args=(watch,), daemon=True)
    watcher.start()
    try:
        work()
    except GuardError as problem:
        if crashed:
            raise _crash_loop(tools, node, crashed[0]) from problem
        if lost:
            raise lost_machines(lost) from problem
        raise
    finally:
        ended.set()
        watcher.join()
    if crashed:
        raise _crash_loop(tools, node, crashed[0])


def lost_now(site: Site, others: tuple[Node, ...]) -> dict[str, str]:
    """Which of the others are lost; one that answers at once costs one command."""
    return silent(site, [other for other in others if not answers_now(site, other)])


def refuse_crash_loop(tools: NodeTools, node: Node) -> None:
    """Raises NothingWillCome with the last words of a new component that crash-loops."""
    looping = crash_looping(tools, node)
    if looping:
        raise _crash_loop(tools, node, looping)


def crash_looping(tools: NodeTools, node: Node) -> Container | None:
    """A new component that has crashed CRASHES times, if there is one."""
    return next((one for one in tools.containers.all() if is_new(node, one) and one.restarts >= CRASHES), None)


def is_new(node: Node, container: Container) -> bool:
    """Is it a control-plane component with another image than the node had when it was inspected?"""
    old = node.manifests.get(container.name)
    return old is not None and ":" in container.image and container.image != old


def _crash_loop(tools: NodeTools, node: Node, container: Container) -> NothingWillCome:
    try:
        words = [line.strip() for line in tools.containers.logs(container.id).splitlines() if line.strip()]
    except GuardError:
        words = []
    said = f": {words[-1][:300]}" if words else ""
    return NothingWillCome(
        f"the new {container.name} on {node.name} crash-loops ({container.restarts} restarts, {container.image}){said}",
        hint=f"look at its log on {node.name}: crictl logs {container.id[:13]}",
    )
