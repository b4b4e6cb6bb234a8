"""Containers and images of a node: crictl where it is installed, else ctr of containerd."""

from __future__ import annotations

import base64
import contextvars
import json
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from upgrade_guard.errors import CommandFailed, StepFailed
from upgrade_guard.hosts.base import Host
from upgrade_guard.model.command import Command, Result
from upgrade_guard.tools.commands import CHANGE_TIMEOUT, failure, parse_json, reads, run_checked, unexpected

_CONTAINER_NAME = "io.kubernetes.container.name"
_POD_NAME = "io.kubernetes.pod.name"
_POD_NAMESPACE = "io.kubernetes.pod.namespace"
_POD_UID = "io.kubernetes.pod.uid"
_CRI_METADATA = "io.cri-containerd.container.metadata"
_CRI_KIND = "io.cri-containerd.kind"


@dataclass(frozen=True)
class Container:
    """One container of a pod. `restarts` counts how often its pod started that container before this one.

    `image` may be an id, as containerd up to 1.7 gives it through crictl; `names` are all the names of that image that
    are known, `image` itself without them.
    """

    id: str
    name: str
    image: str
    running: bool
    restarts: int = 0
    pod: str = ""
    namespace: str = ""
    pod_uid: str = ""
    names: tuple[str, ...] = ()

    def is_of_static_pod(self, node: str) -> bool:
        """Is it the container of that name in the static pod of that name? A tenant's `etcd` is not.

        kubelet names a static pod `NAME-NODE` (pkg/kubelet/config/common.go, generatePodName).
        """
        return self.namespace == "kube-system" and self.pod == f"{self.name}-{node}"


@dataclass(frozen=True)
class Sandbox:
    """What the runtime made for one pod, before any of its containers. `created` is in seconds since 1970."""

    id: str
    namespace: str
    pod: str
    pod_uid: str
    created: float

    @property
    def is_of_static_pod(self) -> bool:
        """kubelet makes the uid of a static pod from a digest, without the dashes of one that the API gave
        (pkg/kubelet/config/common.go, applyDefaults).
        """
        return "-" not in self.pod_uid


@reads("crictl pods")
def parse_crictl_pods(text: str) -> tuple[Sandbox, ...]:
    """`crictl pods -o json`; the time is in nanoseconds."""
    rows = parse_json("crictl pods", text).get("items") or []
    return tuple(
        Sandbox(
            id=row["id"],
            namespace=row["metadata"]["namespace"],
            pod=row["metadata"]["name"],
            pod_uid=row["metadata"]["uid"],
            created=int(row["createdAt"]) / 1e9,
        )
        for row in rows
    )


@reads("crictl ps")
def parse_crictl_containers(text: str) -> tuple[Container, ...]:
    """`crictl ps -o json`."""
    rows = parse_json("crictl ps", text).get("containers") or []
    return tuple(
        Container(
            id=row["id"],
            name=row["metadata"]["name"],
            image=(row.get("image") or {}).get("userSpecifiedImage") or (row.get("image") or {}).get("image", ""),
            running=row["state"] == "CONTAINER_RUNNING",
            restarts=int(row["metadata"].get("attempt", 0)),
            pod=(row.get("labels") or {}).get(_POD_NAME, ""),
            namespace=(row.get("labels") or {}).get(_POD_NAMESPACE, ""),
            pod_uid=(row.get("labels") or {}).get(_POD_UID, ""),
        )
        for row in rows
    )


@reads("crictl images")
def parse_crictl_images(text: str) -> tuple[str, ...]:
    """`crictl images -o json`: every tag."""
    found = {name for names in parse_crictl_image_names(text).values() for name in names}
    return tuple(sorted(name for name in found if "@" not in name))


@reads("crictl images")
def parse_crictl_image_names(text: str) -> dict[str, tuple[str, ...]]:
    """`crictl images -o json`: the id of each image to its names, those with a tag and those with a digest."""
    rows = parse_json("crictl images", text).get("images") or []
    return {str(row["id"]): (*(row.get("repoTags") or ()), *(row.get("repoDigests") or ())) for row in rows}


