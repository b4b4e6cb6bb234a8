"""What checks judge: everything they look at, gathered before, so that judging is pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.etcd import Alarm, EtcdManifest, Member, MemberHash, MemberHealth, MemberStatus
from upgrade_guard.tools.kubeadm import Certificate, KubeadmConfig
from upgrade_guard.tools.kubectl_objects import (
    ApiService,
    Budget,
    DeprecatedApi,
    NodeRow,
    PodRow,
    ServiceRow,
    Webhook,
    WorkloadRow,
)


@dataclass(frozen=True)
class Unanswered:
    """A question that could not be asked: the tool failed. `check` is the check that needed the answer."""

    check: str
    where: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Room:
    """Free space where something will be written. `device` tells whether two places share it; sizes in bytes."""

    path: str
    free: int
    device: int


@dataclass(frozen=True)
class Additions:
    """What a static pod has beside its command: `variables` of its environment, other `containers` beside it."""

    variables: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    host_aliases: bool = False


NO_ADDITIONS = Additions()


@dataclass(frozen=True)
class StaticPodFile:
    """One file in manifests/. `image` is "" when it cannot be read as a pod; `flags` are its command's.

    `components` are those of the control plane's four that it runs, whatever its name is. `additions` is what kubeadm
    may not write by itself, flags and mounts apart.
    """

    name: str
    image: str
    flags: Mapping[str, str] = field(default_factory=dict)
    components: tuple[str, ...] = ()
    additions: Additions = NO_ADDITIONS


@dataclass(frozen=True)
class ControlPlaneLook:
    """What only control planes have. None: it could not be read, and `Gathered.unanswered` says why."""

    etcd: EtcdManifest | None
    etcd_problem: str = ""
    missing_files: tuple[str, ...] = ()  # of the four critical paths
    static_pods: tuple[StaticPodFile, ...] = ()
    certificates: tuple[Certificate, ...] | None = None
    data_room: Room | None = None
    tmp_room: Room | None = None
    manifests_device: int | None = None
    tmp_device: int | None = None  # None: there is no kubernetes_dir/tmp yet
    extra_volumes: frozenset[str] = frozenset()  # of kubeadm-config's, those that are there
    root: str = ""  # where the node's file tree begins, when `kubernetes_dir` says that it is not "/"


@dataclass(frozen=True)
class NodeLook:
    """One node as its own programs and files describe it."""

    name: str
    role: str
    installed: Mapping[str, str] | None = None  # None: not managed by apt
    holds: tuple[str, ...] = ()
    available: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    package_source: str = ""
    package_source_text: str | None = None  # None: no such file
    kubelet_flags: Mapping[str, str] = field(default_factory=dict)  # file -> text
    cgroup_type: str = ""  # filesystem type of /sys/fs/cgroup: cgroup2fs, or tmpfs for version 1
    kubelet_config: str = ""
    clock_offset: float | None = None  # seconds, node minus this machine
    control_plane: ControlPlaneLook | None = None
    patches: tuple[str, ...] | None = None  # names in the directory of kubeadm's patches; None: no such directory
    unfinished: str = ""  # what `dpkg --audit` complains of


@dataclass(frozen=True)
class EtcdLook:
    """etcd as one of its members describes it. `hashes` are all at one revision, `hash_problem` why there are none."""

    members: tuple[Member, ...] = ()
    statuses: tuple[MemberStatus, ...] = ()
    healths: tuple[MemberHealth, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    hashes: tuple[MemberHash, ...] = ()
    hash_problem: str = ""


@dataclass(frozen=True)
class ApiLook:
    """The cluster as its API describes it. None: could not be asked."""

    nodes: tuple[NodeRow, ...] = ()
    pods: tuple[PodRow, ...] = ()
    workloads: tuple[WorkloadRow, ...] = ()
    services: tuple[ServiceRow, ...] = ()
    budgets: tuple[Budget, ...] = ()
    kubeadm_config: KubeadmConfig | None = None
    api_services: tuple[ApiService, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    deprecated: tuple[DeprecatedApi, ...] = ()


@dataclass(frozen=True)
class TargetLook:
    """One off-site target: what stands in its way, and whether it survives the loss of the control planes."""

    url: str
    problems: tuple[str, ...]
    off_control_plane: bool
    reason: str


@dataclass(frozen=True)
class MachineLook:
    """The machine where upgrade-guard runs."""

    vault_room: Room | None = None
    scratch_room: Room | None = None
    targets: tuple[TargetLook, ...] = ()
    targets_required: int = 1


@dataclass(frozen=True)
class DrainLook:
    """What the configuration says about drains; `skipped` are the nodes that are not drained."""

    force: bool = False
    delete_emptydir: bool = True
    skipped: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Gathered:
    """Everything that the checks judge. `cluster` is what inspection read; `now` is seconds since 1970."""

    cluster: Cluster
    now: float
    nodes: tuple[NodeLook, ...] = ()
    etcd: EtcdLook = EtcdLook()
    api: ApiLook = ApiLook()
    machine: MachineLook = MachineLook()
    drain: DrainLook = DrainLook()
    unanswered: tuple[Unanswered, ...] = ()
    patches: str = ""  # the configured directory

    @property
    def control_planes(self) -> tuple[tuple[str, ControlPlaneLook], ...]:
        """Name and look of every control plane."""
        return tuple((node.name, node.control_plane) for node in self.nodes if node.control_plane is not None)
