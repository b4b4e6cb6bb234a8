"""The wiring of one cluster: from the configuration and the nodes that were found to tools bound to their hosts."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from upgrade_guard.config import Config
from upgrade_guard.errors import GuardError, HostUnreachable, StepFailed
from upgrade_guard.hosts.base import Host, Transcript
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.model.clock import Clock
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.etcd import EtcdManifest
from upgrade_guard.model.node import NodeSettings, table_of
from upgrade_guard.nodes.connect import LOCAL, Reach, host_part, reach_by
from upgrade_guard.nodes.etcd_programs import (
    HERE,
    Digests,
    Recorded,
    digests_here,
    fetch_programs,
    image_tag,
    kept_programs,
    local_programs,
    nothing_recorded,
    place,
    refuse_exchanged,
    send_programs,
)
from upgrade_guard.nodes.local_identity import names_of, this_machine_is
from upgrade_guard.nodes.node_tools import NodeTools, bind
from upgrade_guard.tools.api_server import DEFAULT_PORT, ApiServer, url_of
from upgrade_guard.tools.etcd_manifest import read_etcd_manifest
from upgrade_guard.tools.etcd_tools import extract_etcd_tools
from upgrade_guard.tools.etcdctl import Etcdctl
from upgrade_guard.tools.etcdutl import Etcdutl
from upgrade_guard.tools.files import read_if_there
from upgrade_guard.tools.kubectl import Kubectl
from upgrade_guard.tools.ssh_keygen import NAMESPACE, SshKeygen
from upgrade_guard.vault.bundle import Vault
from upgrade_guard.vault.proof import LocalEtcdTools

__all__ = ["NodeTools", "Site"]


class Site:
    """One cluster as the configuration describes it, and the way to each of its nodes.

    Hosts are kept, so that a node has one ssh connection for all lanes. `here` is this machine, where proofs run.
    `recorded` is what the journal has of etcd's programs: others are not run.
    """

    def __init__(
        self,
        config: Config,
        *,
        transcript: Transcript,
        clock: Clock,
        vault: Vault,
        here: Host,
        reach: Reach,
        recorded: Recorded = nothing_recorded,
        history_head: Callable[[], str] = str,
        ssh_agent: str = "",
    ) -> None:
        """`history_head` tells the digest of the journal's newest row; "" where there is no journal. `ssh_agent` is the
        socket of an agent that may have the key which signs it.
        """
        self.config = config
        self.transcript = transcript
        self.clock = clock
        self.vault = vault
        self.here = here
        self.history_head = history_head
        self.ssh_keygen = SshKeygen(here, ssh_agent)
        self._reach = reach
        self._bound_nodes: dict[tuple[str, str], NodeTools] = {}
        self._known_nodes: dict[tuple[str, str, str], NodeTools] = {}
        self._entrance_names: frozenset[str] | None = None
        self._lock = threading.RLock()
        self._fetch_lock = threading.Lock()
        self._recorded = recorded
        self._known_programs: dict[str, Digests] | None = None
        self._compared: set[str] = set()

    @classmethod
    def build(
        cls,
        config: Config,
        *,
        transcript: Transcript,
        clock: Clock,
        recorded: Recorded = nothing_recorded,
        history_head: Callable[[], str] = str,
        ssh_agent: str = "",
    ) -> Site:
        """Wire it; nothing is asked of any node yet."""
        here = LocalHost("here", transcript, spool_dir=config.state_dir / "spool")
        return cls(
            config,
            transcript=transcript,
            clock=clock,
            vault=Vault(config.vault.path),
            here=here,
            reach=reach_by(config, transcript),
            recorded=recorded,
            history_head=history_head,
            ssh_agent=ssh_agent,
        )

    def settings(self, node_name: str) -> NodeSettings:
        """Where things are on a node: `[nodes.NAME]` over `[nodes."*"]` over kubeadm's defaults."""
        return self.config.node(node_name)

    def signature_of(self, head: str) -> str:
        """The signature of that head by `audit.signing_key`; "" where none is configured. Raises StepFailed."""
        key = self.config.audit.signing_key
        if not key or not head:
            return ""
        try:
            return self.ssh_keygen.sign(key, head)
        except GuardError as problem:
            raise StepFailed(
                f"audit.signing_key = {key!r} cannot sign the head of history: {problem.message}",
                hint=f"try it: echo | ssh-keygen -Y sign -n {NAMESPACE} -f {shlex.quote(key)}",
            ) from problem

    def first_control_plane(self) -> NodeTools:
        """The control plane that the configuration names, reachable before any node of the cluster is known.

        Its name is `cluster.node` when that is set or can be told from `[nodes]`, otherwise what `control_plane` says.
        """
        entrance = self.config.cluster.control_plane
        name = self.config.cluster.node or self._name_in_settings()
        settings = self.settings(name or "*")
        if not settings.address:
            settings = replace(settings, address=entrance)
        return self._bound(name or entrance, settings)

    def on(self, node: Node) -> NodeTools:
        """The tools of one node. Without an `address` of its own it is reached at its InternalIP over ssh."""
        # Kept: finding out which one is the entrance costs commands, and waits ask for a node every half second.
        key = (node.name, node.internal_ip, node.role)
        with self._lock:
            if key not in self._known_nodes:
                settings = self.settings(node.name)
                if not settings.address:
                    settings = replace(settings, address=self._address_of(node))
                self._known_nodes[key] = self._bound(node.name, settings)
            return self._known_nodes[key]

    def is_entrance(self, node: Node) -> bool:
        """Is this the control plane that `cluster.control_plane` reaches?"""
        if self.config.cluster.node:
            return node.name == self.config.cluster.node
        if not node.is_control_plane:
            return False
        entrance = self.config.cluster.control_plane
        if entrance == LOCAL and this_machine_is(node.name, node.internal_ip, self.here):
            return True
        if entrance != LOCAL and host_part(entrance) in (node.internal_ip, node.name):
            return True
        return node.name in self._names_of_entrance()

    def is_here(self, node: Node) -> bool:
        """Does upgrade-guard run on this very node? Then its disk is no place for the only copy of a backup."""
        return self.on(node).settings.address == LOCAL or this_machine_is(node.name, node.internal_ip, self.here)

    def etcd_tools_directory(self, node: Node) -> str:
        """Where the programs of the cluster's own etcd image are kept on a control plane."""
        return f"{self.settings(node.name).work_dir}/etcd/{image_tag(etcd_of(node).image)}"

    def etcdctl(self, node: Node) -> Etcdctl:
        """etcdctl on that control plane, speaking to the member there. `ensure_etcd_tools` puts it there."""
        etcd = etcd_of(node)
        return Etcdctl(
            self.on(node).host,
            f"{self._compared_directory(node)}/etcdctl",
            etcd.endpoint,
            etcd.trusted_ca_file,
            etcd.cert_file,
            etcd.key_file,
        )

    def etcdutl(self, node: Node) -> Etcdutl:
        """The tool that restores on that control plane: etcdutl, or etcdctl where the image has no etcdutl (3.4)."""
        directory = self._compared_directory(node)
        there = self.on(node).files.exists(f"{directory}/etcdutl")
        return Etcdutl(self.on(node).host, f"{directory}/etcdutl" if there else None, f"{directory}/etcdctl")

    def local_etcd_tools(self, image: str) -> LocalEtcdTools:
        """The programs of that image on this machine, for proofs. Raises Refused when they were never fetched."""
        directory = self._local_directory(image)
        programs = local_programs(directory)
        known = self._programs_of(place(HERE, directory))
        refuse_exchanged("on this machine", directory, digests_here(directory) if known else {}, known)
        return programs

    def kept_programs(self, version: str) -> LocalEtcdTools:
        """The programs of that etcd version on this machine, whatever image they are of. Raises Refused."""
        return kept_programs(self.config.programs_path, version, self.here, self._recorded)

    def local_etcdutl(self, node: Node) -> Etcdutl:
        """The same tool on this machine, for snapshots that were fetched here."""
        programs = self.local_etcd_tools(etcd_of(node).image)
        return Etcdutl(self.here, str(programs.etcdutl) if programs.etcdutl else None, str(programs.etcdctl))

    def has_etcd_tools(self, node: Node) -> bool:
        """Are they there and on this machine, and are they what this process, or the journal, knows them to be?"""
        directory, here = self.etcd_tools_directory(node), self._local_directory(etcd_of(node).image)
        known, known_here = self._programs_of(place(node.name, directory)), self._programs_of(place(HERE, here))
        if not known or not known_here or digests_here(here) != known_here:
            return False
        return self._digests_on(node, directory) == known

    def program_digests(self, nodes: Iterable[Node]) -> dict[str, dict[str, str]]:
        """What is known of the programs of these nodes, and of theirs on this machine, for the journal."""
        places = [place(node.name, self.etcd_tools_directory(node)) for node in nodes if node.etcd]
        places += [place(HERE, self._local_directory(etcd_of(node).image)) for node in nodes if node.etcd]
        return {one: dict(self._programs_of(one)) for one in sorted(set(places))}

    def ensure_etcd_tools(self, node: Node) -> LocalEtcdTools:
        """Extract etcd's programs from the image on that node, and fetch them to this machine, once each.

        What is there already counts only when its digests are known; otherwise the image is asked again.
        """
        etcd, bound, directory = etcd_of(node), self.on(node), self.etcd_tools_directory(node)
        known = self._programs_of(place(node.name, directory))
        anew = not known or self._digests_on(node, directory) != known
        on_node = extract_etcd_tools(bound.files, bound.containers, etcd.image, directory, anew=anew)
        found = self._digests_on(node, directory)
        self._now_known(place(node.name, directory), found)
        with self._fetch_lock:
            here = self._local_directory(etcd.image)
            known_here = self._programs_of(place(HERE, here))
            # Another control plane may have another architecture, and programs of its own.
            if not known_here or digests_here(here) != known_here:
                fetch_programs(bound.files, on_node, here)
                if digests_here(here) != found:
                    raise StepFailed(
                        f"etcd's programs changed on their way from {node.name} to {here}",
                        hint="fetch them again: upgrade-guard check",
                    )
                self._now_known(place(HERE, here), found)
            return local_programs(here)

    def send_etcd_tools(self, node: Node) -> bool:
        """Bring the programs that are kept here to that node, whose image is gone; False when they are not here.

        Those that nothing is on record of were put here by hand; from now on they are on record.
        """
        image = etcd_of(node).image
        here = self._local_directory(image)
        if not (here / "etcd").is_file() or not (here / "etcdctl").is_file():
            return False
        programs, directory = self.local_etcd_tools(image), self.etcd_tools_directory(node)
        digests = digests_here(here)
        if self._digests_on(node, directory) != digests:
            send_programs(self.on(node).files, programs, directory)
        self._now_known(place(node.name, directory), digests)
        self._now_known(place(HERE, here), digests)
        return True

    def _compared_directory(self, node: Node) -> str:
        """Where etcd's programs are on that node, compared once by this process. Raises Refused for others."""
        directory = self.etcd_tools_directory(node)
        one = place(node.name, directory)
        known = self._programs_of(one)
        if known and one not in self._compared:
            refuse_exchanged(f"on {node.name}", directory, self._digests_on(node, directory), known)
            self._compared.add(one)
        return directory

    def _digests_on(self, node: Node, directory: str) -> dict[str, str]:
        files = self.on(node).files
        there = files.existing(*(f"{directory}/{name}" for name in ("etcd", "etcdctl", "etcdutl")))
        return {path.rpartition("/")[2]: digest for path, digest in files.sha256(*sorted(there)).items()}

    def _programs_of(self, one: str) -> Digests:
        with self._lock:
            if self._known_programs is None:
                self._known_programs = dict(self._recorded())
            return self._known_programs.get(one, {})

    def _now_known(self, one: str, digests: Digests) -> None:
        self._programs_of(one)
        with self._lock:
            if self._known_programs is not None:
                self._known_programs[one] = digests
            self._compared.add(one)

    def api_server(self, node: Node) -> ApiServer:
        """The API server that runs on that control plane, at its own address: for questions about this server."""
        return ApiServer(self.on(node).host, self.settings(node.name).admin_kubeconfig, _api_url(node))

    def kubectl(self, node: Node) -> Kubectl:
        """kubectl on that control plane, through the API server that runs there."""
        return Kubectl(self.on(node).host, self.settings(node.name).admin_kubeconfig, _api_url(node))

    def any_api(self, cluster: Cluster) -> Kubectl:
        """kubectl through the first control plane whose own API server is ready: for questions about the cluster.

        Raises HostUnreachable when no control plane could be reached, StepFailed when none of their APIs is ready.
        """
        problems: list[GuardError] = []
        for node in cluster.control_planes:
            try:
                if self.api_server(node).ready():
                    return self.kubectl(node)
                problems.append(StepFailed(f"the API server of {node.name} is not ready"))
            except GuardError as problem:
                problems.append(problem)
        message = "no control plane's API answers"
        reasons = tuple(problem.message for problem in problems)
        if problems and all(isinstance(problem, HostUnreachable) for problem in problems):
            raise HostUnreachable(message, hint="check the network and ssh to the control planes", reasons=reasons)
        raise StepFailed(
            message, hint="look on a control plane: crictl ps --all; journalctl -u kubelet", reasons=reasons
        )

    def _bound(self, name: str, settings: NodeSettings) -> NodeTools:
        key = (name, settings.address)
        with self._lock:
            if key not in self._bound_nodes:
                self._bound_nodes[key] = bind(name, settings, self._reach(name, settings))
            return self._bound_nodes[key]

    def _address_of(self, node: Node) -> str:
        if self.is_entrance(node):
            return self.config.cluster.control_plane
        if not node.internal_ip:
            raise StepFailed(
                f"node {node.name} has no InternalIP, so there is no way to reach it",
                hint=f'give its address in the configuration: {table_of(node.name)} address = "root@HOST"',
            )
        return node.internal_ip

    def _name_in_settings(self) -> str:
        """The node of `[nodes]` that `cluster.control_plane` reaches, when exactly one can be meant."""
        entrance = self.config.cluster.control_plane
        named = [name for name in self.config.nodes if name != "*"]
        same = [name for name in named if self.config.nodes[name].address == entrance]
        if entrance == LOCAL and len(same) != 1:
            same = [name for name in named if this_machine_is(name, "", self.here)]
        return same[0] if len(same) == 1 else ""

    def _names_of_entrance(self) -> frozenset[str]:
        """What the node that `cluster.control_plane` reaches calls itself: by its etcd member, else by its hostname.

        kubeadm names the member after the node; while a rollback has moved the manifest away the hostname has to do.
        """
        with self._lock:
            if self._entrance_names is None:
                bound = self.first_control_plane()
                try:
                    text = read_if_there(bound.files, f"{bound.settings.manifests_dir}/etcd.yaml")
                except HostUnreachable:
                    return frozenset()  # asked again later; until then every node is reached at its own address
                manifest, _ = read_etcd_manifest(text)
                self._entrance_names = frozenset({manifest.name}) if manifest else names_of(bound.host)
            return self._entrance_names

    def _local_directory(self, image: str) -> Path:
        return self.config.programs_path / image_tag(image)


def _api_url(node: Node) -> str:
    """Where the node's own API server is; a run of an older version did not record it, and kubeadm's default stands."""
    return node.api_server or url_of(node.internal_ip, DEFAULT_PORT)


def etcd_of(node: Node) -> EtcdManifest:
    """What the manifest of that control plane says of etcd. Raises StepFailed where there is none."""
    if node.etcd is None:
        raise StepFailed(
            f"{node.name} has no etcd of its own",
            hint="upgrade-guard upgrades clusters whose etcd runs on the control planes (stacked etcd)",
        )
    return node.etcd
