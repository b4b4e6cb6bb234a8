"""crictl: the containers and images of a node."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from upgrade_guard.lab import containers
from upgrade_guard.lab.programs.entry import Failure, ProgramPlace, UnknownWords, say, take_apart
from upgrade_guard.lab.records import Container, NodeRecord
from upgrade_guard.lab.simulation import opened

NANOSECONDS = 1_000_000_000


def main(place: ProgramPlace, words: list[str]) -> int:
    """`ps`, `pods`, `stop`, `logs`, `images`, `--version`."""
    values = ("-o", "--output", "--timeout", "-t", "--tail", "--name", "--state", "--label", "--runtime-endpoint", "-r")
    given = take_apart(words, values=values, switches=("-a", "--all", "--version", "-v", "-q", "--quiet"))
    if given.switches & {"--version", "-v"}:
        say("crictl version v1.26.0")
        return 0
    verb, *rest = given.plain or ("",)
    output = given.value("-o", "--output", default="table")
    if verb == "ps" and not rest:
        with opened(place.directory, node=place.node) as lab:
            found = list(reversed(lab.records[place.node].containers))
        if not given.switches & {"-a", "--all"}:
            found = [one for one in found if one.runs]
        name = given.value("--name").strip("^$")
        _show([one for one in found if name in ("", one.name)], output, quiet=bool(given.switches & {"-q", "--quiet"}))
        return 0
    if verb == "pods" and not rest and output == "json":
        with opened(place.directory, node=place.node) as lab:
            items = [_sandbox(one) for one in lab.records[place.node].containers]
        say(json.dumps({"items": list({row["id"]: row for row in items}.values())}, indent=2))
        return 0
    if verb == "stop" and rest:
        return _stop(place, rest, float(given.value("--timeout", "-t", default="0")))
    if verb == "logs" and len(rest) == 1:
        return _logs(place, rest[0], int(given.value("--tail", default="-1")))
    if verb == "images" and not rest:
        with opened(place.directory, node=place.node, reconcile=False) as lab:
            images = sorted(lab.records[place.node].images)
        rows = [{"id": _digest(one), "repoTags": [one], "repoDigests": [], "size": "50000000"} for one in images]
        say(json.dumps({"images": rows}, indent=2) if output == "json" else "\n".join(images))
        return 0
    raise UnknownWords(" ".join(given.plain))


def find(record: NodeRecord, identity: str) -> Container:
    """The container whose id begins so. Raises Failure as crictl does."""
    for container in record.containers:
        if container.id.startswith(identity):
            return container
    message = f'an error occurred when try to find container "{identity}": not found'
    raise Failure(f"E rpc error: code = NotFound desc = {message}")


def _stop(place: ProgramPlace, identities: list[str], grace: float) -> int:
    for identity in identities:
        with opened(place.directory, node=place.node) as lab:
            record = lab.records[place.node]
            containers.stop(find(record, identity), grace)
        say(identity)
    return 0


def _logs(place: ProgramPlace, identity: str, tail: int) -> int:
    with opened(place.directory, node=place.node, reconcile=False) as lab:
        container = find(lab.records[place.node], identity)
    path = place.layout.container_log(place.node, container.name)
    with path.open(errors="replace") as file:
        for line in deque(file, maxlen=None if tail < 0 else tail):
            say(line, end="")
    return 0


def _show(found: list[Container], output: str, *, quiet: bool) -> None:
    if quiet:
        for one in found:
            say(one.id)
    elif output == "json":
        say(json.dumps({"containers": [_row(one) for one in found]}, indent=2))
    elif output == "table":
        say(f"{'CONTAINER':<16}{'IMAGE':<52}{'STATE':<10}{'NAME':<26}{'ATTEMPT':<9}POD")
        for one in found:
            state = "Running" if one.runs else "Exited"
            say(f"{one.id[:13]:<16}{one.image:<52}{state:<10}{one.name:<26}{one.attempt:<9}{one.pod}")
    else:
        raise UnknownWords(f"output format {output}")


def _row(one: Container) -> dict[str, Any]:
    labels = {
        "io.kubernetes.container.name": one.name,
        "io.kubernetes.pod.name": one.pod,
        "io.kubernetes.pod.namespace": one.namespace,
        "io.kubernetes.pod.uid": one.pod_uid,
    }
    return {
        "id": one.id,
        "podSandboxId": one.sandbox,
        "metadata": {"name": one.name, "attempt": one.attempt},
        # containerd up to 1.7 gives the image's id alone; later ones add `userSpecifiedImage`.
        "image": {"image": _digest(one.image), "annotations": {}},
        "imageRef": _digest(one.image),
        "state": "CONTAINER_RUNNING" if one.runs else "CONTAINER_EXITED",
        "createdAt": str(int(one.created * NANOSECONDS)),
        "labels": labels,
        "annotations": {"io.kubernetes.container.restartCount": str(one.attempt)},
    }


def _sandbox(one: Container) -> dict[str, Any]:
    return {
        "id": one.sandbox,
        "metadata": {"attempt": 0, "name": one.pod, "namespace": one.namespace, "uid": one.pod_uid},
        "state": "SANDBOX_READY" if one.runs else "SANDBOX_NOTREADY",
        "createdAt": str(int(one.created * NANOSECONDS)),
        "labels": {
            "io.kubernetes.pod.name": one.pod,
            "io.kubernetes.pod.namespace": one.namespace,
            "io.kubernetes.pod.uid": one.pod_uid,
        },
        "annotations": {"kubernetes.io/config.source": "file" if one.static else "api"},
        "runtimeHandler": "",
    }


def _digest(image: str) -> str:
    import hashlib

    return f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"
