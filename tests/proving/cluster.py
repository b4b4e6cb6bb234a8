"""A kubeadm cluster of system containers on a network of its own on this machine."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from proving import balancer, images, kubeadm_files, node_image
from proving.ground import NEW, OLD, alone, podman, run, until
from proving.packages import repositories, repository
from proving.store import BOX, LIMITS, seed, stock

READY_TIMEOUT = 240.0


@dataclass
class ProvingNode:
    """One container that is a node. What is under its /var/lib/upgrade-guard can be read here as `state`."""

    name: str
    address: str
    number: int
    state: Path
    _first_process: int = 0

    def run(self, *argv: str, timeout: float = 300.0, check: bool = True, stdin: bytes | None = None) -> str:
        """A program on the node; its standard output."""
        words = ("exec", "-i", "-e", "KUBECONFIG=/etc/kubernetes/admin.conf", self.name, *argv)
        return podman(*words, timeout=timeout, check=check, stdin=stdin).stdout

    def active(self, unit: str) -> bool:
        """Does systemd say that the unit is up?"""
        return self.run("systemctl", "is-active", unit, check=False).strip() == "active"

    def at_work(self, *words: str) -> bool:
        """Does a process with these words run on the node?"""
        return any(set(words) <= set(argv) for argv in self.processes().values())

    def read(self, path: str) -> str:
        return self.run("cat", path)

    def write(self, path: str, content: str, *, mode: str = "600") -> None:
        self.run("install", "-D", "-m", mode, "/dev/stdin", path, stdin=content.encode())

    def import_image(self, archive: Path) -> None:
        """Into containerd, over what has that name."""
        podman("cp", archive, f"{self.name}:/root/image.tar")
        self.run("ctr", "-n", "k8s.io", "images", "import", "/root/image.tar")
        self.run("rm", "/root/image.tar")

    @property
    def first_process(self) -> int:
        """The number that the node's systemd has on this machine; 0 while the node is down."""
        if not self._first_process or not Path(f"/proc/{self._first_process}/ns").exists():
            self._first_process = int(podman("inspect", "-f", "{{.State.Pid}}", self.name).stdout)
        return self._first_process

    @property
    def root(self) -> Path:
        """The node's file system, as this machine sees it; not to be kept over a restart of the node."""
        return Path(f"/proc/{self.first_process}/root")

    def processes(self) -> dict[int, tuple[str, ...]]:
        """Argv of the node's own processes, those of pods left out, by their number on this machine.

        Read from /proc here, which is fast enough to meet a process that lives for a second.
        """
        try:
            own = os.readlink(f"/proc/{self.first_process}/ns/pid")
        except OSError:
            return {}
        found = {}
        for place in Path("/proc").iterdir():
            if place.name.isdigit():
                try:
                    if os.readlink(place / "ns" / "pid") == own:
                        found[int(place.name)] = tuple((place / "cmdline").read_text().split("\0"))
                except OSError:
                    continue  # it has ended meanwhile
        return found


