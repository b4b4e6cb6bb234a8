"""A kubeadm cluster of system containers on a network of its own on this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from proving import images, node_image
from proving.ground import NEW, OLD, cache, podman, run
from proving.packages import repository

IGNORED = ("SystemVerification", "Swap", "FileContent--proc-sys-net-bridge-bridge-nf-call-iptables")
"""kubeadm's own checks that cannot pass inside a container; the product is told by its ordinary configuration."""

TOKEN = "abcdef.0123456789abcdef"
READY_TIMEOUT = 240.0


@dataclass
class ProvingNode:
    """One container that is a node."""

    name: str
    address: str
    number: int

    def run(self, *argv: str, timeout: float = 300.0, check: bool = True, stdin: bytes | None = None) -> str:
        """A program on the node; its standard output."""
        words = ("exec", "-i", "-e", "KUBECONFIG=/etc/kubernetes/admin.conf", self.name, *argv)
        return podman(*words, timeout=timeout, check=check, stdin=stdin).stdout


@dataclass
class Cluster:
    """One control plane and one worker. /var/lib/etcd is a mount point; another `etcd_dir` is a plain directory."""

    name: str
    directory: Path
    subnet: str
    etcd_dir: str = "/var/lib/etcd"
    version: str = OLD
    nodes: list[ProvingNode] = field(default_factory=list)

    @property
    def control_plane(self) -> ProvingNode:
        return self.nodes[0]

    def kubectl(self, *argv: str, check: bool = True, stdin: bytes | None = None) -> str:
        return self.control_plane.run("kubectl", *argv, check=check, stdin=stdin)

    def up(self) -> None:
        """Boot, initialise, join, fill with a workload, and wait until all of it is Ready."""
        for version in (OLD, NEW):
            repository(version)
            images.of(version)
        image = node_image.of(self.version)
        seed()
        self.directory.mkdir(parents=True, exist_ok=True)
        key = self.directory / "id_ed25519"
        if not key.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "proving", "-f", key)
        self.nodes = [
            ProvingNode(f"{self.name}-cp1", f"{self.subnet}.11", 1),
            ProvingNode(f"{self.name}-w1", f"{self.subnet}.21", 21),
        ]
        podman("network", "create", "--disable-dns", "--subnet", f"{self.subnet}.0/24", self.name)
        for node in self.nodes:
            self.boot(node, image)
        for node in self.nodes:
            until(
                lambda node=node: node.run("systemctl", "is-active", "containerd", check=False).strip() == "active", 60
            )
        self.control_plane.run("kubeadm", "init", "--config", "/etc/proving/init.yaml", timeout=400)
        for node in self.nodes[1:]:
            node.run("kubeadm", "join", "--config", "/etc/proving/join.yaml", timeout=300)
        self.kubectl("apply", "--server-side", "-f", "-", stdin=workload().encode())
        until(self.settled, READY_TIMEOUT)
        scanned = run("ssh-keyscan", "-t", "ed25519", *(node.address for node in self.nodes)).stdout
        (self.directory / "known_hosts").write_text(scanned)

    def boot(self, node: ProvingNode, image: str) -> None:
        place = self.directory / node.name
        for name in ("kubelet", "cni", "etc", "data"):
            (place / name).mkdir(parents=True, exist_ok=True)
        stock(place / "containerd")
        (place / "cni" / "10-proving.conflist").write_text(json.dumps(bridge(node.number)))
        others = (other for other in self.nodes if other is not node)
        routes = "".join(f"ip route replace 10.244.{other.number}.0/24 via {other.address}\n" for other in others)
        (place / "etc" / "routes.sh").write_text(routes)
        (place / "etc" / "init.yaml").write_text(self.init_configuration(node))
        (place / "etc" / "join.yaml").write_text(self.join_configuration(node))
        data = "/var/lib/etcd" if self.etcd_dir == "/var/lib/etcd" else "/srv"
        mounts = {
            place / "containerd": "/var/lib/containerd",
            place / "kubelet": "/var/lib/kubelet",
            place / "data": data,
            place / "cni": "/etc/cni/net.d",
            place / "etc": "/etc/proving",
            cache() / "repo": "/repo:ro",
            self.directory / "id_ed25519.pub": "/root/.ssh/authorized_keys:ro",
        }
        volumes = [word for source, there in mounts.items() for word in ("-v", f"{source}:{there}")]
        hosts = [word for other in self.nodes for word in ("--add-host", f"{other.name}:{other.address}")]
        options = ("--privileged", "--systemd=always", "--cgroupns=private", "--tmpfs", "/run", "--tmpfs", "/tmp")
        limits = ("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=32768:32768")
        name = ("--name", node.name, "--hostname", node.name, "--network", self.name, "--ip", node.address)
        dns = ("--dns", self.nodes[0].address, "--label", f"proving={self.name}")
        podman("run", "-d", *name, *dns, *hosts, *options, *limits, *volumes, image, "/sbin/init")

    def down(self) -> None:
        """Remove the containers, the network and what they wrote."""
        found = podman("ps", "-aq", "--filter", f"label=proving={self.name}").stdout.split()
        if found:
            podman("rm", "-f", "-v", "-t", "0", *found)
        podman("network", "rm", "-f", self.name, check=False)
        for node in self.nodes:
            shutil.rmtree(self.directory / node.name, ignore_errors=True)

    def settled(self) -> bool:
        """Every node Ready, every system pod and the workload Ready."""
        nodes = self.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=5s", check=False)
        pods = self.kubectl("wait", "--for=condition=Ready", "pod", "--all", "-A", "--timeout=5s", check=False)
        return nodes.count("condition met") == len(self.nodes) and "coredns" in pods and "web" in pods

    def api_answers(self) -> bool:
        """Is the API ready, asked from outside?"""
        argv = (
            "exec",
            self.control_plane.name,
            "kubectl",
            "--kubeconfig=/etc/kubernetes/admin.conf",
            "get",
            "--raw",
            "/readyz",
        )
        return podman(*argv, check=False, timeout=20).stdout == "ok"

    def configuration(self, name: str) -> Path:
        """An ordinary configuration for a bastion: nothing in it exists only for tests."""
        path = self.directory / f"{name}.toml"
        ignored = ", ".join(f'"{one}"' for one in IGNORED)
        path.write_text(
            f'state_dir = "{self.directory}/{name}"\n'
            f'[cluster]\nname = "{self.name}"\ncontrol_plane = "root@{self.control_plane.address}"\n'
            f'[ssh]\nuser = "root"\nidentity_file = "{self.directory}/id_ed25519"\n'
            f'options = ["UserKnownHostsFile={self.directory}/known_hosts", "StrictHostKeyChecking=yes"]\n'
            f'[vault]\noffsite = ["file://{self.directory}/offsite"]\n'
            f"[upgrade]\nignore_preflight_errors = [{ignored}]\n"
        )
        return path

    def init_configuration(self, node: ProvingNode) -> str:
        return f"""apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
bootstrapTokens: [{{token: {TOKEN}, ttl: 0s}}]
localAPIEndpoint: {{advertiseAddress: {node.address}}}
{registration(node)}---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v{self.version}
networking: {{podSubnet: 10.244.0.0/16}}
etcd: {{local: {{dataDir: {self.etcd_dir}}}}}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failSwapOn: false
failCgroupV1: false
imageGCHighThresholdPercent: 100
evictionHard: {{memory.available: "50Mi", nodefs.available: "1%", nodefs.inodesFree: "1%", imagefs.available: "1%"}}
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
conntrack: {{maxPerCore: 0, min: 0}}
iptables: {{masqueradeAll: true}}
"""

    def join_configuration(self, node: ProvingNode) -> str:
        server = f"{self.nodes[0].address}:6443"
        return f"""apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery: {{bootstrapToken: {{token: {TOKEN}, apiServerEndpoint: "{server}", unsafeSkipCAVerification: true}}}}
{registration(node)}"""


