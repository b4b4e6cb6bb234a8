"""One look at the lab: read everything under the lock, let kubelets, controllers and proxies catch up, write it back.

Nothing goes on by itself. Every program of a node does this first, so that whatever an operator can see has had its
effect, and what a stopped kubelet left undone stays undone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from upgrade_guard.lab import balancer, containers, controllers, faults, kubelet, proxy
from upgrade_guard.lab.gateway import Connections, Credentials, EtcdAway, EtcdRefused, Gateway
from upgrade_guard.lab.layout import LabSettings, Layout, load_settings
from upgrade_guard.lab.records import Container, NodeRecord, locked, read_record, write_record
from upgrade_guard.lab.world import World

# How long the first API server's etcd, and any other's, may take to answer before it counts as away.
PATIENT, IMPATIENT = 3.0, 1.0
# Of a process that is one program after the other.
kept: ContextVar[Connections | None] = ContextVar("kept", default=None)


class Simulation:
    """The lab while its lock is held."""

    def __init__(self, settings: LabSettings, connections: Connections) -> None:
        self.settings = settings
        self.layout = Layout.of(settings)
        self.records: dict[str, NodeRecord] = {name: read_record(self.layout, name) for name in settings.names}
        self.world: World | None = None
        self.answering: tuple[str, ...] = ()
        # The control plane whose API server a program's request went to.
        self.asked = ""
        self._connections = connections
        self._gateways: dict[str, Gateway] = {}

    def reconcile(self, first: str = "") -> None:
        """Everything catches up. `first` is the node whose API server is asked first."""
        for record in self.records.values():
            containers.observe(record)
            kubelet.keep_restarting(self.settings, record)
            kubelet.sync_static_pods(self.settings, record)
        self.connect(first)
        try:
            self.settle()
        except EtcdRefused:
            # Out of space: everything can be read, and nothing that depends on writing goes on.
            self.connect(first)
        except EtcdAway:
            self.world, self.answering = None, ()

    def settle(self) -> None:
        """Let everything that watches the API act on it, and write the result."""
        world = self.world
        if world is None:
            return
        records = self.records
        if self.runs("kube-controller-manager"):
            controllers.judge_nodes(self.settings, records, world)
            controllers.collect_orphans(world)
            controllers.keep_daemon_sets(world)
            controllers.keep_deployments(world)
        if self.runs("kube-scheduler"):
            controllers.schedule(world)
        broken = self._workload_is_broken()
        for record in records.values():
            kubelet.sync(self.settings, record, world, self.answering, workload_is_broken=broken)
        if self.runs("kube-controller-manager"):
            controllers.report(world)
        world.write()
        for record in records.values():
            proxy.sync(record, world)
            kubelet.remember(record, world)

    def connect(self, first: str = "") -> None:
        """Find the API servers that answer; the first of them is the one that programs talk to."""
        self.world = None
        answering: list[str] = []
        names = sorted(self.settings.control_planes, key=lambda name: name != first)
        for name in names:
            server = self.api_server(name)
            if server is None:
                continue
            try:
                gateway = self.gateway(name, PATIENT if not answering else IMPATIENT)
                if self.world is None:
                    self.world = World(gateway)
                else:
                    gateway.greet()
            except (EtcdAway, OSError):
                self._forget(name)
                continue
            answering.append(name)
        self.answering = tuple(answering)
        balancer.move_address(self)

    def api_server(self, name: str) -> Container | None:
        """The running API server container of a node, or None."""
        container = self.records[name].static("kube-apiserver")
        return container if container and container.runs and not container.crashes else None

    def runs(self, component: str) -> bool:
        """Does the component run on any control plane?"""
        found = (self.records[name].static(component) for name in self.settings.control_planes)
        return any(container is not None and container.runs for container in found)

    def gateway(self, name: str, timeout: float = PATIENT) -> Gateway:
        """The etcd that the API server of a node talks to."""
        if name not in self._gateways:
            address, port = self.settings.addresses[name], self.settings.ports.etcd_client
            self._gateways[name] = self._connections.take(credentials(self.layout), address, port, timeout)
        return self._gateways[name]

    def save(self) -> None:
        """Write the nodes' records back."""
        for record in self.records.values():
            write_record(self.layout, record)

    def close(self, *, keep: bool = False) -> None:
        """Close the connections to etcd, or give them back for the next program."""
        while self._gateways:
            _, gateway = self._gateways.popitem()
            if keep:
                self._connections.give_back(gateway)
            else:
                gateway.close()

    def _workload_is_broken(self) -> bool:
        """The fault strikes when the whole cluster is new, so that only a look at the workloads can find it."""
        old = self.settings.from_version
        return all(one.kubelet.version != old for one in self.records.values()) and faults.is_on(
            Path(self.settings.directory), "workload-broken"
        )

    def _forget(self, name: str) -> None:
        gateway = self._gateways.pop(name, None)
        if gateway is not None:
            gateway.close()


def credentials(layout: Layout) -> Credentials:
    """As an API server that read its certificate when it started, whatever is renewed on disk since."""
    own = layout.authorities / "apiserver-etcd-client"
    if not own.with_suffix(".crt").exists():
        own = layout.pki("cp1") / "apiserver-etcd-client"
    return Credentials(layout.authorities / "etcd/ca.crt", own.with_suffix(".crt"), own.with_suffix(".key"))


@contextmanager
def opened(directory: Path, *, node: str = "", reconcile: bool = True) -> Iterator[Simulation]:
    """Take the lock, let everything catch up, and save what the caller did. Raises NotALab."""
    settings = load_settings(directory)
    with locked(Layout(directory).lock):
        connections = kept.get()
        simulation = Simulation(settings, connections or Connections())
        try:
            if reconcile:
                simulation.reconcile(node)
            yield simulation
        finally:
            # Also after an error: a process that was started has to be known.
            simulation.save()
            simulation.close(keep=connections is not None)
