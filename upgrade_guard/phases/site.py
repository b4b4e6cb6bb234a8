"""The wiring of one cluster: from the configuration and the nodes that were found to tools bound to their hosts."""

from __future__ import annotations

import re
import secrets
import shutil
import threading
from dataclasses import dataclass, fields, replace
from pathlib import Path

from upgrade_guard.config import Config
from upgrade_guard.errors import GuardError, HostUnreachable, StepFailed
from upgrade_guard.hosts.base import Host, Transcript
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.hosts.ssh import SshHost
from upgrade_guard.model.clock import Clock
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.phases.whereabouts import this_machine_is
from upgrade_guard.tools.apt import Apt
from upgrade_guard.tools.containers import Containers
from upgrade_guard.tools.etcd_manifest import parse_etcd_manifest
from upgrade_guard.tools.etcd_tools import EtcdTools, extract_etcd_tools
from upgrade_guard.tools.etcdctl import Etcdctl
from upgrade_guard.tools.etcdutl import Etcdutl
from upgrade_guard.tools.files import Files
from upgrade_guard.tools.kubeadm import Kubeadm
from upgrade_guard.tools.kubectl import Kubectl
from upgrade_guard.tools.systemctl import Systemctl
from upgrade_guard.vault.bundle import Vault

LOCAL = "local"


@dataclass(frozen=True)
class NodeTools:
    """Every tool of one node, bound to its host. `kubectl` uses the node's admin.conf: only control planes have one."""

    name: str
    settings: NodeSettings
    host: Host
    files: Files
    kubeadm: Kubeadm
    kubectl: Kubectl
    apt: Apt
    systemctl: Systemctl
    containers: Containers


