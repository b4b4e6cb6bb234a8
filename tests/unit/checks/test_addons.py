"""Add-ons are recognised by their images."""

from __future__ import annotations

import pytest
from unit.checks.healthy import workload

from upgrade_guard.checks.addons import KNOWN, recognise, without_tag

IMAGES = [
    ("docker.io/flannel/flannel:v0.25.1", "flannel", "network"),
    ("quay.io/calico/node:v3.27.0", "calico", "network"),
    ("calico/kube-controllers:v3.27.0", "calico", "network"),
    ("quay.io/cilium/cilium:v1.15.1@sha256:0b", "cilium", "network"),
    ("quay.io/cilium/operator-generic:v1.15.1", "cilium", "network"),
    ("weaveworks/weave-kube:2.8.1", "weave", "network"),
    ("docker.io/cloudnativelabs/kube-router:v2.0.0", "kube-router", "network"),
    ("antrea/antrea-agent-ubuntu:v1.15.0", "antrea", "network"),
    ("registry.k8s.io/ingress-nginx/controller:v1.9.6", "ingress-nginx", "ingress"),
    ("traefik:v2.11", "traefik", "ingress"),
    ("quay.io/jetstack/cert-manager-controller:v1.14.0", "cert-manager", "certificates"),
    ("registry.k8s.io/metrics-server/metrics-server:v0.7.0", "metrics-server", "metrics"),
    ("quay.io/metallb/speaker:v0.14.3", "metallb", "load-balancer"),
    ("longhornio/longhorn-manager:v1.6.0", "longhorn", "storage"),
    ("docker.io/rook/ceph:v1.13.0", "rook", "storage"),
    ("openebs/node-disk-manager:2.1.0", "openebs", "storage"),
    ("registry.k8s.io/sig-storage/csi-provisioner:v4.0.0", "csi-driver", "storage"),
    ("registry.k8s.io/coredns/coredns:v1.10.1", "coredns", "dns"),
    ("registry.k8s.io/kube-proxy:v1.27.16", "kube-proxy", "proxy"),
    ("mirror.example:5000/kube-proxy:v1.27.16", "kube-proxy", "proxy"),
]


@pytest.mark.parametrize(("image", "name", "kind"), IMAGES)
def test_recognised(image: str, name: str, kind: str) -> None:
    (addon,) = recognise([workload("x", "kube-system", images=("busybox:1", image))])
    assert (addon.name, addon.kind, addon.image, addon.healthy) == (name, kind, image, True)
    assert addon.advice


def test_every_known_one_is_in_the_table_above() -> None:
    assert {name for _, name, _ in IMAGES} == {known.name for known in KNOWN}


@pytest.mark.parametrize(
    "image", ["example.org/web:1", "example.org/my-traefik-docs:1", "example.org/coredns-exporter:2"]
)
def test_others_are_left_alone(image: str) -> None:
    assert recognise([workload("x", images=(image,))]) == ()


def test_one_addon_for_all_of_its_workloads_and_as_well_as_the_worst_of_them() -> None:
    agents = workload("calico-node", "kube-system", kind="DaemonSet", images=("calico/node:v3",))
    controllers = workload("a-controllers", "kube-system", ready=0, images=("calico/kube-controllers:v3",))

    (addon,) = recognise([controllers, agents])
    assert (addon.workload, addon.image, addon.healthy) == ("calico-node", "calico/node:v3", False)


@pytest.mark.parametrize(
    ("image", "bare"),
    [
        ("a.example:5000/b/c:v1", "/a.example:5000/b/c"),
        ("c", "/c"),
        ("b/c:v1@sha256:00", "/b/c"),
    ],
)
def test_the_tag_is_no_part_of_the_name(image: str, bare: str) -> None:
    assert without_tag(image) == bare
