"""The network plugin and other add-ons, recognised by their images: kubeadm upgrades none of them but its own two."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from upgrade_guard.model.cluster import Addon
from upgrade_guard.tools.kubectl_objects import WorkloadRow


@dataclass(frozen=True)
class KnownAddon:
    """How an add-on is recognised and what its own upgrade needs. `images` is searched in the image without its tag."""

    name: str
    kind: str
    images: str
    advice: str


_MATRIX = "look up which of its releases goes with the target version, and upgrade it on its own, before or after"

KNOWN: tuple[KnownAddon, ...] = (
    KnownAddon("kube-proxy", "proxy", r"/kube-proxy$", "kubeadm upgrades it with the last control plane"),
    KnownAddon(
        "coredns", "dns", r"/coredns$", "kubeadm upgrades it with the last control plane and migrates its Corefile"
    ),
    KnownAddon(
        "flannel",
        "network",
        r"/flannel$|/flannel-cni-plugin$",
        "apply its newer manifest after the control plane; it needs no particular order",
    ),
    KnownAddon(
        "calico",
        "network",
        r"(^|/)calico/|/calico-(node|typha|kube-controllers)$|/tigera/operator$",
        "each release is tested with certain minors: see its requirements, and upgrade it before leaving that range",
    ),
    KnownAddon(
        "cilium",
        "network",
        r"/cilium/|/cilium$",
        "one minor at a time, after its own pre-flight check, and within the minors that its release names",
    ),
    KnownAddon(
        "weave", "network", r"/weave-(kube|npc)$", "it is no longer maintained: plan to move to another network plugin"
    ),
    KnownAddon("kube-router", "network", r"/kube-router$", _MATRIX),
    KnownAddon("antrea", "network", r"/antrea[-/]|/antrea$", "controller before agents, at most a few minors apart"),
    KnownAddon("ingress-nginx", "ingress", r"/ingress-nginx/controller$|/nginx-ingress-controller$", _MATRIX),
    KnownAddon("traefik", "ingress", r"(^|/)traefik$", _MATRIX),
    KnownAddon("cert-manager", "certificates", r"/cert-manager-(controller|webhook|cainjector)$", _MATRIX),
    KnownAddon("metrics-server", "metrics", r"/metrics-server$", _MATRIX),
    KnownAddon("metallb", "load-balancer", r"/metallb/(controller|speaker)$|/metallb-(controller|speaker)$", _MATRIX),
    KnownAddon(
        "longhorn",
        "storage",
        r"(^|/)longhorn-(manager|engine|driver-deployer|instance-manager)$",
        "see every volume healthy before each drain; its disruption budgets hold a drain while replicas rebuild",
    ),
    KnownAddon(
        "rook",
        "storage",
        r"/rook/ceph$|/rook-ceph",
        "see ceph status HEALTH_OK before each drain; its disruption budgets hold a drain while it is not",
    ),
    KnownAddon("openebs", "storage", r"(^|/)openebs/", "see its volumes healthy before each drain"),
    KnownAddon(
        "csi-driver",
        "storage",
        r"/csi-(provisioner|attacher|node-driver-registrar|resizer|snapshotter)$|[-/]csi[-/]?(driver|plugin|node)",
        _MATRIX,
    ),
)


def recognise(workloads: Iterable[WorkloadRow]) -> tuple[Addon, ...]:
    """One Addon for each that was found in a namespace; it is healthy when all of its workloads are.

    `workload` and `image` are those of its first daemon set, or of its first workload.
    """
    found: dict[tuple[str, str], list[tuple[WorkloadRow, str, KnownAddon]]] = {}
    for workload in workloads:
        match = _known(workload)
        if match is not None:
            image, known = match
            found.setdefault((known.name, workload.namespace), []).append((workload, image, known))
    addons = []
    for (name, namespace), parts in sorted(found.items()):
        workload, image, known = min(parts, key=lambda part: (part[0].kind != "DaemonSet", part[0].name))
        healthy = all(part.ready >= part.desired for part, _, _ in parts)
        addons.append(Addon(name, known.kind, namespace, workload.name, image, healthy, known.advice))
    return tuple(addons)


def _known(workload: WorkloadRow) -> tuple[str, KnownAddon] | None:
    for known in KNOWN:
        for image in workload.images:
            if re.search(known.images, without_tag(image)):
                return image, known
    return None


def without_tag(image: str) -> str:
    """`quay.io/x/y:v1` → `/quay.io/x/y`, with a slash before every part of the name."""
    name = image.partition("@")[0]
    directory, slash, last = name.rpartition("/")
    return f"/{directory}{slash}{last.partition(':')[0]}"
