"""Static pod manifests as kubeadm writes them, and the little that kubelet needs to read from one.

The programs start without a YAML parser; kubeadm's manifests are regular enough to be read line by line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from upgrade_guard.lab import ranges, releases
from upgrade_guard.lab.layout import LabSettings, Layout, at

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
ETCD_EXTRA = {"election-timeout": "200", "heartbeat-interval": "20", "unsafe-no-fsync": "true"}
KEEPALIVED_IMAGE = "docker.io/osixia/keepalived:2.0.20"


@dataclass(frozen=True)
class StaticPod:
    """What kubelet reads from a file in manifests/. `digest` changes with every change of the file."""

    file: str
    name: str
    namespace: str
    component: str
    image: str
    command: tuple[str, ...]
    digest: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    def flag(self, name: str, default: str = "") -> str:
        """The value of `--name=value`."""
        return next((word.split("=", 1)[1] for word in self.command if word.startswith(f"--{name}=")), default)


# As kubeadm writes them.
REQUESTS = {
    "etcd": ("        cpu: 100m", "        memory: 100Mi"),
    "kube-apiserver": ("        cpu: 250m",),
    "kube-controller-manager": ("        cpu: 200m",),
    "kube-scheduler": ("        cpu: 100m",),
}


def read(path: Path) -> StaticPod | None:
    """A manifest, or None when kubelet would not accept the file."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    text = content.decode(errors="replace")
    name = re.search(r"^metadata:\n(?:  .*\n)*?  name: (\S+)$", text, re.MULTILINE)
    image = re.search(r"^  (?:  |- )image: (\S+)$", text, re.MULTILINE)
    if name is None or image is None:
        return None
    namespace = re.search(r"^  namespace: (\S+)$", text, re.MULTILINE)
    command = re.search(r"^  - command:\n((?:    - .*\n)+)", text, re.MULTILINE)
    words = tuple(line[6:] for line in command[1].splitlines()) if command else ()
    return StaticPod(
        file=path.name,
        name=name[1],
        namespace=namespace[1] if namespace else "default",
        component=words[0] if words else name[1],
        image=image[1],
        command=words,
        digest=hashlib.md5(content, usedforsecurity=False).hexdigest(),
        labels=_pairs(text, "labels"),
        annotations=_pairs(text, "annotations"),
    )


def _pairs(text: str, key: str) -> dict[str, str]:
    block = re.search(rf"^  {key}:\n((?:    \S+: .*\n)+)", text, re.MULTILINE)
    lines = block[1].splitlines() if block else []
    return dict(line.strip().split(": ", 1) for line in lines)


def with_image(text: str, image: str) -> str:
    """The manifest with another image, as a newer kubeadm would write it."""
    return re.sub(r"^    image: \S+$", f"    image: {image}", text, count=1, flags=re.MULTILINE)


def write_all(settings: LabSettings, name: str, version: str, into: Path) -> None:
    """The four manifests of one control plane, mode 0600."""
    into.mkdir(parents=True, exist_ok=True)
    for component in COMPONENTS:
        path = into / f"{component}.yaml"
        path.touch(mode=0o600)
        path.write_text(manifest(settings, name, component, version))


def keepalived(settings: LabSettings, name: str) -> str:
    """A static pod of the operator's own beside the four, as kubeadm's guide for high availability has it: an image
    with its own entrypoint, and files of the node.
    """
    etc = Layout.of(settings).node(name) / "etc/keepalived"
    files = {
        "config": ("/usr/local/etc/keepalived/keepalived.conf", etc / "keepalived.conf"),
        "check": ("/etc/keepalived/check_apiserver.sh", etc / "check_apiserver.sh"),
    }
    lines = ["apiVersion: v1", "kind: Pod", "metadata:", "  name: keepalived", "  namespace: kube-system", "spec:"]
    lines += ["  containers:", f"  - image: {KEEPALIVED_IMAGE}", "    name: keepalived", "    resources: {}"]
    lines += ["    securityContext:", "      capabilities:", "        add:"]
    lines += [f"        - {right}" for right in ("NET_ADMIN", "NET_BROADCAST", "NET_RAW")]
    lines.append("    volumeMounts:")
    for volume, (inside, _) in files.items():
        lines += [f"    - mountPath: {inside}", f"      name: {volume}"]
    lines += ["  hostNetwork: true", "  volumes:"]
    for volume, (_, outside) in files.items():
        lines += ["  - hostPath:", f"      path: {outside}", f"    name: {volume}"]
    return "\n".join([*lines, "status: {}", ""])


