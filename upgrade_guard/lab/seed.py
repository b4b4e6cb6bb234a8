"""What is in the API of a new lab: a cluster that runs something, with enough in it to lose."""

from __future__ import annotations

from upgrade_guard.lab import manifests, objects, ranges, releases
from upgrade_guard.lab.layout import LabSettings, Layout
from upgrade_guard.lab.world import Object, World

FILLERS = 200
CNI_IMAGE = "docker.io/flannel/flannel:v0.22.3"
SHOP_IMAGE = "docker.io/library/nginx:1.25.3"
LEDGER_IMAGE = "docker.io/library/redis:7.2.3"
OPERATOR_IMAGE = "quay.io/tigera/operator:v1.30.4"
TENANT_IMAGE = "registry.k8s.io/etcd:3.5.6-0"
MARKER = "before the upgrade"


def plant(settings: LabSettings, world: World) -> None:
    """Put everything there that is not there yet."""
    for one in _objects(settings):
        metadata, kind = one["metadata"], one["kind"]
        plural = "endpointslices" if kind == "EndpointSlice" else f"{kind.lower()}s"
        if world.get(plural, metadata.get("namespace", ""), metadata["name"]) is None:
            world.put(one)


def images(settings: LabSettings) -> list[str]:
    """What has been pulled on every node."""
    return sorted(
        {
            *releases.images(settings.from_version, settings.etcd_version),
            CNI_IMAGE,
            SHOP_IMAGE,
            LEDGER_IMAGE,
            OPERATOR_IMAGE,
            TENANT_IMAGE,
        }
    )


def _objects(settings: LabSettings) -> list[Object]:
    version = settings.from_version
    found: list[Object] = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"labels": {"kubernetes.io/metadata.name": name}, "name": name},
            "status": {"phase": "Active"},
        }
        for name in ("default", "kube-flannel", "kube-public", "kube-system", "operators", "shop", "tenant")
    ]
    found += [
        objects.configmap(
            "kube-system", "kubeadm-config", {"ClusterConfiguration": cluster_configuration(settings, version)}
        ),
        objects.configmap("kube-system", "kubelet-config", {"kubelet": kubelet_configuration(settings)}),
        objects.workload(
            "DaemonSet",
            "kube-system",
            "kube-proxy",
            {"k8s-app": "kube-proxy"},
            releases.image("kube-proxy", version, settings.etcd_version),
            tolerates_everything=True,
        ),
        objects.workload(
            "DaemonSet",
            "kube-flannel",
            "kube-flannel-ds",
            {"app": "flannel", "k8s-app": "flannel"},
            CNI_IMAGE,
            tolerates_everything=True,
        ),
        objects.workload(
            "Deployment",
            "kube-system",
            "coredns",
            {"k8s-app": "kube-dns"},
            releases.image("coredns", version, settings.etcd_version),
            replicas=2,
            tolerates_control_plane=True,
        ),
        # As operators of a CNI do it (tigera-operator): it comes straight back to a node that was cordoned.
        objects.workload(
            "Deployment",
            "operators",
            "network-operator",
            {"app": "network-operator"},
            OPERATOR_IMAGE,
            replicas=1,
            tolerates_everything=True,
        ),
        # A tenant's control plane (vcluster, Kamaji) has containers of the same names as the cluster's own.
        objects.workload(
            "DaemonSet", "tenant", "etcd", {"app": "tenant-etcd"}, TENANT_IMAGE, tolerates_everything=True
        ),
        objects.workload("Deployment", "shop", "shop", {"app": "shop"}, SHOP_IMAGE, replicas=3),
        objects.workload("Deployment", "shop", "ledger", {"app": "ledger"}, LEDGER_IMAGE, replicas=1),
        objects.service("default", "kubernetes", ranges.service(ranges.API, ipv6=settings.ipv6), 443, None),
        objects.service(
            "kube-system", "kube-dns", ranges.service(ranges.DNS, ipv6=settings.ipv6), 53, {"k8s-app": "kube-dns"}
        ),
        objects.service("shop", "shop", ranges.service(40 * 256 + 1, ipv6=settings.ipv6), 80, {"app": "shop"}),
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "labels": {"kubernetes.io/service-name": "kubernetes"},
                "name": "kubernetes",
                "namespace": "default",
            },
            "addressType": "IPv6" if settings.ipv6 else "IPv4",
            "endpoints": [
                {"addresses": [settings.addresses[name]], "conditions": {"ready": True}}
                for name in settings.control_planes
            ],
            "ports": [{"name": "https", "port": settings.ports.api_server, "protocol": "TCP"}],
        },
        objects.configmap("default", "marker", {"says": MARKER}),
    ]
    if len(settings.names) > 1:  # with one node it could never be drained
        found.append(objects.disruption_budget("shop", "shop", {"app": "shop"}, max_unavailable=1))
    found += [
        _api_service(group, group_version) for group, group_version in (("", "v1"), ("apps", "v1"), ("policy", "v1"))
    ]
    found += [
        objects.configmap("default", f"filler-{number}", {"text": f"{number} " * 60}) for number in range(FILLERS)
    ]
    return found


