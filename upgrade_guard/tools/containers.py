"""Containers of a node: crictl where it is installed, else ctr of containerd."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from upgrade_guard.errors import CommandFailed, StepFailed
from upgrade_guard.hosts.base import Host
from upgrade_guard.model.command import Command, Result
from upgrade_guard.tools.commands import CHANGE_TIMEOUT, failure, run_checked
from upgrade_guard.tools.container_rows import (
    Container,
    Sandbox,
    is_image_id,
    parse_container_ids,
    parse_containerd_container,
    parse_containerd_sandbox,
    parse_crictl_containers,
    parse_crictl_image_names,
    parse_crictl_images,
    parse_crictl_pods,
    parse_tasks,
)

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