def is_image_id(image: str) -> bool:
    """Is it the id of an image, and no name?"""
    return re.fullmatch(r"(sha256:)?[0-9a-f]{64}", image) is not None


@reads("ctr tasks ls")
def parse_tasks(text: str) -> dict[str, str]:
    """`ctr tasks ls`: container to RUNNING, STOPPED, PAUSED…"""
    lines = text.splitlines()
    if not lines or not lines[0].startswith("TASK"):
        raise unexpected("ctr tasks ls", text)
    rows = (line.split() for line in lines[1:])
    return {row[0]: row[-1] for row in rows if len(row) >= 3}


@reads("ctr containers ls")
def parse_container_ids(text: str) -> tuple[str, ...]:
    """`ctr containers ls`: the first column."""
    lines = text.splitlines()
    if not lines or not lines[0].startswith("CONTAINER"):
        raise unexpected("ctr containers ls", text)
    return tuple(line.split()[0] for line in lines[1:] if line.strip())


@reads("ctr containers info")
def parse_containerd_container(text: str, *, running: bool) -> Container | None:
    """`ctr containers info`; None for what is no container of a pod (a sandbox, or not Kubernetes' own)."""
    document = parse_json("ctr containers info", text)
    labels = document.get("Labels") or {}
    if not labels.get(_CONTAINER_NAME):
        return None
    return Container(
        id=str(document.get("ID", "")),
        name=labels[_CONTAINER_NAME],
        image=str(document.get("Image", "")),
        running=running,
        restarts=_restarts(document),
        pod=labels.get(_POD_NAME, ""),
        namespace=labels.get(_POD_NAMESPACE, ""),
        pod_uid=labels.get(_POD_UID, ""),
    )


@reads("ctr containers info")
def parse_containerd_sandbox(text: str) -> Sandbox | None:
    """`ctr containers info`; None for what is no sandbox of a pod."""
    document = parse_json("ctr containers info", text)
    labels = document.get("Labels") or {}
    if labels.get(_CRI_KIND) != "sandbox":
        return None
    return Sandbox(
        id=str(document["ID"]),
        namespace=labels[_POD_NAMESPACE],
        pod=labels[_POD_NAME],
        pod_uid=labels[_POD_UID],
        created=datetime.fromisoformat(document["CreatedAt"]).timestamp(),
    )


def _restarts(document: dict[str, Any]) -> int:
    """containerd keeps the attempt in an extension of its own; 0 where it cannot be read."""
    extension = (document.get("Extensions") or {}).get(_CRI_METADATA) or {}
    try:
        metadata = json.loads(base64.b64decode(extension.get("value", "")))
        return int(metadata["Metadata"]["Config"]["metadata"].get("attempt", 0))
    except (KeyError, TypeError, ValueError, AttributeError):
        return 0


__all__ = ["Container", "Containers", "Sandbox", "full_image_name"]

_CTR = ("ctr", "-n", "k8s.io")
_SOCKETS = (
    "unix:///run/containerd/containerd.sock",
    "unix:///var/run/crio/crio.sock",
    "unix:///var/run/cri-dockerd.sock",
)
_NOT_FOUND = 127
_LOG_LINES = 200
_LOOKS_A_SECOND = 4  # for the end of a container; each look is a process on the node


