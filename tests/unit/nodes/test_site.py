"""The wiring: which settings, which way, which node is the one that the configuration names."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest
from unit.nodes.captured_cluster import StandingClock, control_plane_files, with_files

from upgrade_guard.config import ClusterSettings, Config, SshSettings, VaultSettings
from upgrade_guard.errors import HostUnreachable, Refused, StepFailed, UsageProblem
from upgrade_guard.hosts.base import Host
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.hosts.scripted import ScriptedHost
from upgrade_guard.hosts.ssh import SshHost
from upgrade_guard.hosts.transcript import SilentTranscript
from upgrade_guard.model.clock import Clock
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.etcd import EtcdManifest
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.nodes.etcd_programs import image_tag
from upgrade_guard.nodes.local_identity import this_machine_is
from upgrade_guard.nodes.site import Site
from upgrade_guard.tools.own_directory import OwnDirectoryHost
from upgrade_guard.vault.bundle import Vault

ETCD = EtcdManifest(
    "registry.k8s.io/etcd:3.5.24-0", "cp1", "/d", "/c", "/k", "/a", ("https://127.0.0.1:2379",), "https://p"
)
CP1 = Node("cp1", "control-plane", "10.0.0.1", "v1.27.16", etcd=ETCD)
CP2 = Node("cp2", "control-plane", "10.0.0.2", "v1.27.16", etcd=ETCD)
W1 = Node("w1", "worker", "10.0.0.9", "v1.27.16")


def config(tmp_path: Path, control_plane: str = "root@10.0.0.1", node: str = "", **nodes: NodeSettings) -> Config:
    return Config(
        state_dir=tmp_path / "state",
        cluster=ClusterSettings(name="prod", control_plane=control_plane, node=node),
        ssh=SshSettings(user="admin"),
        nodes={name.replace("any", "*"): settings for name, settings in nodes.items()},
        vault=VaultSettings(path=tmp_path / "vault"),
    )


def this_machine(addresses: str = "192.0.2.7") -> ScriptedHost:
    host = ScriptedHost("here")
    host.answers("hostname", "--all-ip-addresses", stdout=f"{addresses}\n")
    return host


class Reached:
    """Stands for every host, and keeps by which name and address each was asked for."""

    def __init__(self, **hosts: ScriptedHost) -> None:
        self.hosts = hosts
        self.asked: list[tuple[str, str]] = []

    def __call__(self, name: str, settings: NodeSettings) -> Host:
        self.asked.append((name, settings.address))
        return self.hosts.get(name) or with_etcd_manifest()


def site(settings: Config, reach: Reached, here: ScriptedHost | None = None, clock: Clock | None = None) -> Site:
    return Site(
        settings,
        transcript=SilentTranscript(),
        clock=clock or StandingClock(),
        vault=Vault(settings.vault.path),
        here=here or this_machine(),
        reach=reach,
    )


def with_etcd_manifest() -> ScriptedHost:
    """A host whose etcd manifest names the member z-cp1."""
    host = ScriptedHost("entrance")
    with_files(host, control_plane_files())
    return host


def test_nodes_are_reached_at_their_internal_ip_and_the_entrance_as_it_was_given(tmp_path: Path) -> None:
    reach = Reached()
    place = site(config(tmp_path), reach)
    assert place.on(CP1).settings.address == "root@10.0.0.1"
    assert place.on(replace(CP1, name="cp9", role="worker")).settings.address == "10.0.0.1"
    assert place.on(W1).settings.address == "10.0.0.9"


def test_an_address_of_its_own_wins(tmp_path: Path) -> None:
    place = site(config(tmp_path, w1=NodeSettings(address="root@w1.internal")), Reached())
    assert place.on(W1).settings.address == "root@w1.internal"


def test_a_node_is_reached_once_however_often_it_is_asked_for(tmp_path: Path) -> None:
    reach = Reached()
    place = site(config(tmp_path), reach)
    assert place.on(W1) is place.on(replace(W1, kubelet_version="v1.28.0"))
    assert reach.asked == [("w1", "10.0.0.9")]


def test_tools_follow_the_settings_of_their_node(tmp_path: Path) -> None:
    odd = NodeSettings(kubernetes_dir="/srv/kubernetes", work_dir="/srv/work")
    place = site(config(tmp_path, any=odd), Reached())
    assert place.on(CP1).files.work_dir == "/srv/work"
    assert place.etcd_tools_directory(CP1) == "/srv/work/etcd/3.5.24-0"
    assert place.etcdctl(CP1).endpoint == "https://127.0.0.1:2379"


@pytest.mark.parametrize(
    ("control_plane", "node", "addresses", "entrance"),
    [
        ("root@10.0.0.2", "", "192.0.2.7", "cp2"),
        ("cp2", "", "192.0.2.7", "cp2"),
        ("local", "", "172.17.0.1 10.0.0.2", "cp2"),
        ("root@vip.example", "cp2", "192.0.2.7", "cp2"),
        ("local", "cp1", "10.0.0.2", "cp1"),
    ],
)
def test_which_node_the_configuration_means(
    tmp_path: Path, control_plane: str, node: str, addresses: str, entrance: str
) -> None:
    place = site(config(tmp_path, control_plane, node), Reached(), this_machine(addresses))
    assert [one.name for one in (CP1, CP2, W1) if place.is_entrance(one)] == [entrance]
    assert place.on({"cp1": CP1, "cp2": CP2}[entrance]).settings.address == control_plane


def test_an_entrance_by_another_name_is_known_by_its_etcd_manifest(tmp_path: Path) -> None:
    reach = Reached(**{"root@bastion-alias": with_etcd_manifest()})
    place = site(config(tmp_path, "root@bastion-alias"), reach)
    first = replace(CP1, name="z-cp1", internal_ip="10.0.0.7")
    assert place.is_entrance(first)
    assert not place.is_entrance(CP2)
    assert place.on(first).settings.address == "root@bastion-alias"


@pytest.mark.parametrize(("hostname", "address"), [("CP1.example\n", "root@bastion-alias"), ("vm-17\n", "10.0.0.1")])
def test_without_a_manifest_the_hostname_of_the_entrance_has_to_do(tmp_path: Path, hostname: str, address: str) -> None:
    bare = ScriptedHost("entrance")
    with_files(bare, {})
    bare.answers("uname", "-n", stdout=hostname)
    place = site(config(tmp_path, "root@bastion-alias"), Reached(**{"root@bastion-alias": bare}))
    assert place.on(CP1).settings.address == address


def test_finding_the_entrance_out_costs_its_commands_once(tmp_path: Path) -> None:
    entrance, here = with_etcd_manifest(), this_machine()
    place = site(config(tmp_path, "root@bastion-alias"), Reached(**{"root@bastion-alias": entrance}), here)
    for _ in range(3):
        for node in (CP1, CP2, W1):
            place.on(node)
    assert len(entrance.commands) == 1
    assert here.commands == []


@pytest.mark.parametrize(
    ("settings", "name", "address"),
    [
        ({}, "root@10.0.0.1", "root@10.0.0.1"),
        ({"node": "cp1"}, "cp1", "root@10.0.0.1"),
        ({"cp7": NodeSettings(address="root@10.0.0.1", kubelet_unit="k")}, "cp7", "root@10.0.0.1"),
        ({"control_plane": "local", "node": "cp1", "cp1": NodeSettings(address="local")}, "cp1", "local"),
        (
            {"control_plane": "local", "cp1": NodeSettings(address="local"), "w1": NodeSettings(address="local")},
            "local",
            "local",
        ),
    ],
)
def test_the_first_control_plane_before_any_node_is_known(
    tmp_path: Path, settings: dict[str, object], name: str, address: str
) -> None:
    reach = Reached()
    bound = site(config(tmp_path, **settings), reach).first_control_plane()  # type: ignore[arg-type]
    assert (bound.name, bound.settings.address) == (name, address)
    assert reach.asked == [(name, address)]


def test_a_machine_is_the_node_of_its_hostname(tmp_path: Path) -> None:
    own = socket.gethostname()
    assert this_machine_is(own.upper(), "", this_machine())
    assert this_machine_is("other", "192.0.2.7", this_machine("192.0.2.7 fe80::1"))
    assert not this_machine_is("other", "192.0.2.8", this_machine("192.0.2.7"))
    mute = ScriptedHost("here")
    mute.answers("hostname", ..., exit_status=127)
    assert not this_machine_is("other", "192.0.2.7", mute)


def test_a_local_node_and_one_whose_address_is_ours_are_here(tmp_path: Path) -> None:
    place = site(config(tmp_path, cp2=NodeSettings(address="local")), Reached(), this_machine("10.0.0.9"))
    assert [one.name for one in (CP1, CP2, W1) if place.is_here(one)] == ["cp2", "w1"]


def test_a_node_without_an_address_needs_one(tmp_path: Path) -> None:
    with pytest.raises(StepFailed) as problem:
        site(config(tmp_path), Reached()).on(replace(W1, internal_ip=""))
    assert "[nodes.w1] address" in problem.value.hint


def test_really_built_hosts_are_local_or_ssh(tmp_path: Path) -> None:
    settings = config(tmp_path, w1=NodeSettings(address="local", path="/lab/bin"))
    place = Site.build(settings, transcript=SilentTranscript(), clock=StandingClock())
    assert isinstance(reached(place, W1), LocalHost)
    there = reached(place, CP1)
    assert isinstance(there, SshHost)
    assert there.destination == "root@10.0.0.1"
    other = reached(place, replace(CP2, role="worker"))
    assert isinstance(other, SshHost)
    assert other.destination == "admin@10.0.0.2"


def reached(place: Site, node: Node) -> Host:
    """Beneath what sees that its work directory is ours alone."""
    host = place.on(node).host
    assert isinstance(host, OwnDirectoryHost)
    return host.beneath


def test_a_state_directory_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    place = Site.build(config(tmp_path), transcript=SilentTranscript(), clock=StandingClock())
    with pytest.raises(UsageProblem) as problem:
        place.on(CP1)
    assert "--state-dir" in problem.value.hint


def ready(exit_status: int) -> ScriptedHost:
    host = with_etcd_manifest()
    host.answers("kubectl", ..., "--raw", "/readyz", exit_status=exit_status)
    return host


def away() -> ScriptedHost:
    host = ScriptedHost("node")
    host.unreachable_at(1)
    return host


def cluster() -> Cluster:
    return Cluster("prod", "v1.27.16", (CP1, CP2, W1), "77", "3.5.12", 1)


def test_the_first_api_that_answers_is_taken(tmp_path: Path) -> None:
    first, second = ready(1), ready(0)
    place = site(config(tmp_path), Reached(cp1=first, cp2=second))
    second.answers("kubectl", ..., "--server=https://10.0.0.2:6443", "cordon", "w1")
    place.any_api(cluster()).cordon("w1")
    assert second.commands[-1].changes


def test_each_control_plane_is_asked_at_its_own_address(tmp_path: Path) -> None:
    host = ready(0)
    place = site(config(tmp_path), Reached(cp1=host))
    assert place.api_server(replace(CP1, api_server="https://10.9.9.9:8443")).ready()
    assert "--server=https://10.9.9.9:8443" in host.argvs[-1]
    assert place.api_server(CP1).ready()
    assert f"--server=https://{CP1.internal_ip}:6443" in host.argvs[-1]


def test_no_api_answers(tmp_path: Path) -> None:
    place = site(config(tmp_path), Reached(cp1=away(), cp2=ready(1)))
    with pytest.raises(StepFailed) as problem:
        place.any_api(cluster())
    assert not isinstance(problem.value, HostUnreachable)
    assert len(problem.value.reasons) == 2


def test_no_control_plane_can_be_reached(tmp_path: Path) -> None:
    place = site(config(tmp_path), Reached(cp1=away(), cp2=away()))
    with pytest.raises(HostUnreachable):
        place.any_api(cluster())


def test_programs_that_were_never_fetched_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        site(config(tmp_path), Reached()).local_etcd_tools(ETCD.image)


def test_a_worker_has_no_etcd(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="w1 has no etcd"):
        site(config(tmp_path), Reached()).etcdctl(W1)


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("registry.k8s.io/etcd:3.5.24-0", "3.5.24-0"),
        ("mirror.example:5000/etcd:3.6.5-0@sha256:ab", "3.6.5-0"),
        ("mirror.example:5000/etcd@sha256:ab", "sha256-ab"),
        ("etcd", "untagged"),
        ("x/etcd:..", "untagged"),
    ],
)
def test_a_directory_by_the_tag_of_the_image(image: str, tag: str) -> None:
    assert image_tag(image) == tag