def manifest(settings: LabSettings, name: str, component: str, version: str) -> str:
    """One component's manifest as kubeadm of `version` writes it for this node."""
    layout = Layout.of(settings)
    kubernetes, node = layout.kubernetes(name), layout.node(name)
    pki = kubernetes / "pki"
    address, ports = settings.addresses[name], settings.ports
    annotations: dict[str, str] = {}
    certificates = [("ca-certs", node / "etc/ssl/certs", "DirectoryOrCreate"), ("k8s-certs", pki, "DirectoryOrCreate")]
    if component == "etcd":
        client = f"https://{at(address, ports.etcd_client)}"
        annotations["kubeadm.kubernetes.io/etcd.advertise-client-urls"] = client
        return _pod(
            component,
            releases.image(component, version, settings.etcd_version),
            _etcd_flags(settings, name, layout),
            annotations,
            [("etcd-data", layout.etcd(name), "DirectoryOrCreate"), ("etcd-certs", pki / "etcd", "DirectoryOrCreate")],
            (address, ports.etcd_metrics, "HTTP", "/health?exclude=NOSPACE&serializable=true"),
        )
    if component == "kube-apiserver":
        key = "kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint"
        # Quoted where it begins with a bracket, as kubeadm does.
        server = at(address, ports.api_server)
        annotations[key] = f"'{server}'" if server.startswith("[") else server
        flags = _api_server_flags(settings, name, pki)
        return _pod(
            component,
            releases.image(component, version, settings.etcd_version),
            flags,
            annotations,
            certificates,
            (address, ports.api_server, "HTTPS", "/livez"),
        )
    conf = kubernetes / f"{component.removeprefix('kube-')}.conf"
    flags = (
        _controller_manager_flags(conf, pki, ipv6=settings.ipv6)
        if component == "kube-controller-manager"
        else _scheduler_flags(conf)
    )
    port = 10257 if component == "kube-controller-manager" else 10259
    mounts = [("kubeconfig", conf, "FileOrCreate")]
    if component == "kube-controller-manager":
        mounts = [*certificates, *mounts]
    image = releases.image(component, version, settings.etcd_version)
    return _pod(component, image, flags, annotations, mounts, ("127.0.0.1", port, "HTTPS", "/healthz"))


def _etcd_flags(settings: LabSettings, name: str, layout: Layout) -> dict[str, str]:
    address, ports, pki = settings.addresses[name], settings.ports, layout.pki(name) / "etcd"
    client, peer = f"https://{at(address, ports.etcd_client)}", f"https://{at(address, ports.etcd_peer)}"
    # kubeadm starts the first member alone and joins the others to it; here all start together, which etcd
    # no longer looks at once a member directory is there (measured).
    members = settings.control_planes
    peers = {one: at(settings.addresses[one], ports.etcd_peer) for one in members}
    cluster = ",".join(f"{settings.member(one)}=https://{peer}" for one, peer in peers.items())
    return {
        "advertise-client-urls": client,
        "cert-file": str(pki / "server.crt"),
        "client-cert-auth": "true",
        "data-dir": str(layout.etcd(name)),
        "election-timeout": ETCD_EXTRA["election-timeout"],
        "experimental-initial-corrupt-check": "true",
        "experimental-watch-progress-notify-interval": "5s",
        "heartbeat-interval": ETCD_EXTRA["heartbeat-interval"],
        "initial-advertise-peer-urls": peer,
        "initial-cluster": cluster,
        "key-file": str(pki / "server.key"),
        "listen-client-urls": client,
        "listen-metrics-urls": f"http://{at(address, ports.etcd_metrics)}",
        "listen-peer-urls": peer,
        "name": settings.member(name),
        "peer-cert-file": str(pki / "peer.crt"),
        "peer-client-cert-auth": "true",
        "peer-key-file": str(pki / "peer.key"),
        "peer-trusted-ca-file": str(pki / "ca.crt"),
        "snapshot-count": "10000",
        "trusted-ca-file": str(pki / "ca.crt"),
        "unsafe-no-fsync": ETCD_EXTRA["unsafe-no-fsync"],
    }


