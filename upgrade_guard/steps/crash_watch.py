"""Looks, while kubeadm works on a control plane, for what it would wait for in vain, and ends that wait.

That is a new container which plainly crash-loops, and the machine of another control plane that is lost.

kubeadm gives each component five minutes and gave up after six minutes and 17 seconds (measured); the operator's API is
away all that time, and nothing that is waited for will come. With a new scheduler that crash-loops kubeadm even ends
well (measured): it waits for a pod that runs at one moment (kubeadm, util/apiclient/wait.go).
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable

from upgrade_guard.errors import GuardError, HostUnreachable
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.nodes.site import NodeTools, Site
from upgrade_guard.steps.components import components
from upgrade_guard.steps.lost_nodes import answers_now, lost_machines, silent
from upgrade_guard.steps.step_helpers import NothingWillCome
from upgrade_guard.tools.containers import Container, full_image_name, is_image_id

PERIOD = 2.0
"""Seconds between two looks: kubelet restarts a crashed container at once, then after 10, 20, 40 seconds."""

OTHERS = 5
"""Every so many looks the other control planes are asked too."""

DEPENDENT = ("kube-controller-manager", "kube-scheduler")
"""They end whenever they lose the API, and are started again until it is there."""

CRASHES = 2
"""Restarts after which something new plainly crash-loops: one may be bad luck while etcd is replaced."""


def watched(site: Site, cluster: Cluster, node: Node, work: Callable[[], object]) -> None:
    """Do `work`, which waits for kubeadm on `node`, and count what crashes from then on.

    Raises NothingWillCome with the last words of what crash-loops, and HostUnreachable that names the other control
    planes that are lost: kubeadm waits for every member of etcd (cmd/kubeadm/app/util/etcd), for a quarter of an hour.
    """
    tools = site.on(node)
    others = tuple(plane for plane in cluster.control_planes if plane.name != node.name)
    crashes = crashes_of(site, node)
    with contextlib.suppress(GuardError):  # else the first look begins to count
        crashes.begin()
    crashed: list[Container] = []
    lost: dict[str, str] = {}
    ended = threading.Event()

    def watch() -> None:
        looks = 0
        while not ended.wait(PERIOD):
            looks += 1
            try:
                looping = crashes.looping()
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


def crashes_of(site: Site, node: Node) -> Crashes:
    """What crash-loops there; what ends because the API or etcd is away does not.

    A controller manager or a scheduler that cannot renew its lease ends by itself, and an API server that has no etcd.
    """

    def has_what_it_needs(component: str) -> bool:
        try:
            if component in DEPENDENT:
                return site.api_server(node).ready()
            if component == "kube-apiserver":
                return all(one.healthy for one in site.etcdctl(node).endpoint_health(cluster=False))
        except HostUnreachable:
            raise
        except GuardError:
            return False
        return True

    return Crashes(site.on(node), node, has_what_it_needs)


class Crashes:
    """What crash-loops among the new components of one control plane, from the first look on.

    What restarted before that and runs has done so for reasons of its own. Of a pod whose container runs the ended ones
    say nothing more: they may be those of an earlier attempt.
    """

    def __init__(self, tools: NodeTools, node: Node, has_what_it_needs: Callable[[str], bool] = lambda _: True) -> None:
        """`has_what_it_needs` says of a component whether what it cannot run without is there now."""
        self._tools = tools
        self._node = node
        self._has_what_it_needs = has_what_it_needs
        self._before: dict[str, int] | None = None

    def looping(self) -> Container | None:
        """A new component that has crashed CRASHES times, if there is one."""
        new = self._new()
        if self._before is None:
            # What ends because the API is away has done so before anybody looked, too.
            self._before = {one.pod_uid: one.restarts for one in new if one.running or one.name in DEPENDENT}
        before = self._before
        for one in new:
            again = one.restarts - before.get(one.pod_uid, 0)
            if again >= 1 and not self._has_what_it_needs(one.name):
                before[one.pod_uid] = one.restarts
            elif again >= CRASHES:
                return one
        return None

    def begin(self) -> None:
        """Whatever has crashed until now is of an earlier attempt: kubelet gives a static pod of the same manifest the
        same id, and counts on.
        """
        self._before = {one.pod_uid: one.restarts for one in self._new()}

    def _new(self) -> list[Container]:
        new = [one for one in components(self._tools, self._node) if is_new(self._node, one)]
        running = {one.pod_uid for one in new if one.running}
        return [one for one in new if one.running or one.pod_uid not in running]

    def refuse(self) -> None:
        """Raises NothingWillCome with the last words of a new component that crash-loops."""
        looping = self.looping()
        if looping:
            raise _crash_loop(self._tools, self._node, looping)


def is_new(node: Node, container: Container) -> bool:
    """Is it a control-plane component with another image than the node had when it was inspected?

    An image that nobody can name is not called new.
    """
    old = node.manifests.get(container.name)
    names = [name for name in container.names or (container.image,) if ":" in name and not is_image_id(name)]
    return old is not None and bool(names) and not any(_same_image(name, old) for name in names)


def _same_image(one: str, other: str) -> bool:
    """By digest where both have one, else by their whole names."""
    (name, _, digest), (other_name, _, other_digest) = one.partition("@"), other.partition("@")
    if digest or other_digest:
        return digest == other_digest
    return full_image_name(name) == full_image_name(other_name)


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