def _api_service(group: str, version: str) -> Object:
    name = f"{version}.{group}"
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"labels": {"kube-aggregator.kubernetes.io/automanaged": "onstart"}, "name": name},
        "spec": {"group": group, "version": version},
        "status": {
            "conditions": [
                {
                    "message": "Local APIServices are always available",
                    "reason": "Local",
                    "status": "True",
                    "type": "Available",
                }
            ]
        },
    }


def cluster_configuration(settings: LabSettings, version: str) -> str:
    """kubeadm's ClusterConfiguration: v1beta3 until 1.30, v1beta4 with lists of arguments from 1.31 on."""
    first = settings.control_planes[0]
    data_dir = Layout.of(settings).etcd(first)
    lists = releases.minor(version) >= 31
    extra = sorted(manifests.ETCD_EXTRA.items())
    if lists:
        arguments = "".join(f'    - name: {name}\n      value: "{value}"\n' for name, value in extra)
    else:
        arguments = "".join(f'      {name}: "{value}"\n' for name, value in extra)
    endpoint = ""
    if settings.endpoint:
        endpoint = f"controlPlaneEndpoint: {settings.endpoint}:{settings.ports.api_server}\n"
    return (
        "apiServer: {}\n"
        f"apiVersion: kubeadm.k8s.io/{'v1beta4' if lists else 'v1beta3'}\n"
        f"certificatesDir: {Layout.of(settings).pki(first)}\n"
        "clusterName: kubernetes\n"
        f"{endpoint}"
        "controllerManager: {}\n"
        "dns: {}\n"
        "etcd:\n"
        "  local:\n"
        f"    dataDir: {data_dir}\n"
        f"    extraArgs:\n{arguments}"
        f"imageRepository: {releases.REGISTRY}\n"
        "kind: ClusterConfiguration\n"
        f"kubernetesVersion: {version}\n"
        "networking:\n"
        "  dnsDomain: cluster.local\n"
        f"  podSubnet: {ranges.pod_range(ipv6=settings.ipv6)}\n"
        f"  serviceSubnet: {ranges.service_range(ipv6=settings.ipv6)}\n"
        "scheduler: {}\n"
    )


def kubelet_configuration(settings: LabSettings) -> str:
    """What kubeadm writes to every node's config.yaml."""
    kubernetes = Layout.of(settings).kubernetes(settings.control_planes[0])
    return (
        "apiVersion: kubelet.config.k8s.io/v1beta1\n"
        "authentication:\n"
        "  anonymous:\n"
        "    enabled: false\n"
        "  webhook:\n"
        "    enabled: true\n"
        "  x509:\n"
        f"    clientCAFile: {kubernetes}/pki/ca.crt\n"
        "authorization:\n"
        "  mode: Webhook\n"
        "cgroupDriver: systemd\n"
        "clusterDNS:\n"
        f"- {ranges.service(ranges.DNS, ipv6=settings.ipv6)}\n"
        "clusterDomain: cluster.local\n"
        "kind: KubeletConfiguration\n"
        "rotateCertificates: true\n"
        f"staticPodPath: {kubernetes}/manifests\n"
    )
