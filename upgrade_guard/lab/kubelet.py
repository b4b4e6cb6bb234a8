"""The kubelet of each node: static pods from manifests/, its node's status, and the pods bound to its node.

On a node whose kubelet does not work nothing changes: stopping it stops no container (measured).
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from upgrade_guard.lab import containers, faults, manifests, objects, ranges, releases
from upgrade_guard.lab.layout import LabSettings, Layout
from upgrade_guard.lab.manifests import StaticPod
from upgrade_guard.lab.records import Container, NodeRecord
from upgrade_guard.lab.world import Object, World, now_text

BROKEN_WORKLOAD = "ledger"
# Of a lab's pace: how long after its start a new kubelet restarts the static pods.
LATE = 0.5
# Between two attempts of systemd; ten seconds in kubelet's own unit.
RESTART_AFTER = 0.5


def start(settings: LabSettings, record: NodeRecord) -> None:
    """`systemctl start kubelet`: the installed version runs from now on, and learns everything anew."""
    kubelet = record.kubelet
    kubelet.active, kubelet.registered, kubelet.seen, kubelet.restarts = True, False, 0, 0
    kubelet.started = time.time()
    kubelet.version = releases.of_package(record.packages["kubelet"])
    kubelet.broken = why_broken(settings, record)
    kubelet.silent_since = 0.0 if kubelet.works else kubelet.silent_since or time.time()


def stop(record: NodeRecord) -> None:
    """`systemctl stop kubelet`: the containers live on."""
    record.kubelet.active, record.kubelet.broken = False, ""
    record.kubelet.silent_since = record.kubelet.silent_since or time.time()


def keep_restarting(settings: LabSettings, record: NodeRecord) -> None:
    """systemd starts a kubelet that ended again and again (Restart=always): it comes up by itself once it can."""
    kubelet = record.kubelet
    if kubelet.active and kubelet.broken and time.time() - kubelet.started >= RESTART_AFTER:
        restarts = kubelet.restarts + 1
        start(settings, record)
        kubelet.restarts = restarts


def why_broken(settings: LabSettings, record: NodeRecord) -> str:
    """What would keep the kubelet process from coming up, or ""."""
    directory, layout = Path(settings.directory), Layout.of(settings)
    version, own = releases.of_package(record.packages["kubelet"]), layout.kubelet(record.name)
    if not (own / "config.yaml").exists():
        return f"failed to load kubelet config file, path: {own}/config.yaml"
    flags = own / "kubeadm-flags.env"
    if "--pod-infra-container-image" in (flags.read_text() if flags.exists() else "") and releases.minor(version) >= 35:
        return "failed to parse kubelet flag: unknown flag: --pod-infra-container-image"
    is_new = version != settings.from_version
    for name, nodes in (
        ("kubelet-fails-control-plane", settings.control_planes[:1]),
        ("kubelet-fails-worker", settings.workers[:1]),
    ):
        if is_new and record.name in nodes and faults.is_on(directory, name):
            return f"failed to run Kubelet: the lab's fault {name} keeps {version} from starting"
    return ""


def static_pods(settings: LabSettings, name: str) -> dict[str, StaticPod]:
    """The pods of manifests/ by name: every file that does not start with a dot counts, and the last one wins."""
    directory = Layout.of(settings).kubernetes(name) / "manifests"
    if not directory.is_dir():
        return {}
    files = sorted(path for path in directory.iterdir() if path.is_file() and not path.name.startswith("."))
    return {pod.name: pod for pod in map(manifests.read, files) if pod is not None}


def sync_static_pods(settings: LabSettings, record: NodeRecord) -> None:
    """Containers follow manifests/: a changed file means another container, a missing one none."""
    if not record.kubelet.works:
        return
    wanted = static_pods(settings, record.name)
    # A kubelet of another minor version starts every static pod anew, because its defaults changed; it does so only
    # seconds after its node is ready again (both measured).
    kubelet = record.kubelet
    if not kubelet.pods_minor or time.time() - kubelet.started >= settings.pace * LATE:
        kubelet.pods_minor = releases.minor(kubelet.version)
    digests = {name: f"{pod.digest}-{kubelet.pods_minor}" for name, pod in wanted.items()}
    for container in record.containers:
        if container.static and container.runs and digests.get(container.name) != container.digest:
            containers.stop(container, containers.GRACE)
    for name, pod in wanted.items():
        latest = record.static(name)
        if (
            latest is not None
            and latest.digest == digests[name]
            and (latest.runs or not containers.may_restart(latest))
        ):
            continue
        crashes = _crashes(settings, record, pod)
        containers.start_static(settings, record, pod, digest=digests[name], crashes=crashes)


def _crashes(settings: LabSettings, record: NodeRecord, pod: StaticPod) -> bool:
    if pod.image == releases.image(pod.name, settings.from_version, settings.etcd_version):
        return False
    switched = (
        fault
        for fault, component, nodes in (
            ("apiserver-never-ready", "kube-apiserver", settings.control_planes[:1]),
            ("second-apiserver-never-ready", "kube-apiserver", settings.control_planes[1:2]),
            ("scheduler-crashes", "kube-scheduler", settings.control_planes[:1]),
        )
        if component == pod.name and record.name in nodes
    )
    return any(faults.is_on(Path(settings.directory), fault) for fault in switched)


def is_stale(record: NodeRecord, world: World) -> bool:
    """Did the cluster's revision go back behind what this kubelet has seen?"""
    return world.revision < record.kubelet.seen


def remember(record: NodeRecord, world: World) -> None:
    """The kubelet has seen the cluster at this revision."""
    if record.kubelet.works and not is_stale(record, world):
        record.kubelet.seen = world.revision


