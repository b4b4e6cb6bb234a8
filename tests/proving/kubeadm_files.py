"""What kubeadm and the network of a proving cluster are told, and the workload that lives there."""

from __future__ import annotations

import json

IGNORED = ("SystemVerification", "Swap", "FileContent--proc-sys-net-bridge-bridge-nf-call-iptables")
"""kubeadm's own checks that cannot pass inside a container; the product is told by its ordinary configuration."""

TOKEN = "abcdef.0123456789abcdef"


CERTIFICATE_KEY = "5c" * 32
"""What further control planes decrypt the first one's certificates with."""


def init_configuration(name: str, address: str, version: str, etcd_dir: str, endpoint: str = "") -> str:
    """For `kubeadm init` on the first control plane; `endpoint` is what stands before several of them."""
    certificates = f"certificateKey: {CERTIFICATE_KEY}\n" if endpoint else ""
    before = f"controlPlaneEndpoint: {endpoint}\n" if endpoint else ""
    return f"""apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
bootstrapTokens: [{{token: {TOKEN}, ttl: 0s}}]
{certificates}localAPIEndpoint: {{advertiseAddress: {address}}}
{registration(name)}---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v{version}
{before}networking: {{podSubnet: 10.244.0.0/16}}
etcd: {{local: {{dataDir: {etcd_dir}}}}}
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


def join_configuration(name: str, server: str, advertise: str = "") -> str:
    """For `kubeadm join`; `server` is the API as host:port, `advertise` the address of one more control plane."""
    api = f"{{advertiseAddress: {advertise}}}"
    plane = f"controlPlane: {{certificateKey: {CERTIFICATE_KEY}, localAPIEndpoint: {api}}}\n" if advertise else ""
    return f"""apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery: {{bootstrapToken: {{token: {TOKEN}, apiServerEndpoint: "{server}", unsafeSkipCAVerification: true}}}}
{plane}{registration(name)}"""


def registration(name: str) -> str:
    return (
        f"nodeRegistration:\n  name: {name}\n  criSocket: unix:///run/containerd/containerd.sock\n"
        f"  ignorePreflightErrors: [{', '.join(IGNORED)}]\n"
    )


def bridge(number: int) -> str:
    """A CNI configuration without any plugin of its own to install; `number` is the node's part of the pod network."""
    ranges = [[{"subnet": f"10.244.{number}.0/24"}]]
    ipam = {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
    plugin = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "ipam": ipam}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "0.4.0", "name": "proving", "plugins": [plugin, ports]})


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