@dataclass
class Cluster:
    """Control planes and one worker. /var/lib/etcd is a mount point; another `etcd_dir` is a plain directory.

    Before several control planes stands a balancer with a name and an address of its own.
    """

    name: str
    directory: Path
    subnet: str
    etcd_dir: str = "/var/lib/etcd"
    version: str = OLD
    members: int = 1
    nodes: list[ProvingNode] = field(default_factory=list)

    def __post_init__(self) -> None:
        planes = [(f"cp{number}", 10 + number, number) for number in range(1, self.members + 1)]
        places = (*planes, ("w1", 21, 21))
        self.nodes = [
            ProvingNode(f"{self.name}-{kind}", f"{self.subnet}.{host}", number, self.directory / kind / "state")
            for kind, host, number in places
        ]

    @property
    def control_plane(self) -> ProvingNode:
        """The first one."""
        return self.nodes[0]

    @property
    def control_planes(self) -> list[ProvingNode]:
        return self.nodes[: self.members]

    @property
    def worker(self) -> ProvingNode:
        return self.nodes[-1]

    @property
    def balanced(self) -> bool:
        """Does a balancer stand before the API servers?"""
        return self.members > 1

    @property
    def api_name(self) -> str:
        """The balancer's name, which only the nodes know."""
        return f"api.{self.name}.test"

    @property
    def api_address(self) -> str:
        """Where the cluster's API is: at the balancer, or at the only control plane."""
        return f"{self.subnet}.10" if self.balanced else self.control_plane.address

    def kubectl(self, *argv: str, check: bool = True, stdin: bytes | None = None) -> str:
        return self.control_plane.run("kubectl", *argv, check=check, stdin=stdin)

    def up(self) -> None:
        """Boot, initialise, join, fill with a workload, and wait until all of it is Ready."""
        with alone("building"):
            for version in (OLD, NEW):
                repository(version)
                images.of(version)
            image = node_image.of(self.version)
            if self.balanced:
                balancer.image()
            seed()
        self.directory.mkdir(parents=True, exist_ok=True)
        key = self.directory / "id_ed25519"
        if not key.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "proving", "-f", key)
        podman("network", "create", "--disable-dns", "--subnet", f"{self.subnet}.0/24", self.name)
        if self.balanced:
            addresses = [node.address for node in self.control_planes]
            balancer.start(self.name, self.api_address, addresses, self.directory)
        for node in self.nodes:
            self.boot(node, image)
        for node in self.nodes:
            until(lambda node=node: node.active("containerd"), 60)
        shared = ("--upload-certs",) if self.balanced else ()
        self.control_plane.run("kubeadm", "init", "--config", "/etc/proving/init.yaml", *shared, timeout=400)
        for node in self.nodes[1:]:
            node.run("kubeadm", "join", "--config", "/etc/proving/join.yaml", timeout=300)
        self.kubectl("apply", "--server-side", "-f", "-", stdin=kubeadm_files.workload().encode())
        until(self.settled, READY_TIMEOUT)
        scanned = run("ssh-keyscan", "-t", "ed25519", *(node.address for node in self.nodes)).stdout
        (self.directory / "known_hosts").write_text(scanned)

    def boot(self, node: ProvingNode, image: str) -> None:
        place = node.state.parent
        for name in ("kubelet", "cni", "etc", "data", "state"):
            (place / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        stock(place / "containerd")
        (place / "cni" / "10-proving.conflist").write_text(kubeadm_files.bridge(node.number))
        others = (other for other in self.nodes if other is not node)
        routes = "".join(f"ip route replace 10.244.{other.number}.0/24 via {other.address}\n" for other in others)
        (place / "etc" / "routes.sh").write_text(routes)
        endpoint = f"{self.api_name}:{balancer.PORT}" if self.balanced else ""
        init = kubeadm_files.init_configuration(node.name, node.address, self.version, self.etcd_dir, endpoint)
        (place / "etc" / "init.yaml").write_text(init)
        advertise = node.address if node in self.control_planes else ""
        join = kubeadm_files.join_configuration(node.name, endpoint or f"{self.nodes[0].address}:6443", advertise)
        (place / "etc" / "join.yaml").write_text(join)
        data = "/var/lib/etcd" if self.etcd_dir == "/var/lib/etcd" else "/srv"
        mounts = {
            place / "containerd": "/var/lib/containerd",
            place / "kubelet": "/var/lib/kubelet",
            place / "data": data,
            place / "cni": "/etc/cni/net.d",
            place / "etc": "/etc/proving",
            place / "state": "/var/lib/upgrade-guard",
            repositories(): "/repo:ro",
            self.directory / "id_ed25519.pub": "/root/.ssh/authorized_keys:ro",
        }
        volumes = [word for source, there in mounts.items() for word in ("-v", f"{source}:{there}")]
        known = {other.name: other.address for other in self.nodes}
        if self.balanced:
            known[self.api_name] = self.api_address
        hosts = [word for other, address in known.items() for word in ("--add-host", f"{other}:{address}")]
        name = ("--name", node.name, "--hostname", node.name, "--network", self.name, "--ip", node.address)
        dns = ("--dns", self.nodes[0].address, "--label", f"proving={self.name}")
        podman("run", "-d", *name, *dns, *hosts, *BOX, *LIMITS, *volumes, image, "/sbin/init")

    def down(self) -> None:
        """Remove the containers, the network and what they wrote."""
        until(self._removed, 300)
        podman("network", "rm", "-f", self.name, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _removed(self) -> bool:
        """A container whose processes do not die in time, on a busy machine, is asked again."""
        found = podman("ps", "-aq", "--filter", f"label=proving={self.name}").stdout.split()
        if found:
            podman("rm", "-f", "-v", "-t", "0", *found)
        return True

    def settled(self) -> bool:
        """Every node Ready, every system pod and the workload Ready."""
        nodes = self.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=5s", check=False)
        pods = self.kubectl("wait", "--for=condition=Ready", "pod", "--all", "-A", "--timeout=5s", check=False)
        return nodes.count("condition met") == len(self.nodes) and "coredns" in pods and "web" in pods
