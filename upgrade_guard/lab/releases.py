"""Which versions belong together: what each kubeadm wants of etcd, CoreDNS and pause, as tables.

CoreDNS and pause are from kubeadm's constants.go. The lab has one real etcd, so every kubeadm of the lab wants that
version: the number behind it, which counts builds of an image, moves with each minor, and etcd is replaced as it is in
an upgrade that brings another one.
"""

from __future__ import annotations

import re

# What kubeadm puts under every error.
STACK = "To see the stack trace of this error execute with --v=5 or higher"
REGISTRY = "registry.k8s.io"
OLDEST, NEWEST = 26, 35
COREDNS = {
    26: "v1.9.3",
    27: "v1.10.1",
    28: "v1.10.1",
    29: "v1.11.1",
    30: "v1.11.1",
    31: "v1.11.3",
    32: "v1.11.3",
    33: "v1.12.0",
    34: "v1.12.1",
    35: "v1.13.1",
}
PAUSE = {
    26: "3.9",
    27: "3.9",
    28: "3.9",
    29: "3.9",
    30: "3.9",
    31: "3.10",
    32: "3.10",
    33: "3.10",
    34: "3.10.1",
    35: "3.10.1",
}
PATCHES = (0, 4, 9, 13, 15, 16)  # what the lab's repositories hold of each series
CONTAINER_RUNTIME = "containerd://1.6.20"
OTHER_PACKAGES = {"containerd": "1.6.20~ds1-1+deb12u3", "cri-tools": "1.26.0-00", "kubernetes-cni": "1.2.0-2.1"}
KUBERNETES_PACKAGES = ("kubeadm", "kubectl", "kubelet")


def numbers(version: str) -> tuple[int, int, int]:
    """Major, minor and patch of `v1.28.0`. Raises ValueError."""
    match = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)", version)
    if match is None:
        raise ValueError(f"couldn't parse version {version!r}")
    return int(match[1]), int(match[2]), int(match[3])


def minor(version: str) -> int:
    """28 of `v1.28.0`."""
    return numbers(version)[1]


def of_package(package_version: str) -> str:
    """`v1.28.0` of `1.28.0-1.1`."""
    return "v" + package_version.split("-", 1)[0]


def known(version: str) -> bool:
    """Does the lab's repository hold it?"""
    major, middle, patch = numbers(version)
    return major == 1 and OLDEST <= middle <= NEWEST and patch in PATCHES


def etcd_tag(version: str, etcd: str) -> str:
    """The tag of etcd's image for kubeadm of `version`: `3.5.1-2` for v1.28.0 in a lab whose etcd is 3.5.1."""
    return f"{etcd}-{minor(version) - OLDEST}"


def image(component: str, version: str, etcd: str) -> str:
    """The image that kubeadm of `version` uses for a component: `etcd`, `coredns`, `pause` or a Kubernetes program.

    `etcd` is the version of etcd that the lab runs.
    """
    series = minor(version)
    if component == "etcd":
        return f"{REGISTRY}/etcd:{etcd_tag(version, etcd)}"
    if component == "coredns":
        return f"{REGISTRY}/coredns/coredns:{COREDNS[series]}"
    if component == "pause":
        return f"{REGISTRY}/pause:{PAUSE[series]}"
    return f"{REGISTRY}/{component}:{version}"


def images(version: str, etcd: str) -> tuple[str, ...]:
    """As `kubeadm config images list` prints them."""
    programs = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns", "pause", "etcd")
    return tuple(image(one, version, etcd) for one in programs)
