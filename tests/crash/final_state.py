"""Everything that a run leaves behind, in a form in which two runs can be compared."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from crash.words import plain
from scenario.stage import Stage
from scenario.watched import running_in, running_with

from upgrade_guard.journal import Journal
from upgrade_guard.lab.gateway import Gateway
from upgrade_guard.lab.records import read_record
from upgrade_guard.lab.simulation import credentials

# What the lab gives by chance or by the time of day.
CHANCE = frozenset(
    {
        "uid", "creationTimestamp", "resourceVersion", "startTime", "startedAt", "finishedAt", "lastTransitionTime",
        "lastHeartbeatTime", "containerID", "podIP", "podIPs", "hostIP", "restartCount", "nodeName", "generation",
        "observedGeneration", "kubernetes.io/config.seen", "lastState", "imageID",
    }
)  # fmt: skip
SUFFIX = re.compile(r"-[0-9a-z]{5}$")


def final_state(stage: Stage) -> dict[str, Any]:
    """Nodes, packages, holds, files, containers, API objects, journal, vault, copies, and what was left lying about."""
    layout, settings = stage.lab.layout, stage.lab.settings
    return {
        "journal": _journal(stage),
        "objects": _objects(stage),
        "nodes": {
            name: {
                **stage.node_truth(name),
                "etc": _files(layout.node(name) / "etc"),
                "kubelet": _files(layout.kubelet(name)),
                "containers": _containers(stage, name),
                # What a rollback moved aside is evidence, also a file that was half put back. A process that died
                # after its last commit leaves the lock of its run, which the next command knows to be over, and not
                # yet the note of who held it last.
                "work": _names(layout.work(name), without=("aside-", "lock.json", "last-lock.json")),
                # A restore whose end nobody saw is done again, and what it had made is moved aside.
                "beside etcd": sorted(
                    plain(path.name) for path in layout.etcd(name).parent.glob("etcd*") if "-partial-" not in path.name
                ),
                "version": read_record(layout, name).kubelet.version,
            }
            for name in settings.names
        },
        # The spool keeps what programs printed whose process was killed; a lock file is there once it was taken.
        "here": _names(stage.lab.directory / "state", without=("logs/", "journal.sqlite-", "spool/", "scratch/lock")),
        "vault": _names(stage.lab.directory / "vault"),
        "offsite": _names(stage.lab.offsite),
        "unschedulable": stage.unschedulable(),
        "waiting": stage.waiting_pods(),
        "still running": [*running_in(stage.lab.directory), *running_with(f"--data-dir={stage.lab.directory}/state")],
    }


def _journal(stage: Stage) -> dict[str, Any]:
    journal = Journal.read(stage.journal)
    assert journal is not None
    with journal:
        problems = journal.verify()
    latest = {row["name"]: row["outcome"] for row in stage.rows("select name, outcome from steps order by seq")}
    return {
        "edited": list(problems),
        "runs": [(row["state"], row["outcome"]) for row in stage.rows("select state, outcome from runs")],
        "steps": latest,
    }


def _objects(stage: Stage) -> dict[str, Any]:
    """Every object of the API as it stands in etcd, without what chance gave it."""
    settings, layout = stage.lab.settings, stage.lab.layout
    gateway = Gateway(settings.addresses["cp1"], settings.ports.etcd_client, credentials(layout).context())
    try:
        _, entries = gateway.range("/registry/", "/registry0")
    finally:
        gateway.close()
    found: dict[str, list[str]] = {}
    for entry in entries:
        key = SUFFIX.sub("", entry.key) if entry.key.startswith("/registry/pods/") else entry.key
        found.setdefault(key, []).append(json.dumps(_certain(json.loads(entry.value)), sort_keys=True))
    return {key: sorted(values) for key, values in found.items()}


def _certain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _certain(one) for key, one in value.items() if key not in CHANCE}
    if isinstance(value, list):
        return [_certain(one) for one in value]
    return plain(SUFFIX.sub("", value)) if isinstance(value, str) else value


def _files(directory: Path) -> dict[str, str]:
    """Every file's content; of keys and certificates, which a renewal makes anew, only that they are there.

    Not counted is what kubeadm keeps in its tmp, and the manifests that a rollback put aside.
    """
    found = {}
    for path in sorted(directory.rglob("*")):
        inside = str(path.relative_to(directory))
        if path.is_file() and not inside.startswith(("kubernetes/tmp/", "kubernetes/upgrade-guard-stopped-")):
            text = path.read_text(errors="replace")
            secret = "-----BEGIN" in text or "certificate-data" in text
            found[plain(inside)] = "renewed" if secret else plain(text)
    return found


def _names(directory: Path, without: tuple[str, ...] = ()) -> dict[str, str]:
    paths = (str(path.relative_to(directory)) for path in directory.rglob("*"))
    return {plain(path): "is there" for path in paths if not (without and path.startswith(without))}


def _containers(stage: Stage, node: str) -> dict[str, int]:
    containers = read_record(stage.lab.layout, node).containers
    return dict(Counter(f"{one.name} {one.image}" for one in containers if one.runs))