def sync(
    settings: LabSettings, record: NodeRecord, world: World, answering: Sequence[str], *, workload_is_broken: bool
) -> None:
    """Register, post the node's status, mirror the static pods, and run what is bound to this node."""
    if not record.kubelet.works:
        return
    node = world.get("nodes", "", record.name)
    if node is None and not record.kubelet.registered:
        control_plane = settings.is_control_plane(record.name)
        node = world.put(
            objects.node(
                record.name,
                settings.addresses[record.name],
                control_plane=control_plane,
                taint=_taint(settings) if control_plane else "",
                kubelet=record.kubelet.version,
            )
        )
    record.kubelet.registered = True
    if node is None:  # deleted while this kubelet ran: it registers only when it starts
        return
    objects.set_ready(node, "True", "KubeletReady", "kubelet is posting ready status")
    version = record.kubelet.version
    node["status"]["nodeInfo"].update({"kubeletVersion": version, "kubeProxyVersion": version})
    node["status"]["images"] = [{"names": [image], "sizeBytes": 50_000_000} for image in sorted(record.images)]
    _mirror(settings, record, world, node, answering)
    if not is_stale(record, world):
        _run_pods(settings, record, world, workload_is_broken=workload_is_broken)


def _taint(settings: LabSettings) -> str:
    """With fewer than two workers a drained node's pods have to find a place on the control plane."""
    return ("", "PreferNoSchedule", "NoSchedule")[min(len(settings.workers), 2)]


def _mirror(settings: LabSettings, record: NodeRecord, world: World, node: Object, answering: Sequence[str]) -> None:
    wanted = static_pods(settings, record.name)
    for pod in list(world.kind("pods", "kube-system")):
        mirrored = pod["metadata"].get("annotations", {}).get("kubernetes.io/config.mirror")
        if mirrored is None or pod["spec"].get("nodeName") != record.name:
            continue
        name = pod["metadata"]["name"].removesuffix(f"-{record.name}")
        if name not in wanted or wanted[name].digest != mirrored:
            world.remove(pod)
    for name, static in wanted.items():
        container = record.static(name)
        if container is None:
            continue
        found = world.get("pods", "kube-system", f"{name}-{record.name}")
        if found is None:
            found = world.put(_mirror_pod(static, record.name, node))
        ready = container.runs and not container.crashes
        if name == "kube-apiserver":
            ready = ready and record.name in answering
        _post(settings, record, found, container, ready=ready)


def _mirror_pod(static: StaticPod, node_name: str, node: Object) -> Object:
    annotations = {
        **static.annotations,
        "kubernetes.io/config.hash": static.digest,
        "kubernetes.io/config.mirror": static.digest,
        "kubernetes.io/config.seen": now_text(),
        "kubernetes.io/config.source": "file",
    }
    spec = {
        "containers": [{"command": list(static.command), "image": static.image, "name": static.name}],
        "hostNetwork": True,
        "priorityClassName": "system-node-critical",
        "tolerations": [{"effect": "NoExecute", "operator": "Exists"}],
    }
    return objects.pod(
        static.namespace,
        f"{static.name}-{node_name}",
        labels=static.labels,
        owner=objects.owner_of(node),
        template=spec,
        node_name=node_name,
        annotations=annotations,
    )


def _run_pods(settings: LabSettings, record: NodeRecord, world: World, *, workload_is_broken: bool) -> None:
    present = set()
    for pod in list(world.kind("pods")):
        metadata = pod["metadata"]
        if pod["spec"].get("nodeName") != record.name or "kubernetes.io/config.mirror" in metadata.get(
            "annotations", {}
        ):
            continue
        container = record.container_of(metadata["uid"])
        if "deletionTimestamp" in metadata:
            if container is not None:
                record.containers.remove(container)
            world.remove(pod)
            continue
        present.add(metadata["uid"])
        if container is None:
            container = containers.start_pod(settings, record, pod)
        broken = workload_is_broken and metadata.get("labels", {}).get("app") == BROKEN_WORKLOAD
        _crash_or_run(settings, record, container, broken=broken)
        _post(settings, record, pod, container, ready=container.runs and not broken)
    # Phantoms: containers whose pods a restore took back. Only a kubelet that looks anew ends them (measured).
    record.containers = [one for one in record.containers if one.static or one.pod_uid in present]


def _crash_or_run(settings: LabSettings, record: NodeRecord, container: Container, *, broken: bool) -> None:
    container.crashes = broken
    if broken and container.runs and time.time() - container.started > containers.CRASH_AFTER:
        containers.end(container, 1)
    if not container.runs and (not broken or containers.may_restart(container)):
        containers.restart(settings, record, container)


def _post(settings: LabSettings, record: NodeRecord, pod: Object, container: Container, *, ready: bool) -> None:
    waiting = "" if container.runs or ready else "CrashLoopBackOff"
    started = now_text(container.started)
    status = objects.container_status(
        container.name,
        container.image,
        container.id,
        ready=ready,
        restarts=container.attempt,
        waiting=waiting,
        started=started,
    )
    first = pod.get("status", {}).get("startTime", started)
    if pod["spec"].get("hostNetwork"):
        address = settings.addresses[record.name]
    else:
        number = settings.names.index(record.name)
        address = ranges.pod(number, 2 + int(re.sub("[^0-9a-f]", "", container.id)[:2], 16) % 250, ipv6=settings.ipv6)
    pod["status"] = objects.pod_status(pod, address=address, containers=[status], ready=ready, started=first)
