"""One node as its own programs and files describe it."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from upgrade_guard.checks.control_plane_files import critical_paths, program_of
from upgrade_guard.checks.findings import Questions
from upgrade_guard.checks.gathered import Additions, ControlPlaneLook, NodeLook, Room, StaticPodFile
from upgrade_guard.checks.packages import PACKAGES, points_elsewhere
from upgrade_guard.errors import CommandFailed, UnexpectedOutput
from upgrade_guard.model.clock import Clock
from upgrade_guard.model.cluster import COMPONENTS, Node
from upgrade_guard.model.command import Command
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.node_tools import NodeTools
from upgrade_guard.tools.etcd_manifest import read_etcd_manifest
from upgrade_guard.tools.files import Files, read_if_there
from upgrade_guard.tools.kubeadm import DEFAULT_DIRECTORY
from upgrade_guard.tools.static_pod import StaticPod, parse_static_pod

KUBELET_ENVIRONMENT_FILES = ("/default/kubelet", "/sysconfig/kubelet")


@dataclass(frozen=True)
class NodeQuestions:
    """What is asked of every node on the way from `now` to `target`. `patches` is the directory of kubeadm's patches,
    "" for the usual one; `volumes` are the paths that kubeadm-config has mounted into control planes.
    """

    clock: Clock
    now: Version
    target: Version
    patches: str = ""
    volumes: tuple[str, ...] = ()


def look_at_node(tools: NodeTools, node: Node, questions: Questions, wanted: NodeQuestions) -> NodeLook:
    """Everything that the checks ask of one node. Raises HostUnreachable."""
    files, settings, name = tools.files, tools.settings, node.name
    clock, now, target, patches = wanted.clock, wanted.now, wanted.target, wanted.patches
    source = read_if_there(files, settings.package_source)
    needs_cgroups = (target.major, target.minor) >= (1, 35)  # nobody asks before
    return NodeLook(
        name=name,
        role=node.role,
        # Packages and holds were read with the cluster a moment ago; on many nodes each command counts.
        installed=node.packages or None,
        holds=node.holds,
        available={} if points_elsewhere(source, now, target) else _available(tools, node.packages, questions),
        package_source=settings.package_source,
        package_source_text=source,
        kubelet_flags=_kubelet_flags(tools),
        cgroup_type=_cgroup_type(files, name, questions) if needs_cgroups else "",
        kubelet_config=read_if_there(files, f"{settings.kubelet_dir}/config.yaml") or "",
        clock_offset=questions.ask("clocks-agree", name, lambda: _clock_offset(tools, clock), None),
        control_plane=look_at_control_plane(tools, questions, wanted.volumes) if node.is_control_plane else None,
        patches=_names_in(files, patches or f"{settings.kubernetes_dir}/patches"),
        unfinished=questions.ask("packages-whole", name, tools.apt.audit, ""),
    )


def _names_in(files: Files, directory: str) -> tuple[str, ...] | None:
    return files.list_dir(directory) if files.is_dir(directory) else None


def look_at_control_plane(tools: NodeTools, questions: Questions, volumes: tuple[str, ...]) -> ControlPlaneLook:
    """manifests/, certificates and disks of one control plane, and which of the paths `volumes` are there."""
    files, name, manifests = tools.files, tools.name, tools.settings.manifests_dir
    names = questions.ask("manifests-clean", name, lambda: files.list_dir(manifests), ())
    texts = {file: read_if_there(files, f"{manifests}/{file}") for file in names if not file.startswith(".")}
    etcd, problem = read_etcd_manifest(texts.get("etcd.yaml"))
    paths = [path for path in critical_paths(etcd).values() if path] if etcd else []
    data_dir = etcd.data_dir if etcd else ""
    kubernetes_dir = tools.settings.kubernetes_dir
    tmp = posixpath.join(kubernetes_dir, "tmp")
    has_tmp = files.exists(tmp)
    tmp_device = questions.ask("tmp-same-filesystem", name, lambda: files.device(tmp), None) if has_tmp else None
    return ControlPlaneLook(
        etcd=etcd,
        etcd_problem=problem,
        missing_files=tuple(path for path in paths if not files.exists(path)),
        static_pods=tuple(static_pod_file(file, text) for file, text in sorted(texts.items()) if text is not None),
        certificates=questions.ask("certificates-valid", name, tools.kubeadm.certificates, None),
        data_room=questions.ask("disk-space-etcd", name, lambda: room(files, data_dir), None) if data_dir else None,
        tmp_room=questions.ask("disk-space-etcd", name, lambda: room(files, tmp), None),
        manifests_device=questions.ask("tmp-same-filesystem", name, lambda: files.device(manifests), None),
        tmp_device=tmp_device,
        extra_volumes=files.existing(*volumes) if volumes else frozenset(),
        root=kubernetes_dir.removesuffix(DEFAULT_DIRECTORY) if kubernetes_dir.endswith(DEFAULT_DIRECTORY) else "",
    )


def read_installed(tools: NodeTools) -> Mapping[str, str] | None:
    """The versions that apt installed; None where dpkg does not answer: another package manager."""
    try:
        return tools.apt.installed(PACKAGES)
    except CommandFailed as problem:
        if problem.exit_status is None:
            raise
        return None


def static_pod_file(name: str, text: str) -> StaticPodFile:
    """One file of manifests/ as the checks see it; without an image when it is no pod."""
    try:
        pod = parse_static_pod(text, name.removesuffix(".yaml"))
    except UnexpectedOutput:
        return StaticPodFile(name, "")
    return StaticPodFile(
        name,
        pod.image,
        pod.flags,
        components_in(pod),
        Additions(
            variables=pod.variables,
            containers=tuple(container for container in pod.containers if container != pod.name),
            requests=pod.requests,
            limits=pod.limits,
            host_aliases=pod.host_aliases,
        ),
    )


def components_in(pod: StaticPod) -> tuple[str, ...]:
    """The components that this pod runs: it, or a container in it, is named so and has that component's image.

    A pod that only uses etcd's image, for a backup by etcdctl, is none.
    """
    return tuple(
        component
        for component in COMPONENTS
        if any(
            component in (name, pod.pod) and component == program_of(image) for name, image in pod.containers.items()
        )
    )


def room(files: Files, path: str) -> Room:
    """Free space at `path`, or at the nearest directory above it that exists."""
    while path != "/" and not files.exists(path):
        path = posixpath.dirname(path)
    return Room(path, files.free_bytes(path), files.device(path))


def _available(tools: NodeTools, installed: Mapping[str, str], questions: Questions) -> dict[str, tuple[str, ...]]:
    def offered(package: str) -> tuple[str, ...]:
        return questions.ask("packages-available", tools.name, lambda: tools.apt.available(package), ())

    return {package: offered(package) for package in installed}


def _kubelet_flags(tools: NodeTools) -> dict[str, str]:
    """What gives kubelet its flags: kubeadm's own file, and the environment files and drop-ins of its unit among the
    node's host files.
    """
    own = [path for path in tools.settings.host_files if path.endswith(KUBELET_ENVIRONMENT_FILES)]
    for path in tools.settings.host_files:
        if path.endswith("/kubelet.service.d") and tools.files.is_dir(path):
            own += [f"{path}/{name}" for name in tools.files.list_dir(path) if name.endswith(".conf")]
    texts = {
        path: read_if_there(tools.files, path) for path in (f"{tools.settings.kubelet_dir}/kubeadm-flags.env", *own)
    }
    return {path: text for path, text in texts.items() if text is not None}


def _cgroup_type(files: Files, name: str, questions: Questions) -> str:
    return questions.ask("cgroups-supported", name, lambda: files.filesystem_type("/sys/fs/cgroup"), "")


def _clock_offset(tools: NodeTools, clock: Clock) -> float:
    """Seconds that the node's clock is ahead of ours; 0 when it says a time at which the command was under way."""
    before = clock.now().timestamp()
    result = tools.host.run(Command(("date", "+%s"), timeout=15))
    after = clock.now().timestamp()
    if not result.stdout.strip().isdecimal():
        raise UnexpectedOutput(f"date on {tools.name} printed {result.stdout.strip()[:80]!r}")
    there = float(result.stdout)
    if before - 1 <= there <= after:
        return 0.0
    return there - after if there > after else there - before
