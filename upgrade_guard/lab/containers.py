"""The container runtime of a node: records, and for etcd a real process."""

from __future__ import annotations

import os
import time
from pathlib import Path

from upgrade_guard.lab import processes
from upgrade_guard.lab.layout import LabSettings, Layout
from upgrade_guard.lab.manifests import StaticPod
from upgrade_guard.lab.records import EXITED, RUNNING, Container, NodeRecord
from upgrade_guard.lab.world import Object

# A container that crashes lives this long, and kubelet waits at most that long before the next attempt. Shorter than
# the real ten seconds to five minutes: a rehearsal has to show the crash loop within seconds.
CRASH_AFTER = 0.2
LONGEST_BACK_OFF = 1.0
# What the lab's kubelet gives a static pod to end; the real one gives 30 seconds.
GRACE = 5.0
KEPT_EXITED = 2
# How often these had restarted when the lab was made: whoever leads loses its lease now and then in a cluster's life.
RESTARTED = {"kube-controller-manager": 7, "kube-scheduler": 6}


def start_static(settings: LabSettings, record: NodeRecord, pod: StaticPod, *, digest: str, crashes: bool) -> Container:
    """Start a static pod's container, as attempt 0 of a new manifest or the next attempt of the same."""
    before = record.static(pod.name)
    container = _new(pod.name, pod.image, f"{pod.name}-{record.name}", pod.namespace, pod.digest)
    container.static, container.digest, container.crashes = True, digest, crashes
    container.command = list(pod.command)
    if before is None:
        container.attempt = RESTARTED.get(pod.name, 0)
    elif before.digest == digest:
        container.attempt, container.sandbox = before.attempt + 1, before.sandbox
    _run(settings, record, container)
    record.containers.append(container)
    _forget_old(record, pod.name)
    return container


def start_pod(settings: LabSettings, record: NodeRecord, pod: Object) -> Container:
    """Start the container of an ordinary pod that was bound to this node."""
    metadata, spec = pod["metadata"], pod["spec"]["containers"][0]
    container = _new(spec["name"], spec["image"], metadata["name"], metadata["namespace"], metadata["uid"])
    _run(settings, record, container)
    record.containers.append(container)
    return container


def restart(settings: LabSettings, record: NodeRecord, container: Container) -> None:
    """The next attempt of an ordinary pod's container."""
    container.attempt += 1
    container.state, container.finished = RUNNING, 0.0
    _run(settings, record, container)


def stop(container: Container, grace: float) -> None:
    """End it: SIGTERM, and SIGKILL after `grace` seconds."""
    if not container.runs:
        return
    if container.pid:
        processes.stop(container.pid, container.begun, grace)
    end(container, 0)


def end(container: Container, exit_code: int) -> None:
    """Write down that it has ended."""
    container.state, container.finished, container.exit_code = EXITED, time.time(), exit_code
    container.pid = container.begun = 0


def observe(record: NodeRecord) -> None:
    """Notice the containers that have ended by themselves."""
    for container in record.containers:
        if not container.runs:
            continue
        died = bool(container.pid) and not processes.alive(container.pid, container.begun)
        crashed = container.crashes and time.time() - container.started > CRASH_AFTER
        if died or crashed:
            end(container, 1)


def may_restart(container: Container) -> bool:
    """Is kubelet's back-off over?"""
    back_off = min(LONGEST_BACK_OFF, 0.2 * 2.0 ** max(container.attempt - 1, 0)) if container.attempt else 0.0
    return time.time() - container.finished >= back_off


def _new(name: str, image: str, pod: str, namespace: str, pod_uid: str) -> Container:
    return Container(
        id=os.urandom(32).hex(),
        name=name,
        image=image,
        pod=pod,
        namespace=namespace,
        pod_uid=pod_uid,
        sandbox=os.urandom(32).hex(),
        created=time.time(),
    )


def _run(settings: LabSettings, record: NodeRecord, container: Container) -> None:
    container.started = time.time()
    if container.image not in record.images:
        record.images = sorted({*record.images, container.image})
    log = Layout.of(settings).container_log(record.name, container.name)
    if container.static and container.command[:1] == ["etcd"]:
        data_dir = next((word.split("=", 1)[1] for word in container.command if word.startswith("--data-dir=")), "")
        if data_dir:
            Path(data_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
        for orphan in processes.running_with(f"--data-dir={data_dir}"):
            # Started by a program that was killed before it could write that down.
            processes.stop(*orphan, GRACE)
        binary = str(Path(settings.etcd_binaries) / "etcd")
        container.pid, container.begun = processes.start((binary, *container.command[1:]), log)
        if not container.begun:
            end(container, 1)
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    said = f"{container.image} attempt {container.attempt} started\n"
    if container.crashes:
        said += f"E run.go:74] {container.name}: command failed: the lab's fault makes this version crash\n"
    with log.open("a") as file:
        file.write(said)


def _forget_old(record: NodeRecord, name: str) -> None:
    """kubelet keeps only the last ended containers of a pod."""
    ended = [one for one in record.containers if one.static and one.name == name and not one.runs]
    for one in ended[:-KEPT_EXITED]:
        record.containers.remove(one)
