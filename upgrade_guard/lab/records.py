"""What the lab knows of each node, as JSON beside the nodes, changed under one lock."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upgrade_guard.lab.layout import Layout, write_json

RUNNING, EXITED = "running", "exited"


@dataclass
class Container:
    """One container on a node. `pid` is that of a real etcd, 0 for the others; `pod_uid` ties it to its pod.

    `started` and `finished` are seconds since the epoch; `attempt` counts restarts; `begun` tells a process from a
    later one with the same number.
    """

    id: str
    name: str
    image: str
    pod: str
    namespace: str
    pod_uid: str
    sandbox: str
    state: str = RUNNING
    attempt: int = 0
    created: float = 0.0
    started: float = 0.0
    finished: float = 0.0
    exit_code: int = 0
    pid: int = 0
    begun: int = 0
    digest: str = ""
    static: bool = False
    crashes: bool = False
    command: list[str] = field(default_factory=list)

    @property
    def runs(self) -> bool:
        """Is it running now?"""
        return self.state == RUNNING


@dataclass
class Kubelet:
    """`active`: the unit is started. `broken`: why the process does not come up. `version` is the running one.

    `seen` is the highest revision that it has heard of: after a restore that went back in time it waits for a higher
    one (measured), until it is started anew. `silent_since` is when it last stopped posting its node's status.
    `pods_minor` is the minor version by whose defaults the static pods run, `restarts` how often systemd started it
    again by itself.
    """

    active: bool = False
    broken: str = ""
    version: str = ""
    seen: int = 0
    registered: bool = False
    silent_since: float = 0.0
    started: float = 0.0
    pods_minor: int = 0
    restarts: int = 0

    @property
    def works(self) -> bool:
        """Does the kubelet do its work?"""
        return self.active and not self.broken


@dataclass
class Proxy:
    """What kube-proxy on a node has programmed. `services` maps cluster IP to `address:port` endpoints."""

    pod_uid: str = ""
    seen: int = 0
    services: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class NodeRecord:
    """Everything about one node that is not a file of its own."""

    name: str
    kubelet: Kubelet = field(default_factory=Kubelet)
    proxy: Proxy = field(default_factory=Proxy)
    packages: dict[str, str] = field(default_factory=dict)
    holds: list[str] = field(default_factory=list)
    package_lists: dict[str, list[list[str]]] = field(default_factory=dict)
    containers: list[Container] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    mounts: dict[str, str] = field(default_factory=dict)

    def container_of(self, pod_uid: str) -> Container | None:
        """The latest container of a pod."""
        return next((one for one in reversed(self.containers) if one.pod_uid == pod_uid), None)

    def static(self, component: str) -> Container | None:
        """The latest container of a static pod."""
        return next((one for one in reversed(self.containers) if one.static and one.name == component), None)


def read_record(layout: Layout, name: str) -> NodeRecord:
    """The node's record, or a fresh one."""
    try:
        read: dict[str, Any] = json.loads(layout.record(name).read_text())
    except FileNotFoundError:
        return NodeRecord(name)
    return NodeRecord(
        **{
            **read,
            "kubelet": Kubelet(**read["kubelet"]),
            "proxy": Proxy(**read["proxy"]),
            "containers": [Container(**one) for one in read["containers"]],
        }
    )


def write_record(layout: Layout, record: NodeRecord) -> None:
    """Store it, when it changed."""
    path = layout.record(record.name)
    # Ten times as fast as dataclasses.asdict, and each program of a lab does it once for each node.
    value = {
        **vars(record),
        "kubelet": vars(record.kubelet),
        "proxy": vars(record.proxy),
        "containers": [vars(one) for one in record.containers],
    }
    if path.exists() and json.loads(path.read_text()) == value:
        return
    write_json(path, value)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lab's lock: the node's programs run at the same time as each other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
