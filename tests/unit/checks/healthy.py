"""A cluster with nothing wrong: three control planes and a worker; each test breaks one thing in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from upgrade_guard.checks.gathered import (
    Additions,
    ApiLook,
    ControlPlaneLook,
    EtcdLook,
    Gathered,
    MachineLook,
    NodeLook,
    Room,
    StaticPodFile,
    TargetLook,
)
from upgrade_guard.model.cluster import Addon, Cluster, Node
from upgrade_guard.model.etcd import EtcdManifest, Member, MemberHash, MemberHealth, MemberStatus
from upgrade_guard.model.version import Version
from upgrade_guard.tools.kubeadm import Certificate, KubeadmConfig
from upgrade_guard.tools.kubectl_objects import NodeRow, PodRow, WorkloadRow

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
TARGET = Version(1, 28, 0)
GIB = 1024**3
CONTROL_PLANES = ("cp1", "cp2", "cp3")
NODES = (*CONTROL_PLANES, "w1")
SOURCE = "deb https://pkgs.k8s.io/core:/stable:/v1.27/deb/ /\n"


def etcd_manifest(name: str, **changes: Any) -> EtcdManifest:
    manifest = EtcdManifest(
        image="registry.k8s.io/etcd:3.5.12-0",
        name=name,
        data_dir="/var/lib/etcd",
        cert_file="/etc/kubernetes/pki/etcd/server.crt",
        key_file="/etc/kubernetes/pki/etcd/server.key",
        trusted_ca_file="/etc/kubernetes/pki/etcd/ca.crt",
        listen_client_urls=("https://127.0.0.1:2379",),
        initial_advertise_peer_urls="https://10.0.0.1:2380",
    )
    return replace(manifest, **changes)


def node(name: str) -> Node:
    is_control_plane = name in CONTROL_PLANES
    return Node(
        name=name,
        role="control-plane" if is_control_plane else "worker",
        internal_ip=f"10.0.0.{NODES.index(name) + 1}",
        kubelet_version="v1.27.16",
        runtime="containerd://1.7.2",
        etcd=etcd_manifest(name) if is_control_plane else None,
    )


def static_pods() -> tuple[StaticPodFile, ...]:
    return (
        static_pod("etcd", "3.5.12-0", {"data-dir": "/var/lib/etcd"}),
        static_pod("kube-apiserver", "v1.27.16", {"secure-port": "6443"}),
        static_pod("kube-controller-manager", "v1.27.16", {"bind-address": "127.0.0.1"}),
        static_pod("kube-scheduler", "v1.27.16", {"leader-elect": "true"}),
    )


def static_pod(component: str, tag: str, flags: dict[str, str]) -> StaticPodFile:
    return StaticPodFile(f"{component}.yaml", f"registry.k8s.io/{component}:{tag}", flags, (component,))


def control_plane(name: str) -> ControlPlaneLook:
    return ControlPlaneLook(
        etcd=etcd_manifest(name),
        static_pods=static_pods(),
        certificates=(Certificate("apiserver", NOW + timedelta(days=200)),),
        data_room=Room("/var/lib/etcd", 10 * GIB, 1),
        tmp_room=Room("/etc/kubernetes/tmp", 10 * GIB, 1),
        manifests_device=1,
        tmp_device=1,
    )


def node_look(name: str) -> NodeLook:
    packages = ("kubeadm", "kubelet", "kubectl")
    return NodeLook(
        name=name,
        role="control-plane" if name in CONTROL_PLANES else "worker",
        installed=dict.fromkeys(packages, "1.27.16-1.1"),
        holds=packages,
        available=dict.fromkeys(packages, ("1.27.16-1.1",)),
        package_source="/etc/apt/sources.list.d/kubernetes.list",
        package_source_text=SOURCE,
        kubelet_flags={"/var/lib/kubelet/kubeadm-flags.env": 'KUBELET_KUBEADM_ARGS="--node-ip=10.0.0.1"\n'},
        clock_offset=0.0,
        control_plane=control_plane(name) if name in CONTROL_PLANES else None,
    )


def member_status(number: int, **changes: Any) -> MemberStatus:
    status = MemberStatus(
        endpoint=f"https://10.0.0.{number}:2379",
        cluster_id=77,
        member_id=number,
        revision=5000,
        raft_term=3,
        version="3.5.12",
        db_size=20 * 1024**2,
        leader=1,
        raft_index=9000,
        raft_applied_index=9000,
    )
    return replace(status, **changes)


def etcd_look() -> EtcdLook:
    numbers = (1, 2, 3)
    endpoints = [f"https://10.0.0.{number}:2379" for number in numbers]
    return EtcdLook(
        members=tuple(Member(number, f"cp{number}", ("https://p",), ("https://c",)) for number in numbers),
        statuses=tuple(member_status(number) for number in numbers),
        healths=tuple(MemberHealth(endpoint, healthy=True) for endpoint in endpoints),
        hashes=tuple(MemberHash(endpoint, 0xABCD, 4000, 5000) for endpoint in endpoints),
    )


def node_row(name: str, **changes: Any) -> NodeRow:
    row = NodeRow(
        name=name,
        role="control-plane" if name in CONTROL_PLANES else "worker",
        internal_ip="10.0.0.1",
        kubelet_version="v1.27.16",
        ready=True,
        ready_reason="KubeletReady",
        unschedulable=False,
        runtime="containerd://1.7.2",
        cri_socket="unix:///run/containerd/containerd.sock",
    )
    return replace(row, **changes)


def pod(name: str, namespace: str = "shop", *, on: str = "w1", ready: bool = True, **changes: Any) -> PodRow:
    row = PodRow(namespace, name, on, "Running", ready=ready, owner_kind="ReplicaSet", labels={"app": name})
    return replace(row, **changes)


def workload(name: str, namespace: str = "shop", **changes: Any) -> WorkloadRow:
    row = WorkloadRow("Deployment", namespace, name, desired=3, ready=3, images=(f"example.org/{name}:1",))
    return replace(row, **changes)


def kubeadm_config(**changes: Any) -> KubeadmConfig:
    return replace(KubeadmConfig("v1.27.16", "/var/lib/etcd", "kubernetes", "", "registry.k8s.io"), **changes)


def api_look() -> ApiLook:
    return ApiLook(
        nodes=tuple(node_row(name) for name in NODES),
        pods=(pod("web"),),
        workloads=(workload("web"),),
        kubeadm_config=kubeadm_config(),
    )


def machine_look() -> MachineLook:
    return MachineLook(
        vault_room=Room("/var/lib/upgrade-guard/vault", 10 * GIB, 1),
        scratch_room=Room("/var/lib/upgrade-guard", 10 * GIB, 1),
        targets=(TargetLook("ssh://nas/srv/etcd", (), off_control_plane=True, reason="another host"),),
    )


def healthy() -> Gathered:
    cluster = Cluster(
        name="prod",
        version="v1.27.16",
        nodes=tuple(node(name) for name in NODES),
        etcd_cluster_id="77",
        etcd_version="3.5.12",
        etcd_db_size=20 * 1024**2,
        addons=(Addon("calico", "network", "kube-system", "calico-node", "calico/node:v3", healthy=True, advice="a"),),
    )
    return Gathered(
        cluster=cluster,
        now=NOW.timestamp(),
        nodes=tuple(node_look(name) for name in NODES),
        etcd=etcd_look(),
        api=api_look(),
        machine=machine_look(),
    )


# One thing broken


def with_etcd(**changes: Any) -> Gathered:
    return replace(healthy(), etcd=replace(etcd_look(), **changes))


def with_statuses(*statuses: MemberStatus) -> Gathered:
    return with_etcd(statuses=statuses)


def with_api(**changes: Any) -> Gathered:
    return replace(healthy(), api=replace(api_look(), **changes))


def with_machine(**changes: Any) -> Gathered:
    return replace(healthy(), machine=replace(machine_look(), **changes))


def with_cluster(**changes: Any) -> Gathered:
    whole = healthy()
    return replace(whole, cluster=replace(whole.cluster, **changes))


def with_node(name: str, **changes: Any) -> Gathered:
    whole = healthy()
    looks = tuple(replace(look, **changes) if look.name == name else look for look in whole.nodes)
    return replace(whole, nodes=looks)


def with_control_plane(name: str, **changes: Any) -> Gathered:
    return with_node(name, control_plane=replace(control_plane(name), **changes))


def with_known_node(name: str, **changes: Any) -> Gathered:
    """Change what inspection knows of a node, such as its kubelet."""
    whole = healthy()
    nodes = tuple(replace(one, **changes) if one.name == name else one for one in whole.cluster.nodes)
    return replace(whole, cluster=replace(whole.cluster, nodes=nodes))


def with_additions(component: str, additions: Additions) -> Gathered:
    """What people added to the manifest of one component on cp2."""
    pods = tuple(replace(one, additions=additions) if one.name == f"{component}.yaml" else one for one in static_pods())
    return with_control_plane("cp2", static_pods=pods)


def with_flag(component: str, flag: str, value: str) -> Gathered:
    """A flag in the manifest of one component on cp2."""
    pods = tuple(
        replace(one, flags={**one.flags, flag: value}) if one.name == f"{component}.yaml" else one
        for one in static_pods()
    )
    return with_control_plane("cp2", static_pods=pods)
