"""The members of a proving cluster's etcd, asked with the etcdctl that is in their own image: no node has another."""

from __future__ import annotations

import json
from typing import Any

from proving.cluster import Cluster, ProvingNode
from proving.ground import until

CERTIFICATES = "/etc/kubernetes/pki/etcd"
ELECTED = 60.0
"""Seconds in which a member has the leadership that it was given."""


def program(node: ProvingNode, name: str) -> str:
    """A program of the image that the node's etcd runs from, as it is reached on the node."""
    process = node.run("pgrep", "-x", "etcd").split()[0]
    return f"/proc/{process}/root/usr/local/bin/{name}"


def etcdctl(node: ProvingNode, *argv: str) -> str:
    """What it says; it asks the member on this node unless the words say otherwise."""
    member = (
        "--endpoints=https://127.0.0.1:2379",
        f"--cacert={CERTIFICATES}/ca.crt",
        f"--cert={CERTIFICATES}/server.crt",
        f"--key={CERTIFICATES}/server.key",
    )
    return node.run(program(node, "etcdctl"), *member, *argv)


def status(node: ProvingNode) -> Any:
    """What the member on this node says of itself."""
    [one] = json.loads(etcdctl(node, "endpoint", "status", "--write-out=json"))
    return one["Status"]


def version(node: ProvingNode) -> str:
    """Of the etcd that runs there."""
    return node.run(program(node, "etcd"), "--version").splitlines()[0].partition(": ")[2]


def equal(cluster: Cluster) -> bool:
    """Does every control plane have a member, with the same data at the same revision?"""
    answers = json.loads(etcdctl(cluster.control_plane, "endpoint", "hashkv", "--cluster", "--write-out=json"))
    held = {(one["HashKV"]["header"]["revision"], one["HashKV"]["hash"]) for one in answers}
    return len(answers) == len(cluster.control_planes) and len(held) == 1


def leader(cluster: Cluster) -> ProvingNode:
    """The control plane whose member leads."""
    for node in cluster.control_planes:
        own = status(node)
        if own["leader"] == own["header"]["member_id"]:
            return node
    raise RuntimeError("etcd has no leader")


def lead(cluster: Cluster, node: ProvingNode) -> None:
    """Let the member on this node lead."""
    old = leader(cluster)
    if old is not node:
        etcdctl(old, "move-leader", f"{status(node)['header']['member_id']:x}")
    until(lambda: leader(cluster) is node, ELECTED)
