"""Labs for tests, and an operator who types on their nodes."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from upgrade_guard.lab import cluster
from upgrade_guard.lab.cluster import LabCluster

PATIENCE = 30.0


def in_kube_system(row: dict[str, Any]) -> bool:
    return bool(row["labels"]["io.kubernetes.pod.namespace"] == "kube-system")


@dataclass
class Operator:
    """Runs programs on the nodes of a lab, as a person with a shell there would."""

    lab: LabCluster

    def environment(self, node: str) -> dict[str, str]:
        return {"PATH": self.lab.path(node), "LC_ALL": "C"}

    def run(self, node: str, *argv: str, ok: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(
            argv, env=self.environment(node), input=stdin, capture_output=True, text=True, check=False, timeout=120
        )
        assert ended.returncode == 0 or not ok, f"{argv}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        return ended

    def start(self, node: str, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            argv,
            env=self.environment(node),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def kubectl(self, *words: str, ok: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return self.run("cp1", "kubectl", *words, ok=ok, stdin=stdin)

    def get(self, *words: str) -> Any:
        return json.loads(self.kubectl("get", *words, "-o", "json").stdout)

    def items(self, *words: str) -> list[dict[str, Any]]:
        return list(self.get(*words)["items"])

    def nodes(self) -> dict[str, dict[str, Any]]:
        return {node["metadata"]["name"]: node for node in self.items("nodes")}

    def pods(self, namespace: str = "") -> list[dict[str, Any]]:
        scope = f"--namespace={namespace}" if namespace else "--all-namespaces"
        return self.items("pods", scope)

    def containers(self, node: str, name: str) -> list[dict[str, Any]]:
        """Those of the static pod of that name, and of whatever else of kube-system has it."""
        rows = json.loads(self.run(node, "crictl", "ps", "--all", "-o", "json").stdout)["containers"]
        return [row for row in rows if row["metadata"]["name"] == name and in_kube_system(row)]

    def image(self, node: str, row: dict[str, Any]) -> str:
        """The name of a container's image: crictl gives its id."""
        images = json.loads(self.run(node, "crictl", "images", "-o", "json").stdout)["images"]
        return next(str(one["repoTags"][0]) for one in images if one["id"] == row["imageRef"])

    def running(self, node: str, name: str) -> str:
        """The id of the running container of that name, or ""."""
        return next((one["id"] for one in self.containers(node, name) if one["state"] == "CONTAINER_RUNNING"), "")

    def ready(self) -> bool:
        return self.kubectl("get", "--raw", "/readyz", ok=False).returncode == 0

    def manifest(self, node: str, component: str) -> Path:
        return self.lab.layout.kubernetes(node) / "manifests" / f"{component}.yaml"

    def switch_source(self, node: str, old: str, new: str) -> None:
        path = self.lab.layout.package_source(node)
        path.write_text(path.read_text().replace(f"/{old} ", f"/{new} "))
        self.run(node, "apt-get", "update")

    def install(self, node: str, *wanted: str) -> None:
        flags = ("--yes", "--allow-downgrades", "--allow-change-held-packages", "-o", "Dpkg::Options::=--force-confold")
        self.run(node, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", *flags, *wanted)

    def etcd_tools(self, node: str) -> Path:
        """etcd's programs, taken out of the image that the node's manifest names."""
        into = self.lab.layout.work(node) / "tools"
        if not into.exists():
            text = self.manifest(node, "etcd").read_text()
            image = next(line.split()[1] for line in text.splitlines() if line.strip().startswith("image: "))
            mount = self.lab.layout.work(node) / "mount"
            mount.mkdir()
            into.mkdir()
            self.run(node, "ctr", "-n", "k8s.io", "images", "mount", image, str(mount))
            for program in ("etcd", "etcdctl", "etcdutl"):
                self.run(node, "install", "-m755", str(mount / "usr/local/bin" / program), str(into / program))
            self.run(node, "ctr", "-n", "k8s.io", "images", "unmount", "--rm", str(mount))
        return into

    def etcdctl(self, *words: str, node: str = "cp1", ok: bool = True) -> subprocess.CompletedProcess[str]:
        pki = self.lab.layout.pki(node) / "etcd"
        address, port = self.lab.settings.addresses[node], self.lab.settings.ports.etcd_client
        tls = (f"--cacert={pki}/ca.crt", f"--cert={pki}/server.crt", f"--key={pki}/server.key")
        program = str(self.etcd_tools(node) / "etcdctl")
        return self.run(node, program, f"--endpoints=https://{address}:{port}", *tls, *words, ok=ok)

    def save_snapshot(self, path: Path) -> Path:
        self.etcdctl("snapshot", "save", str(path))
        return path

    def upgrade_first(self, target: str = "v1.28.0") -> None:
        """The first control plane up to and with `kubeadm upgrade apply`."""
        old, new = ".".join(self.lab.settings.from_version.split(".")[:2]), ".".join(target.split(".")[:2])
        for node in self.lab.settings.names:
            self.switch_source(node, old, new)
        self.install("cp1", f"kubeadm={target[1:]}-1.1")
        self.run("cp1", "kubeadm", "upgrade", "apply", target, "--yes")

    def upgrade_kubelet(self, node: str, target: str = "v1.28.0") -> None:
        self.install(node, f"kubelet={target[1:]}-1.1", f"kubectl={target[1:]}-1.1")
        self.run(node, "systemctl", "daemon-reload")
        self.run(node, "systemctl", "restart", "kubelet")

    def roll_back(self, snapshot: Path, *, token: str = "fresh") -> None:
        """Everything back to the snapshot and the old manifests, as it is done by hand."""
        planes, settings = self.lab.settings.control_planes, self.lab.settings
        for node in planes:
            self.run(node, "systemctl", "stop", "kubelet")
            aside = self.lab.layout.kubernetes(node) / "stopped"
            aside.mkdir(exist_ok=True)
            for path in self.manifest(node, "etcd").parent.glob("*.yaml"):
                path.rename(aside / path.name)
            for component in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"):
                if identity := self.running(node, component):
                    self.run(node, "crictl", "stop", "--timeout", "3", identity)
        members = ",".join(f"{name}=https://{settings.addresses[name]}:{settings.ports.etcd_peer}" for name in planes)
        for node in planes:
            data = self.lab.layout.etcd(node)
            fresh = data.with_name("etcd.new")
            peer = f"https://{settings.addresses[node]}:{settings.ports.etcd_peer}"
            restore = (f"--data-dir={fresh}", f"--name={node}", f"--initial-cluster={members}")
            urls = (f"--initial-advertise-peer-urls={peer}", f"--initial-cluster-token={token}")
            program = str(self.etcd_tools(node) / "etcdutl")
            self.run(node, program, "snapshot", "restore", str(snapshot), *restore, *urls)
            data.rename(data.with_name("etcd.old"))
            fresh.rename(data)
        for node in planes:
            aside = self.lab.layout.kubernetes(node) / "stopped"
            for path in aside.glob("*.yaml"):
                path.rename(self.manifest(node, path.stem))
            self.run(node, "systemctl", "start", "kubelet")
        until(self.ready)


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait for a condition; the time is only a limit for a machine that hangs."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def make(directory: Path, **options: Any) -> LabCluster:
    return cluster.up(directory, **{"pace": 0.0, "patience": 10.0, "grace": 0.2, **options})


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCluster]:
    """A lab that a module's tests only look at, or leave as it was."""
    made = make(tmp_path_factory.mktemp("lab") / "lab")
    yield made
    cluster.down(made.directory)


@pytest.fixture(scope="module")
def operator(lab: LabCluster) -> Operator:
    return Operator(lab)


@pytest.fixture
def new_lab(tmp_path: Path) -> Iterator[Callable[..., Operator]]:
    """Labs of a test's own, to break."""
    made: list[Path] = []

    def new(**options: Any) -> Operator:
        directory = tmp_path / f"lab{len(made)}"
        made.append(directory)
        return Operator(make(directory, **options))

    yield new
    for directory in made:
        if (directory / "lab").exists():
            cluster.down(directory)
