"""The addresses of pods and services: kubeadm's usual ranges, or those of an IPv6 cluster. Nothing listens there."""

from __future__ import annotations

SERVICES, PODS = "10.96.0.0/12", "10.244.0.0/16"
SERVICES_V6, PODS_V6 = "fd00:10:96::/112", "fd00:10:244::/56"
# What kubeadm gives to every cluster: the API is the first address of the range, its DNS the tenth.
API, DNS = 1, 10


def service_range(*, ipv6: bool) -> str:
    """What `--service-cluster-ip-range` says."""
    return SERVICES_V6 if ipv6 else SERVICES


def pod_range(*, ipv6: bool) -> str:
    """What `--cluster-cidr` says."""
    return PODS_V6 if ipv6 else PODS


def service(number: int, *, ipv6: bool) -> str:
    """The range's address of that number, below 65536."""
    return f"fd00:10:96::{number:x}" if ipv6 else f"10.96.{number // 256}.{number % 256}"


def pod(node: int, number: int, *, ipv6: bool) -> str:
    """An address in the range of the node of that number; both below 256."""
    return f"fd00:10:244:{node:x}::{number:x}" if ipv6 else f"10.244.{node}.{number}"