class Containers:
    """What the container runtime of a node runs. `pause` waits that many seconds between two looks."""

    def __init__(self, host: Host, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._host = host
        self._pause = pause
        self._found: tuple[str, ...] | None = None
        self._names: dict[str, tuple[str, ...]] = {}
        # What ctr says of a container never changes; asking each again at every look would take seconds on a full node.
        self._described: dict[str, Container | Sandbox | None] = {}

    def all(self) -> tuple[Container, ...]:
        """Every container, also those that ended; without the sandboxes."""
        crictl = self._crictl()
        if not crictl:
            return self._containerd_containers()
        rows = parse_crictl_containers(run_checked(self._host, (*crictl, "ps", "--all", "-o", "json")).stdout)
        if any(is_image_id(one.image) and one.image not in self._names for one in rows):
            text = run_checked(self._host, (*crictl, "images", "-o", "json")).stdout
            self._names |= parse_crictl_image_names(text)
        return tuple(replace(one, names=self._names.get(one.image, ())) for one in rows)

    def sandboxes(self) -> tuple[Sandbox, ...]:
        """What was made for each pod; those that ended are among them until the runtime forgets them."""
        crictl = self._crictl()
        if crictl:
            return parse_crictl_pods(run_checked(self._host, (*crictl, "pods", "-o", "json")).stdout)
        return tuple(one for one in self._containerd_all() if isinstance(one, Sandbox))

    def stop(self, ids: tuple[str, ...], grace_seconds: int = 3) -> None:
        """Ask them to end, and make them after `grace_seconds`. Those that ended already are no error."""
        if not ids:
            return
        crictl = self._crictl()
        if not crictl:
            self._kill_tasks(ids, grace_seconds)
            return

        def stop(one: str) -> None:
            argv = (*crictl, "stop", "--timeout", str(grace_seconds), one)
            run_checked(self._host, argv, timeout=CHANGE_TIMEOUT + grace_seconds, changes=True)

        # One process for each: crictl gives its containers their grace one after the other (10 s for four, measured).
        with ThreadPoolExecutor(len(ids)) as hands:
            stops = [hands.submit(contextvars.copy_context().run, stop, one) for one in ids]
        for ended in stops:
            ended.result()

    def logs(self, container: str) -> str:
        """The last 200 lines of both its streams; "" when there are none."""
        crictl = self._crictl()
        if crictl:
            result = run_checked(self._host, (*crictl, "logs", "--tail", str(_LOG_LINES), container))
            return result.stdout + result.stderr
        found = ("find", "-L", "/var/log/containers", "-name", f"*-{container}.log")
        paths = run_checked(self._host, found, accept=(0, 1)).stdout.splitlines()
        if not paths:
            return ""
        return run_checked(self._host, ("tail", f"--lines={_LOG_LINES}", "--", paths[0])).stdout

    def images(self) -> tuple[str, ...]:
        """The names of the images that are on the node."""
        crictl = self._crictl()
        if crictl:
            return parse_crictl_images(run_checked(self._host, (*crictl, "images", "-o", "json")).stdout)
        names = run_checked(self._host, (*_CTR, "images", "ls", "-q")).stdout.split()
        return tuple(sorted(name for name in names if not name.startswith("sha256:")))

    def extract(self, image: str, files: Mapping[str, str], mount_dir: str) -> tuple[str, ...]:
        """Copy files out of an image on the node: path in the image to path on the node (0755).

        Those that the image lacks are left out; returns the paths on the node that were made. `mount_dir` must be new
        for each image: containerd keeps the mount by its name, and an old one would show another image.
        """
        run_checked(self._host, ("mkdir", "--parents", "--mode=0700", "--", mount_dir), changes=True)
        argv = (*_CTR, "images", "mount", full_image_name(image), mount_dir)
        try:
            run_checked(self._host, argv, timeout=CHANGE_TIMEOUT, changes=True)
            made = []
            for inside, target in files.items():
                source = f"{mount_dir}/{inside.lstrip('/')}"
                if run_checked(self._host, ("test", "-f", source), accept=(0, 1)).exit_status == 0:
                    copy = ("install", "--mode=0755", "--", source, target)
                    run_checked(self._host, copy, timeout=CHANGE_TIMEOUT, changes=True)
                    made.append(target)
            return tuple(made)
        finally:
            self.unmount(mount_dir)

    def unmount(self, mount_dir: str) -> None:
        """Take an image's mount away again, and its directory; one that is not mounted is no error."""
        for argv in ((*_CTR, "images", "unmount", "--rm", mount_dir), ("rmdir", "--", mount_dir)):
            self._host.run(Command(argv, timeout=CHANGE_TIMEOUT, changes=True))

    def _crictl(self) -> tuple[str, ...]:
        """The words by which crictl reaches the runtime; none where ctr does it.

        What /etc/crictl.yaml names may be gone (dockershim.sock): then the sockets that are usual are tried.
        """
        if self._found is not None:
            return self._found
        refused: tuple[tuple[str, ...], Result] | None = None
        for words in (("crictl",), *(("crictl", "--runtime-endpoint", socket) for socket in _SOCKETS)):
            argv = (*words, "ps", "-o", "json")
            result = self._host.run(Command(argv, timeout=30.0))
            if result.exit_status is None:
                raise failure(self._host, argv, result)
            if result.ok:
                self._found = words
                return words
            if result.exit_status == _NOT_FOUND:
                self._found = ()
                return ()
            refused = refused or (argv, result)
        if self._host.run(Command((*_CTR, "tasks", "ls"), timeout=30.0)).ok:
            self._found = ()
            return ()
        assert refused is not None  # noqa: S101 - the loop always asks
        raise failure(self._host, *refused)

    def _containerd_containers(self) -> tuple[Container, ...]:
        tasks = parse_tasks(run_checked(self._host, (*_CTR, "tasks", "ls")).stdout)
        found = (one for one in self._containerd_all() if isinstance(one, Container))
        return tuple(replace(one, running=tasks.get(one.id) == "RUNNING") for one in found)

    def _containerd_all(self) -> tuple[Container | Sandbox, ...]:
        ids = parse_container_ids(run_checked(self._host, (*_CTR, "containers", "ls")).stdout)
        for one in ids:
            if one not in self._described:
                result = self._host.run(Command((*_CTR, "containers", "info", one), timeout=30.0))
                if result.ok:  # otherwise it was removed since
                    container = parse_containerd_container(result.stdout, running=False)
                    self._described[one] = container or parse_containerd_sandbox(result.stdout)
        found = (self._described.get(one) for one in ids)
        return tuple(one for one in found if one is not None)

    def _kill_tasks(self, ids: tuple[str, ...], grace_seconds: int) -> None:
        for one in ids:
            self._kill("SIGTERM", one)
        deadline = time.monotonic() + max(1, grace_seconds)  # a look takes its time too
        for _ in range(max(1, grace_seconds) * _LOOKS_A_SECOND):
            if not self._alive(ids):
                return
            if time.monotonic() > deadline:
                break
            self._pause(1 / _LOOKS_A_SECOND)
        for one in self._alive(ids):
            self._kill("SIGKILL", one)
        for _ in range(20):
            if not self._alive(ids):
                return
            self._pause(0.5)
        raise StepFailed(
            f"containers on {self._host.name} do not end: {', '.join(self._alive(ids))}",
            hint=f"end them on {self._host.name} (ctr -n k8s.io tasks ls), then: upgrade-guard resume",
        )

    def _alive(self, ids: tuple[str, ...]) -> tuple[str, ...]:
        tasks = parse_tasks(run_checked(self._host, (*_CTR, "tasks", "ls")).stdout)
        return tuple(one for one in ids if tasks.get(one, "STOPPED") != "STOPPED")

    def _kill(self, sign: str, container: str) -> Result | None:
        try:
            argv = (*_CTR, "tasks", "kill", "-s", sign, container)
            return run_checked(self._host, argv, timeout=CHANGE_TIMEOUT, changes=True)
        except CommandFailed as problem:
            if problem.exit_status is None or "not found" not in problem.stderr:
                raise
            return None  # it ended by itself


def full_image_name(image: str) -> str:
    """As containerd keeps it: `etcd:3.5` is docker.io/library/etcd:3.5."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"