def _api_server_flags(settings: LabSettings, name: str, pki: Path) -> dict[str, str]:
    address, ports = settings.addresses[name], settings.ports
    return {
        "advertise-address": address,
        "allow-privileged": "true",
        "authorization-mode": "Node,RBAC",
        "client-ca-file": str(pki / "ca.crt"),
        "enable-admission-plugins": "NodeRestriction",
        "enable-bootstrap-token-auth": "true",
        "etcd-cafile": str(pki / "etcd/ca.crt"),
        "etcd-certfile": str(pki / "apiserver-etcd-client.crt"),
        "etcd-keyfile": str(pki / "apiserver-etcd-client.key"),
        "etcd-servers": f"https://{at(address, ports.etcd_client)}",
        "kubelet-client-certificate": str(pki / "apiserver-kubelet-client.crt"),
        "kubelet-client-key": str(pki / "apiserver-kubelet-client.key"),
        "kubelet-preferred-address-types": "InternalIP,ExternalIP,Hostname",
        "proxy-client-cert-file": str(pki / "front-proxy-client.crt"),
        "proxy-client-key-file": str(pki / "front-proxy-client.key"),
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-client-ca-file": str(pki / "front-proxy-ca.crt"),
        "secure-port": str(ports.api_server),
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": str(pki / "sa.pub"),
        "service-account-signing-key-file": str(pki / "sa.key"),
        "service-cluster-ip-range": ranges.service_range(ipv6=settings.ipv6),
        "tls-cert-file": str(pki / "apiserver.crt"),
        "tls-private-key-file": str(pki / "apiserver.key"),
    }


def _controller_manager_flags(conf: Path, pki: Path, *, ipv6: bool) -> dict[str, str]:
    return {
        "allocate-node-cidrs": "true",
        "authentication-kubeconfig": str(conf),
        "authorization-kubeconfig": str(conf),
        "bind-address": "127.0.0.1",
        "client-ca-file": str(pki / "ca.crt"),
        "cluster-cidr": ranges.pod_range(ipv6=ipv6),
        "cluster-name": "kubernetes",
        "cluster-signing-cert-file": str(pki / "ca.crt"),
        "cluster-signing-key-file": str(pki / "ca.key"),
        "controllers": "*,bootstrapsigner,tokencleaner",
        "kubeconfig": str(conf),
        "leader-elect": "true",
        "requestheader-client-ca-file": str(pki / "front-proxy-ca.crt"),
        "root-ca-file": str(pki / "ca.crt"),
        "service-account-private-key-file": str(pki / "sa.key"),
        "service-cluster-ip-range": ranges.service_range(ipv6=ipv6),
        "use-service-account-credentials": "true",
    }


def _scheduler_flags(conf: Path) -> dict[str, str]:
    return {
        "authentication-kubeconfig": str(conf),
        "authorization-kubeconfig": str(conf),
        "bind-address": "127.0.0.1",
        "kubeconfig": str(conf),
        "leader-elect": "true",
    }


def _pod(
    component: str,
    image: str,
    flags: Mapping[str, str],
    annotations: Mapping[str, str],
    mounts: Sequence[tuple[str, Path, str]],
    probe: tuple[str, int, str, str],
) -> str:
    host, port, scheme, path = probe
    lines = ["apiVersion: v1", "kind: Pod", "metadata:"]
    if annotations:
        lines += ["  annotations:", *(f"    {key}: {value}" for key, value in annotations.items())]
    lines += ["  creationTimestamp: null", "  labels:", f"    component: {component}", "    tier: control-plane"]
    lines += [f"  name: {component}", "  namespace: kube-system", "spec:", "  containers:", "  - command:"]
    lines += [f"    - {component}", *(f"    - --{key}={value}" for key, value in sorted(flags.items()))]
    lines += [f"    image: {image}", "    imagePullPolicy: IfNotPresent"]
    for kind, failures in (("livenessProbe", 8), ("startupProbe", 24)):
        lines += [f"    {kind}:", f"      failureThreshold: {failures}", "      httpGet:", f"        host: {host}"]
        lines += [f"        path: {path}", f"        port: {port}", f"        scheme: {scheme}"]
        lines += ["      initialDelaySeconds: 10", "      periodSeconds: 10", "      timeoutSeconds: 15"]
        if kind == "livenessProbe":
            lines += [f"    name: {component}", "    resources:", "      requests:", *REQUESTS[component]]
    lines.append("    volumeMounts:")
    for name, where, _ in mounts:
        lines += [f"    - mountPath: {where}", f"      name: {name}"]
        if name != "etcd-data" and name != "etcd-certs":
            lines.append("      readOnly: true")
    lines += ["  hostNetwork: true", "  priority: 2000001000", "  priorityClassName: system-node-critical"]
    lines += ["  securityContext:", "    seccompProfile:", "      type: RuntimeDefault", "  volumes:"]
    for name, where, kind in mounts:
        lines += ["  - hostPath:", f"      path: {where}", f"      type: {kind}", f"    name: {name}"]
    return "\n".join([*lines, "status: {}", ""])