def registration(node: ProvingNode) -> str:
    return (
        f"nodeRegistration:\n  name: {node.name}\n  criSocket: unix:///run/containerd/containerd.sock\n"
        f"  ignorePreflightErrors: [{', '.join(IGNORED)}]\n"
    )


def bridge(number: int) -> dict[str, object]:
    """A CNI configuration without any plugin of its own to install."""
    ranges = [[{"subnet": f"10.244.{number}.0/24"}]]
    ipam = {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
    plugin = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "ipam": ipam}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "proving", "plugins": [plugin, ports]}


def workload() -> str:
    """A deployment with a service, a marker, and filler that gives etcd something to hold."""
    container = {"name": "web", "image": "registry.k8s.io/pause:3.10", "imagePullPolicy": "IfNotPresent"}
    pod = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
    }
    items: list[dict[str, object]] = [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": pod},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        },
    ]
    for name in ("before", *(f"filler-{number}" for number in range(100))):
        metadata = {"name": name, "namespace": "default"}
        items.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"pad": "x" * 500}})
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def seed() -> Path:
    """One containerd store that holds every image, imported once; nodes get hard links of it."""
    made = cache() / "seed"
    if (made / "complete").exists():
        return made
    shutil.rmtree(made, ignore_errors=True)
    (made / "containerd").mkdir(parents=True)
    name = "upgrade-guard-proving-seed"
    podman("rm", "-f", "-t", "0", name, check=False)
    options = ("--privileged", "--systemd=always", "--cgroupns=private", "--tmpfs", "/run", "--tmpfs", "/tmp")
    limits = ("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=32768:32768")
    volumes = ("-v", f"{made}/containerd:/var/lib/containerd", "-v", f"{cache()}/images:/images:ro")
    node_image.base()
    podman("run", "-d", "--name", name, *options, *limits, *volumes, f"{node_image.NAME}:base", "/sbin/init")
    try:
        active = ("exec", name, "systemctl", "is-active", "containerd")
        until(lambda: podman(*active, check=False).stdout.strip() == "active", 60)
        for version in (OLD, NEW):
            for archive in sorted((cache() / "images" / version).glob("*.tar")):
                podman(
                    "exec",
                    name,
                    "ctr",
                    "-n",
                    "k8s.io",
                    "images",
                    "import",
                    f"/images/{version}/{archive.name}",
                    timeout=600,
                )
        podman("exec", name, "systemctl", "stop", "containerd")
    finally:
        podman("rm", "-f", "-t", "0", name, check=False)
    (made / "complete").touch()
    return made


def stock(place: Path) -> None:
    """A containerd directory with all images: content never changes and is linked, databases are copied."""
    if place.exists():
        return
    source = seed() / "containerd"
    run("cp", "-al", f"{source}/.", make(place))
    for database in source.rglob("*.db"):
        run("cp", "--remove-destination", "-p", database, place / database.relative_to(source))


def make(place: Path) -> Path:
    place.mkdir(parents=True)
    return place


def until(look: Callable[[], bool], timeout: float) -> None:
    """Wait for it. Raises TimeoutError."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            if look():
                return
        except (RuntimeError, subprocess.TimeoutExpired):
            pass  # not there yet
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come about in time")
        time.sleep(0.3)
