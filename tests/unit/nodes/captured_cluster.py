"""A real cluster of one control plane and one worker, as its programs answered: v1.33.13, captured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from upgrade_guard.config import ClusterSettings, Config, VaultSettings
from upgrade_guard.hosts.base import Host
from upgrade_guard.hosts.scripted import ScriptedHost
from upgrade_guard.hosts.transcript import SilentTranscript
from upgrade_guard.model.command import Command, Result
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.nodes.site import Site
from upgrade_guard.vault.bundle import Vault

FIXTURES = Path(__file__).parents[2] / "fixtures"
NOW = datetime(2026, 11, 22, 9, 40, tzinfo=UTC)
MANIFESTS = "/etc/kubernetes/manifests"
TOOLS = "/var/lib/upgrade-guard/node/etcd/3.5.24-0"
PROGRAMS = "etcd\0etcdctl\0etcdutl\0"
DIGESTS = {name: sha256(name.encode()).hexdigest() for name in ("etcd", "etcdctl", "etcdutl")}
GIB = 1024**3


class StandingClock:
    """It is always the same time."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    def pause(self, seconds: float) -> None:
        raise AssertionError(f"nothing here waits, but {seconds} s were asked for")


class PassingClock(StandingClock):
    """Waits take no time here, and pass on it."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return self.passed

    def pause(self, seconds: float) -> None:
        self.passed += seconds


def captured(name: str) -> str:
    return str(json.loads((FIXTURES / f"{name}.json").read_text())["stdout"])


def small_manifest(component: str, flags: str = "") -> str:
    image = f"registry.k8s.io/{component}:v1.33.13"
    return f"spec:\n  containers:\n  - name: {component}\n    image: {image}\n    command: [{component}{flags}]\n"


def control_plane_files() -> dict[str, str]:
    manifests = FIXTURES / "manifests"
    return {
        f"{MANIFESTS}/etcd.yaml": (manifests / "etcd-1.33.yaml").read_text(),
        f"{MANIFESTS}/kube-apiserver.yaml": (manifests / "kube-apiserver-1.33.yaml").read_text(),
        f"{MANIFESTS}/kube-controller-manager.yaml": small_manifest("kube-controller-manager"),
        f"{MANIFESTS}/kube-scheduler.yaml": small_manifest("kube-scheduler"),
    }


def with_files(host: ScriptedHost, files: Mapping[str, str], also_there: tuple[str, ...] = ()) -> None:
    """`cat`, `test -e`, sizes and the listing of manifests/ as these files are."""

    def cat(command: Command) -> Result:
        text = files.get(command.argv[-1])
        return Result(0, text) if text is not None else Result(1, "", "cat: No such file or directory\n")

    def there(command: Command) -> Result:
        path = command.argv[2]
        return Result(0 if path in also_there or any(f"{one}/".startswith(f"{path}/") for one in files) else 1)

    def size(command: Command) -> Result:
        return Result(0, f"{len(files[command.argv[-1]].encode())}\n")

    names = [path.rpartition("/")[2] for path in files if path.startswith(f"{MANIFESTS}/")]
    host.replies("cat", ..., reply=cat)
    host.replies("test", "-e", ..., reply=there)
    host.replies("stat", "--dereference", "--format=%s", ..., reply=size)
    host.answers("find", MANIFESTS, ..., stdout="".join(f"{name}\0" for name in names))


def node(name: str, files: Mapping[str, str]) -> ScriptedHost:
    host = ScriptedHost(name)
    source = {"/etc/apt/sources.list.d/kubernetes.list": "deb [trusted=yes] file:/repo/v1.33 ./\n"}
    flags = {"/var/lib/kubelet/kubeadm-flags.env": 'KUBELET_KUBEADM_ARGS="--pod-infra-container-image=pause:3.10"\n'}
    etcd = ("/var/lib/etcd", *(f"/etc/kubernetes/pki/etcd/{one}" for one in ("ca.crt", "server.crt", "server.key")))
    with_files(host, {**files, **source, **flags}, etcd)
    host.answers("dpkg-query", ..., stdout=captured("apt/installed"))
    host.answers("apt-mark", "showhold", stdout=captured("apt/holds"))
    host.replies("apt-cache", "madison", ..., reply=lambda _: Result(0, captured("apt/madison")))
    host.answers("date", "+%s", stdout=f"{NOW.timestamp():.0f}\n")
    for path in ("/etc/systemd/system/kubelet.service.d", "/usr/lib/systemd/system/kubelet.service.d"):
        host.answers("test", "-d", path, exit_status=1)
    host.answers("test", "-d", "/etc/kubernetes/patches", exit_status=1)
    host.answers("dpkg", "--audit", stdout="")
    host.answers("df", ..., stdout=f"Avail\n{50 * GIB}\n")
    host.answers("stat", "--dereference", "--format=%d", ..., stdout="2049\n")
    host.answers("stat", "--file-system", "--format=%T", "--", "/sys/fs/cgroup", stdout="tmpfs\n")
    return host


def control_plane(files: Mapping[str, str] | None = None, digests: Mapping[str, str] = DIGESTS) -> ScriptedHost:
    programs = {f"{TOOLS}/{name}": name for name in DIGESTS}
    host = node("z-cp1", {**(control_plane_files() if files is None else files), **programs})
    for words, fixture in {
        ("get", "nodes"): "kubectl/nodes",
        ("get", "pods"): "kubectl/pods",
        ("get", "deployments,daemonsets,statefulsets"): "kubectl/workloads",
        ("get", "services"): "kubectl/services-captured",
        ("configmap", "kubeadm-config"): "kubectl/kubeadm-config-v1beta4",
        ("--raw", "/metrics"): "api_server/deprecated-apis",
        ("--raw", "/version"): "api_server/version",
    }.items():
        host.answers("kubectl", ..., *words, ..., stdout=captured(fixture))
    empty = '{"apiVersion": "v1", "kind": "List", "items": []}'
    for kinds in (
        "poddisruptionbudgets",
        "apiservices",
        "validatingwebhookconfigurations,mutatingwebhookconfigurations",
    ):
        host.answers("kubectl", ..., "get", kinds, ..., stdout=empty)
    host.answers("kubectl", ..., "--raw", "/readyz", stdout="ok")
    host.answers("kubeadm", "certs", ..., stdout=captured("kubeadm/certificates-json"))
    host.answers("stat", "--dereference", r"--printf=%n\0", "--", *programs, stdout="\0".join((*programs, "")))
    rows = "".join(f"{digests[name]}  {path}\0" for path, name in programs.items())
    host.answers("sha256sum", "--zero", "--", *programs, stdout=rows)
    host.answers("test", "-d", TOOLS)
    host.answers("find", TOOLS, ..., stdout=PROGRAMS)
    host.answers("env", ..., f"{TOOLS}/etcd", "--version", stdout="etcd Version: 3.5.33\n")
    host.answers("env", ..., f"{TOOLS}/etcdctl", "version", stdout="etcdctl version: 3.5.33\n")
    for words, fixture in {
        ("member", "list"): "etcdctl/member-list-3.5",
        ("endpoint", "status"): "etcdctl/endpoint-status-3.5",
        ("endpoint", "health"): "etcdctl/endpoint-health-3.5",
        ("alarm", "list"): "etcdctl/alarm-list-none-3.5",
    }.items():
        host.answers("env", ..., f"{TOOLS}/etcdctl", ..., *words, ..., stdout=captured(fixture))
    return host


def here() -> ScriptedHost:
    """This machine: with room, and not a node of the cluster."""
    host = ScriptedHost("here")
    host.answers("hostname", "--all-ip-addresses", stdout="192.0.2.7 \n")
    host.answers("test", "-e", ...)
    host.answers("df", ..., stdout=f"Avail\n{50 * GIB}\n")
    host.answers("stat", ..., stdout="2050\n")
    return host


def site(state: Path, *hosts: ScriptedHost, offsite: Path | None = None) -> Site:
    """The site of that cluster from a bastion, with a `file://` target beside the state directory."""
    away = offsite or state.parent / "nas"
    away.mkdir(exist_ok=True)
    known: Mapping[str, Host] = {host.name: host for host in hosts}

    def reach(name: str, settings: NodeSettings) -> Host:
        return known[{"root@10.92.0.11": "z-cp1"}.get(name, name)]

    config = Config(
        state_dir=state,
        cluster=ClusterSettings(name="prod", control_plane="root@10.92.0.11"),
        vault=VaultSettings(path=state / "vault", offsite=(f"file://{away}",), allow_unencrypted_keys=True),
    )
    return Site(
        config,
        transcript=SilentTranscript(),
        clock=StandingClock(),
        vault=Vault(config.vault.path),
        here=here(),
        reach=reach,
        recorded=lambda: {f"z-cp1:{TOOLS}": DIGESTS, f"here:{state}/etcd/3.5.24-0": DIGESTS},
    )
