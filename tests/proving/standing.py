"""How a proving cluster stands: what an upgrade changes and what a rollback must bring back."""

from __future__ import annotations

from dataclasses import dataclass

from proving import members
from proving.cluster import READY_TIMEOUT, Cluster, ProvingNode
from proving.ground import NEW, OLD, until

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
PACKAGES = ("kubeadm", "kubelet", "kubectl")
SOURCE = "/etc/apt/sources.list.d/kubernetes.list"
NOT_THERE = ("etcdctl", "etcdutl")
"""What the product has to do without: kubeadm brings none of them."""


@dataclass(frozen=True)
class Standing:
    """Of every node by name; `images` and `etcd` of every control plane, its components' images by their name."""

    kubelets: dict[str, str]
    cordoned: dict[str, str]
    packages: dict[str, str]
    holds: dict[str, str]
    sources: dict[str, str]
    images: dict[str, dict[str, str]]
    etcd: dict[str, str]


def standing(cluster: Cluster) -> Standing:
    """As the cluster and its nodes say now."""

    def of_nodes(path: str) -> dict[str, str]:
        words = ("get", "nodes", "-o", f"jsonpath={{range .items[*]}}{{.metadata.name}}={{{path}}}{{'\\n'}}{{end}}")
        return dict(line.split("=", 1) for line in cluster.kubectl(*words).split())

    query = ("dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *PACKAGES)
    return Standing(
        kubelets=of_nodes(".status.nodeInfo.kubeletVersion"),
        cordoned=of_nodes(".spec.unschedulable"),
        packages={node.name: node.run(*query) for node in cluster.nodes},
        holds={node.name: node.run("apt-mark", "showhold") for node in cluster.nodes},
        sources={node.name: node.read(SOURCE) for node in cluster.nodes},
        images={node.name: images_of(node) for node in cluster.control_planes},
        etcd={node.name: members.version(node) for node in cluster.control_planes},
    )


def images_of(node: ProvingNode) -> dict[str, str]:
    """The images in a control plane's manifests by component."""
    manifests = node.run("grep", "-rhoE", r"image: \S+", "/etc/kubernetes/manifests")
    images = [line.removeprefix("image: ") for line in manifests.splitlines()]
    return {image.rpartition("/")[2].partition(":")[0]: image for image in images}


def begin(cluster: Cluster) -> Standing:
    """A cluster at the old version with nothing of an earlier story left; fails where one left something."""
    found = standing(cluster)
    assert set(found.kubelets.values()) == {f"v{OLD}"}, found
    assert all(version.startswith("3.5.") for version in found.etcd.values()), found
    cluster.kubectl("delete", "configmap", "after", "--ignore-not-found")
    for node in cluster.nodes:
        assert node.run("which", *(NOT_THERE if cluster.balanced else (*NOT_THERE, "crictl")), check=False) == ""
    return found


def came_back(cluster: Cluster, before: Standing, *, data: bool = True) -> None:
    """Everything as before: versions, packages, holds and sources; and kubeadm can plan again.

    `data`: etcd's too, so that what was written after the snapshot is gone; else it is still there.
    """
    until(cluster.settled, READY_TIMEOUT)
    assert standing(cluster) == before
    until(lambda: members.equal(cluster), READY_TIMEOUT)
    names = cluster.kubectl("get", "configmap", "-o", "name").split()
    assert "configmap/before" in names
    assert ("configmap/after" in names) is not data
    assert "upgrade-guard-canary" not in cluster.kubectl("get", "pods,services", "-n", "kube-system")
    # Its health check is a Job that has fifteen seconds: a controller manager that has just begun needs more.
    plan = ("kubeadm", "upgrade", "plan", f"v{NEW}")
    until(lambda: "Cluster version" in cluster.control_plane.run(*plan), READY_TIMEOUT)


def went_up(cluster: Cluster, before: Standing) -> None:
    """The new version everywhere, etcd 3.6, what was written kept, and what belongs to the operator as before."""
    until(cluster.settled, READY_TIMEOUT)
    after = standing(cluster)
    assert set(after.kubelets.values()) == {f"v{NEW}"}
    assert all(version.startswith("3.6.") for version in after.etcd.values())
    assert (after.holds, after.cordoned) == (before.holds, before.cordoned)
    for images in after.images.values():
        assert set(images) == set(COMPONENTS)
        assert all(image.endswith(f":v{NEW}") for name, image in images.items() if name != "etcd")
    assert all(f" {NEW}-" in line for packages in after.packages.values() for line in packages.splitlines())
    until(lambda: members.equal(cluster), READY_TIMEOUT)
    assert "configmap/before" in cluster.kubectl("get", "configmap", "-o", "name").split()
    assert "upgrade-guard-canary" not in cluster.kubectl("get", "pods,services", "-n", "kube-system")