class Site:
    """One cluster as the configuration describes it, and the way to each of its nodes.

    Hosts are kept, so that a node has one ssh connection for all lanes. `here` is this machine, where proofs run.
    """

    def __init__(self, config: Config, *, transcript: Transcript, clock: Clock, vault: Vault, here: Host) -> None:
        self.config = config
        self.transcript = transcript
        self.clock = clock
        self.vault = vault
        self.here = here
        self._tools: dict[str, NodeTools] = {}
        self._entrance_name: str | None = None
        self._hosts_lock = threading.RLock()
        self._fetch_lock = threading.Lock()

    @classmethod
    def build(cls, config: Config, *, transcript: Transcript, clock: Clock) -> Site:
        """Wire it; nothing is asked of any node yet."""
        return cls(
            config,
            transcript=transcript,
            clock=clock,
            vault=Vault(Path(config.vault.path)),
            here=LocalHost("here", transcript),
        )

    def settings(self, node_name: str) -> NodeSettings:
        """The `[nodes.NAME]` of a node, its gaps filled from `[nodes."*"]`, those from kubeadm's defaults."""
        return merged_settings(self.config.nodes.get("*", NodeSettings()), self.config.nodes.get(node_name))

    def first_control_plane(self) -> NodeTools:
        """The control plane that the configuration names, reachable before any node of the cluster is known.

        Its name is `cluster.node` when that is set, otherwise what `cluster.control_plane` says.
        """
        with self._hosts_lock:
            entrance = self.config.cluster.control_plane
            name = self.config.cluster.node or self._configured_name() or entrance
            settings = self.settings(name)
            if not settings.address:
                settings = replace(settings, address=entrance)
            return self._bound(name, settings)

    def on(self, node: Node) -> NodeTools:
        """The tools of one node. Without an `address` of its own it is reached at its InternalIP over ssh."""
        with self._hosts_lock:
            settings = self.settings(node.name)
            if not settings.address:
                settings = replace(settings, address=self._address_of(node))
            return self._bound(node.name, settings)

    def is_entrance(self, node: Node) -> bool:
        """Is this the control plane that `cluster.control_plane` reaches?"""
        configured = self.config.cluster.node
        if configured:
            return node.name == configured
        if not node.is_control_plane:
            return False
        entrance = self.config.cluster.control_plane
        if entrance != LOCAL and host_part(entrance) in (node.internal_ip, node.name):
            return True
        if entrance == LOCAL and this_machine_is(node.name, node.internal_ip, self.here):
            return True
        return self._name_in_manifest() == node.name

    def is_here(self, node: Node) -> bool:
        """Does upgrade-guard run on this very node? Then its disk is no place for the only copy of a backup."""
        return self.on(node).settings.address == LOCAL or this_machine_is(node.name, node.internal_ip, self.here)

    def etcd_tools_directory(self, node: Node) -> str:
        """Where the etcd programs of the cluster's own image are kept on a control plane."""
        return f"{self.settings(node.name).work_dir}/etcd/{image_tag(_etcd_image(node))}"

    def etcdctl(self, node: Node) -> Etcdctl:
        """etcdctl on that control plane, speaking to the member there. Needs `ensure_etcd_tools` to have been run."""
        manifest = node.etcd
        if manifest is None:
            raise StepFailed(f"{node.name} has no etcd of its own")
        return Etcdctl(
            self.on(node).host,
            f"{self.etcd_tools_directory(node)}/etcdctl",
            manifest.endpoint,
            manifest.trusted_ca_file,
            manifest.cert_file,
            manifest.key_file,
        )

    def etcdutl(self, node: Node) -> Etcdutl:
        """The tool that restores on that control plane: etcdutl, or etcdctl where the image has no etcdutl (3.4)."""
        directory = self.etcd_tools_directory(node)
        there = self.on(node).files.exists(f"{directory}/etcdutl")
        return Etcdutl(self.on(node).host, f"{directory}/etcdutl" if there else None, f"{directory}/etcdctl")

    def local_etcd_tools(self, image: str) -> EtcdTools:
        """Paths on this machine of the programs of that image, as `ensure_etcd_tools` fetched them."""
        directory = self._local_directory(image)
        etcdutl = directory / "etcdutl"
        return EtcdTools(
            etcd=str(directory / "etcd"),
            etcdctl=str(directory / "etcdctl"),
            etcdutl=str(etcdutl) if etcdutl.exists() else None,
        )

    def ensure_etcd_tools(self, node: Node) -> EtcdTools:
        """Extract etcd's programs from the image on that node, and fetch them to this machine once.

        At restore time etcd is stopped and its image may be gone, and proofs must run the very same version
        (DOMAIN.md 2.5). Returns the paths on this machine.
        """
        image = _etcd_image(node)
        bound = self.on(node)
        on_node = extract_etcd_tools(bound.files, bound.containers, image, self.etcd_tools_directory(node))
        with self._fetch_lock:
            directory = self._local_directory(image)
            if not directory.is_dir():
                self._fetch(bound.files, on_node, directory)
        return self.local_etcd_tools(image)

    def any_api(self, cluster: Cluster) -> Kubectl:
        """kubectl on the first control plane whose API answers. Raises HostUnreachable when no host could be reached."""
        problems: list[GuardError] = []
        for node in cluster.control_planes:
            kubectl = self.on(node).kubectl
            try:
                if kubectl.ready():
                    return kubectl
                problems.append(StepFailed(f"the API server that {node.name} uses is not ready"))
            except GuardError as problem:
                problems.append(problem)
        message = "no control plane's API answers"
        reasons = tuple(problem.message for problem in problems)
        hint = "look at the control planes: crictl ps --all, journalctl -u kubelet"
        if problems and all(isinstance(problem, HostUnreachable) for problem in problems):
            raise HostUnreachable(message, hint="check the network and ssh to the control planes", reasons=reasons)
        raise StepFailed(message, hint=hint, reasons=reasons)

    def _bound(self, name: str, settings: NodeSettings) -> NodeTools:
        key = f"{name}\n{settings.address}"
        if key not in self._tools:
            self._tools[key] = bind(name, settings, self._host(name, settings))
        return self._tools[key]

    def _host(self, name: str, settings: NodeSettings) -> Host:
        if settings.address == LOCAL:
            return LocalHost(name, self.transcript, path=settings.path)
        ssh = self.config.ssh
        destination = settings.address
        if "@" not in destination and ssh.user:
            destination = f"{ssh.user}@{destination}"
        return SshHost(name, destination, ssh.options, ssh.identity_file, self.transcript, path=settings.path)

    def _address_of(self, node: Node) -> str:
        if self.is_entrance(node):
            return self.config.cluster.control_plane
        if not node.internal_ip:
            raise StepFailed(
                f"node {node.name} has no InternalIP, so there is no way to reach it",
                hint=f'set its address in the configuration: [nodes.{node.name}] address = "root@HOST"',
            )
        return node.internal_ip

    def _configured_name(self) -> str:
        """The node whose own settings lead to `cluster.control_plane`, when exactly one says so."""
        entrance = self.config.cluster.control_plane
        names = [name for name, one in self.config.nodes.items() if name != "*" and one.address == entrance]
        if len(names) == 1:
            return names[0]
        if entrance == LOCAL:
            here = [name for name in self.config.nodes if name != "*" and this_machine_is(name, "", self.here)]
            return here[0] if len(here) == 1 else ""
        return ""

    def _name_in_manifest(self) -> str:
        """kubeadm names the etcd member after its node, so the manifest there says which node we reached."""
        if self._entrance_name is None:
            bound = self.first_control_plane()
            try:
                manifest = parse_etcd_manifest(bound.files.read_text(f"{bound.settings.manifests_dir}/etcd.yaml"))
            except HostUnreachable:
                raise
            except GuardError:
                return ""  # moved away during a rollback, or external etcd: then the name stays unknown
            self._entrance_name = manifest.name
        return self._entrance_name

    def _local_directory(self, image: str) -> Path:
        return Path(self.config.state_dir) / "etcd" / image_tag(image)

    def _fetch(self, files: Files, tools: EtcdTools, directory: Path) -> None:
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Beside its final name and renamed, so that a killed process leaves no half set of programs behind.
        part = directory.with_name(f"{directory.name}.part-{secrets.token_hex(4)}")
        part.mkdir(mode=0o700)
        try:
            for path in (tools.etcd, tools.etcdctl, tools.etcdutl):
                if path is not None:
                    local = part / Path(path).name
                    files.fetch(path, local)
                    local.chmod(0o700)
            part.rename(directory)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def bind(name: str, settings: NodeSettings, host: Host) -> NodeTools:
    """Every tool of a node on its host."""
    files = Files(host, work_dir=settings.work_dir)
    return NodeTools(
        name=name,
        settings=settings,
        host=host,
        files=files,
        kubeadm=Kubeadm(host, settings),
        kubectl=Kubectl(host, settings.admin_kubeconfig),
        apt=Apt(host, settings),
        systemctl=Systemctl(host),
        containers=Containers(host),
    )


def merged_settings(defaults: NodeSettings, own: NodeSettings | None) -> NodeSettings:
    """`own` where it says something else than kubeadm's defaults, otherwise `defaults`; an address is never shared."""
    if own is None:
        return replace(defaults, address="")
    kubeadm = NodeSettings()
    said = {
        field.name: getattr(own, field.name)
        for field in fields(NodeSettings)
        if getattr(own, field.name) != getattr(kubeadm, field.name)
    }
    return replace(defaults, **{"address": "", **said})


def image_tag(image: str) -> str:
    """The tag of an image, or its digest, as a name for a directory: `registry.k8s.io/etcd:3.5.24-0` → `3.5.24-0`."""
    name, _, digest = image.partition("@")
    _, colon, tag = name.rpartition("/")[2].partition(":")
    return re.sub(r"[^A-Za-z0-9._-]", "-", tag if colon else digest).lstrip(".") or "untagged"


def host_part(address: str) -> str:
    """The host of `user@host` or `host`."""
    return address.rpartition("@")[2]


def _etcd_image(node: Node) -> str:
    if node.etcd is None:
        raise StepFailed(f"{node.name} has no etcd of its own")
    return node.etcd.image
