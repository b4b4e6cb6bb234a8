"""Where a lab keeps what: the settings that never change after `up`, and the paths that follow from them.

The programs of the nodes read this at every start, so it imports nothing but the standard library.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

KIND = "upgrade-guard-lab"

# How an endpoint answers: with the next API server at each request, or with the one that has the address now.
TURN, VIRTUAL_ADDRESS = "turn", "address"
BALANCERS = (TURN, VIRTUAL_ADDRESS)


def at(address: str, port: int) -> str:
    """`ADDRESS:PORT`, with brackets around an IPv6 address."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class NotALab(Exception):
    """The directory holds no lab, or one that this version does not know."""


@dataclass(frozen=True)
class Ports:
    """The same on every node, because every node has a loopback address of its own."""

    etcd_client: int = 2379
    etcd_peer: int = 2380
    etcd_metrics: int = 2381
    api_server: int = 6443


@dataclass(frozen=True)
class LabSettings:
    """What `up` decided. `pace` is about how long an apply takes, `patience` how long kubeadm waits for a component
    (five minutes in reality), `grace` after how long a silent kubelet's node counts as not ready; all in seconds.
    `endpoint` is the address before several control planes ("": there is none), and `balancer` how it answers.
    `over_ssh`: the configuration reaches the nodes over the lab's own `ssh`, so that a machine can be lost. `domain`
    makes the nodes' names whole ones (`cp1.lab.example`), `ipv6` their addresses, those of pods and of services.
    `etcd_version` is what the programs in `etcd_binaries` are, and what every image of etcd is called by.
    """

    directory: str
    from_version: str
    control_planes: tuple[str, ...]
    workers: tuple[str, ...]
    addresses: Mapping[str, str]
    ports: Ports
    pace: float
    patience: float
    grace: float
    offsite: str
    offsite_is_ours: bool
    etcd_binaries: str
    python_paths: tuple[str, ...]
    endpoint: str = ""
    balancer: str = TURN
    over_ssh: bool = False
    domain: str = ""
    ipv6: bool = False
    etcd_version: str = "3.5.1"

    def member(self, name: str) -> str:
        """What etcd calls the member of that control plane: where nodes have a domain, not what the node is called."""
        return f"infra{self.control_planes.index(name)}" if self.domain else name

    @property
    def names(self) -> tuple[str, ...]:
        """Every node, control planes first."""
        return (*self.control_planes, *self.workers)

    def is_control_plane(self, name: str) -> bool:
        """Does the node run the API server and etcd?"""
        return name in self.control_planes


@dataclass(frozen=True)
class Layout:
    """The paths of one lab."""

    directory: Path

    @classmethod
    def of(cls, settings: LabSettings) -> Layout:
        """The paths of that lab."""
        return cls(Path(settings.directory))

    @property
    def lab(self) -> Path:
        """The lab's own state, beside the nodes."""
        return self.directory / "lab"

    @property
    def settings_file(self) -> Path:
        """What makes a directory a lab."""
        return self.lab / "lab.json"

    @property
    def complete_file(self) -> Path:
        """There once `up` came to its end."""
        return self.lab / "complete"

    @property
    def lock(self) -> Path:
        """Held while a program changes the lab's state."""
        return self.lab / "lock"

    @property
    def faults(self) -> Path:
        """Which faults are on, and how often each fired."""
        return self.lab / "faults.json"

    @property
    def balancer_file(self) -> Path:
        """Which API server the cluster's endpoint answered with last."""
        return self.lab / "balancer"

    @property
    def ssh(self) -> Path:
        """The way to the machines of a lab whose nodes are reached over ssh; alone in a directory for PATH."""
        return self.lab / "bin" / "ssh"

    def hook(self, name: str, program: str) -> Path:
        """What runs in the place of a program of etcd's image on that node, where it is there."""
        return self.lab / "hooks" / f"{name}-{program}"

    def off_mark(self, name: str) -> Path:
        """There while the node's machine is without power."""
        return self.lab / "off" / name

    @property
    def server(self) -> Path:
        """Where launchers reach the process that answers for the nodes' programs."""
        return self.lab / "server"

    @property
    def workers(self) -> Path:
        """A file PID-NODE for each program that runs in that process."""
        return self.server / "workers"

    @property
    def authorities(self) -> Path:
        """The cluster's certificate authorities, as the first control plane made them."""
        return self.lab / "authorities"

    @property
    def config(self) -> Path:
        """The ordinary configuration of the product."""
        return self.directory / "config.toml"

    @property
    def repository(self) -> Path:
        """The package repositories, one directory for each minor series."""
        return self.directory / "repo"

    def node(self, name: str) -> Path:
        """The root directory of a node."""
        return self.directory / "nodes" / name

    def record(self, name: str) -> Path:
        """What the lab knows of a node: its packages, its containers, its kubelet."""
        return self.lab / "nodes" / f"{name}.json"

    def kubernetes(self, name: str) -> Path:
        """The node's /etc/kubernetes."""
        return self.node(name) / "etc" / "kubernetes"

    def pki(self, name: str) -> Path:
        """The node's certificates."""
        return self.kubernetes(name) / "pki"

    def kubelet(self, name: str) -> Path:
        """The node's /var/lib/kubelet."""
        return self.node(name) / "var" / "lib" / "kubelet"

    def etcd(self, name: str) -> Path:
        """The node's etcd data directory."""
        return self.node(name) / "var" / "lib" / "etcd"

    def work(self, name: str) -> Path:
        """Where upgrade-guard may work on the node."""
        return self.node(name) / "var" / "lib" / "upgrade-guard"

    def package_source(self, name: str) -> Path:
        """The node's apt source for Kubernetes."""
        return self.node(name) / "etc" / "apt" / "sources.list.d" / "kubernetes.list"

    def programs(self, name: str) -> Path:
        """The node's own programs, first on its PATH."""
        return self.node(name) / "bin"

    def container_log(self, name: str, container: str) -> Path:
        """Where a container's output goes."""
        return self.node(name) / "var" / "log" / "containers" / f"{container}.log"


def write_json(path: Path, value: Any) -> None:
    """Write beside and rename, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(value, indent=1) + "\n")
    beside.replace(path)


def save_settings(settings: LabSettings) -> None:
    """Make the directory a lab."""
    write_json(Layout(Path(settings.directory)).settings_file, {"kind": KIND, **asdict(settings)})


def load_settings(directory: Path) -> LabSettings:
    """Read what `up` decided. Raises NotALab."""
    path = Layout(directory).settings_file
    try:
        read = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise NotALab(f"{directory} is not a lab: {path} cannot be read ({error})") from error
    if not isinstance(read, dict) or read.pop("kind", None) != KIND:
        raise NotALab(f"{directory} is not a lab: {path} does not say so")
    try:
        return LabSettings(
            **{
                **read,
                "directory": str(directory),
                "ports": Ports(**read["ports"]),
                "control_planes": tuple(read["control_planes"]),
                "workers": tuple(read["workers"]),
                "python_paths": tuple(read["python_paths"]),
            }
        )
    except (TypeError, KeyError) as error:
        raise NotALab(f"{directory} is a lab of another version: {error}") from error
