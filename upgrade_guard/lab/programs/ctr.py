"""ctr of containerd: containers, tasks, and images that can be mounted."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import time
from pathlib import Path

from upgrade_guard.lab import containers, launchers, processes
from upgrade_guard.lab.programs.entry import Failure, ProgramPlace, UnknownWords, say, take_apart
from upgrade_guard.lab.records import Container, NodeRecord
from upgrade_guard.lab.simulation import opened

PROGRAMS_IN_IMAGE = "usr/local/bin"


def main(place: ProgramPlace, words: list[str]) -> int:
    """`containers ls|info`, `tasks ls|kill`, `images ls|mount|unmount`, all in the namespace k8s.io."""
    given = take_apart(words, values=("-n", "--namespace", "-s", "--signal"), switches=("--rm", "-q", "--quiet"))
    if given.value("-n", "--namespace") != "k8s.io":
        raise UnknownWords("only the namespace k8s.io is there")
    quiet = bool(given.switches & {"-q", "--quiet"})
    match given.plain:
        case ("containers" | "c", "ls" | "list"):
            return _containers(place, quiet=quiet)
        case ("containers" | "c", "info", identity):
            with opened(place.directory, node=place.node, reconcile=False) as lab:
                say(_info(lab.records[place.node], identity))
        case ("tasks" | "t", "ls" | "list"):
            return _tasks(place, quiet=quiet)
        case ("tasks" | "t", "kill", identity):
            return _kill(place, identity, given.value("-s", "--signal", default="SIGTERM"))
        case ("images" | "i", "ls" | "list"):
            with opened(place.directory, node=place.node, reconcile=False) as lab:
                names = sorted(lab.records[place.node].images)
            say("\n".join(names if quiet else ["REF TYPE DIGEST SIZE PLATFORMS LABELS", *names]))
        case ("images" | "i", "mount", image, target):
            return _mount(place, image, Path(target))
        case ("images" | "i", "unmount", target):
            return _unmount(place, Path(target), remove="--rm" in given.switches)
        case _:
            raise UnknownWords(" ".join(given.plain))
    return 0


def _containers(place: ProgramPlace, *, quiet: bool) -> int:
    with opened(place.directory, node=place.node) as lab:
        found = lab.records[place.node].containers
    rows = [(one.id, one.image) for one in found] + [(one.sandbox, "registry.k8s.io/pause:3.9") for one in found]
    if not quiet:
        say(f"{'CONTAINER':<68}{'IMAGE':<52}{'RUNTIME':<25}")
    for identity, image in sorted(set(rows)):
        say(identity if quiet else f"{identity:<68}{image:<52}{'io.containerd.runc.v2':<25}")
    return 0


def _tasks(place: ProgramPlace, *, quiet: bool) -> int:
    with opened(place.directory, node=place.node) as lab:
        found = list(lab.records[place.node].containers)
    if not quiet:
        say(f"{'TASK':<68}{'PID':<7}{'STATUS':<10}")
    for number, one in enumerate(found):
        state = "RUNNING" if one.runs else "STOPPED"
        say(one.id if quiet else f"{one.id:<68}{one.pid or 70000 + number:<7}{state:<10}".rstrip())
    return 0


def _kill(place: ProgramPlace, identity: str, name: str) -> int:
    with opened(place.directory, node=place.node) as lab:
        container = _find(lab.records[place.node], identity)
        if not container.runs:
            raise Failure("ctr: process already finished: not found")
        number = signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
        if container.pid:
            processes.send(container.pid, container.begun, number)
        else:
            containers.end(container, 128 + number)
    return 0


def _find(record: NodeRecord, identity: str) -> Container:
    for container in record.containers:
        if container.id == identity:
            return container
    raise Failure(f'ctr: container "{identity}" in namespace "k8s.io": not found')


def _info(record: NodeRecord, identity: str) -> str:
    """Of a container, or of a pod's sandbox, which containerd keeps beside them."""
    sandboxes = {one.sandbox: one for one in reversed(record.containers)}
    one = sandboxes.get(identity) or _find(record, identity)
    labels = {
        "io.cri-containerd.kind": "sandbox" if identity in sandboxes else "container",
        "io.kubernetes.pod.name": one.pod,
        "io.kubernetes.pod.namespace": one.namespace,
        "io.kubernetes.pod.uid": one.pod_uid,
    }
    document = {"ID": identity, "Labels": labels, "Image": one.image, "CreatedAt": _moment(one.created)}
    if identity not in sandboxes:
        labels["io.kubernetes.container.name"] = one.name
        metadata = {"Metadata": {"Config": {"metadata": {"name": one.name, "attempt": one.attempt}}}}
        value = base64.b64encode(json.dumps(metadata).encode()).decode()
        document["Extensions"] = {
            "io.cri-containerd.container.metadata": {"type_url": "github.com/containerd/cri", "value": value}
        }
    return json.dumps(document, indent=4)


def _moment(at: float) -> str:
    """As Go writes it: nanoseconds, and Z for UTC."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}.{int(at % 1 * 1e9):09d}Z"


def _mount(place: ProgramPlace, image: str, target: Path) -> int:
    with opened(place.directory, node=place.node, reconcile=False) as lab:
        record = lab.records[place.node]
        if image not in record.images:
            raise Failure(f'ctr: image "{image}": not found')
        if not target.is_dir():
            raise Failure(f"ctr: failed to mount: {target}: no such file or directory")
        # containerd keys the snapshot by the directory: an old one shows the image that was mounted there before.
        shown = record.mounts.setdefault(str(target), image)
        programs = target / PROGRAMS_IN_IMAGE
        programs.mkdir(parents=True, exist_ok=True)
        if "/etcd:" in shown:
            launchers.put_etcd_programs(lab.settings, place.node, programs)
    say(str(target))
    return 0


def _unmount(place: ProgramPlace, target: Path, *, remove: bool) -> int:
    with opened(place.directory, node=place.node, reconcile=False) as lab:
        record = lab.records[place.node]
        if str(target) not in record.mounts:
            raise Failure(f"ctr: {target} is not mounted")
        shutil.rmtree(target / "usr", ignore_errors=True)
        if remove:
            del record.mounts[str(target)]
    say(os.fspath(target))
    return 0
