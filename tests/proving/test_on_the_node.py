"""A cluster whose control plane upgrades itself: installed from the wheel, without a network, and killed again."""

from __future__ import annotations

import pytest
from proving import faults, images, measured
from proving.cluster import READY_TIMEOUT, Cluster
from proving.ground import NEW, OLD, until
from proving.operators import Operator
from proving.standing import SOURCE, begin, came_back, standing, went_up
from proving.watching import ApiWatch, CrashWatch
from proving.wheel import on_the_node

BROKEN = "this build is broken"


@pytest.fixture(scope="module")
def operator(mounted_etcd: Cluster) -> Operator:
    """At the control plane itself; a state directory for all tests, as on a real one."""
    return on_the_node(mounted_etcd)


@pytest.fixture(autouse=True)
def _ended(operator: Operator, operators: list[Operator]) -> None:
    operators.append(operator)


def test_a_broken_scheduler_is_rolled_back_through_a_kill(mounted_etcd: Cluster, operator: Operator) -> None:
    """etcd runs 3.6 and the API server is new by then; the rollback is killed while it restores etcd."""
    cluster, node = mounted_etcd, mounted_etcd.control_plane
    before = begin(cluster)
    node.import_image(images.broken("kube-scheduler", NEW))
    with ApiWatch(node.address) as api, CrashWatch(node, "kube-scheduler", BROKEN) as crash:
        run = operator.start("run", f"v{NEW}", "--yes")
        run.when(lambda: operator.stands_at() == "copied")
        cluster.kubectl("create", "configmap", "after")
        run.when(lambda: operator.doing(f"rollback/{node.name}/restore"))
        run.kill()
        ended = operator.run("resume", "--yes")
    assert ended.status == 7, ended.said[-4000:]
    came_back(cluster, before)
    since = api.back(OLD, crash.seen_at)
    name = "broken scheduler, killed while it restores"
    stop, stages = measured.from_stop_to_api(operator), measured.stages_of(operator)
    kept = measured.row(name, "rolled back", stages, api, from_stop_to_api=stop, from_crash_to_old_api=since)
    measured.keep(kept)
    node.import_image(images.of(NEW) / "kube-scheduler.tar")


def test_a_broken_kubelet_goes_back_alone(mounted_etcd: Cluster, operator: Operator) -> None:
    """The control plane is new and works; the package of the new kubelet in a second repository does not. Then a person
    takes everything back.
    """
    cluster, node = mounted_etcd, mounted_etcd.control_plane
    source = faults.broken_kubelet(node)
    before = begin(cluster)
    with ApiWatch(node.address) as api:
        run = operator.start("run", f"v{NEW}", "--yes")
        run.when(lambda: operator.stands_at() == "copied")
        cluster.kubectl("create", "configmap", "after")
        ended = run.wait()
    assert ended.status == 6, ended.said[-4000:]
    assert f"Only kubelet of {node.name} went back" in ended.said
    until(cluster.settled, READY_TIMEOUT)
    paused = standing(cluster)
    assert (paused.kubelets, paused.cordoned) == (before.kubelets, before.cordoned)
    assert paused.images[node.name]["kube-apiserver"].endswith(f":v{NEW}")
    assert "configmap/after" in cluster.kubectl("get", "configmap", "-o", "name").split()
    name = "broken kubelet package"
    measured.keep(measured.row(name, "its kubelet went back, paused", measured.stages_of(operator), api))

    with ApiWatch(node.address) as api:
        ended = operator.run("rollback", "--confirm-cluster", cluster.name)
    assert ended.status == 0, ended.said[-4000:]
    came_back(cluster, before)
    stages = {"rollback": measured.stages_of(operator)["rollback"]}
    stop = measured.from_stop_to_api(operator)
    measured.keep(measured.row(f"{name}, then `rollback`", "rolled back", stages, api, from_stop_to_api=stop))
    node.write(SOURCE, source, mode="644")


def test_an_upgrade_completes_through_kills(mounted_etcd: Cluster, operator: Operator) -> None:
    """upgrade-guard dies while apt installs, while kubeadm replaces etcd, and during the drain of each node."""
    cluster, node = mounted_etcd, mounted_etcd.control_plane
    before = begin(cluster)
    etcd = "etc/kubernetes/manifests/etcd.yaml"
    run = operator.start("run", f"v{NEW}", "--yes")
    run.when(lambda: node.at_work("apt-get", "install", f"kubeadm={NEW}-1.1"))
    run.kill()
    with ApiWatch(node.address) as api:
        run = operator.start("resume", "--yes")
        run.when(lambda: node.at_work("kubeadm", "apply") and ":3.6." in (node.root / etcd).read_text())
        run.kill()
        for drain in (f"control-plane/{node.name}/drain", f"nodes/{cluster.worker.name}/drain"):
            run = operator.start("resume", "--yes")
            run.when(lambda drain=drain: operator.doing(drain))
            run.kill()
        ended = operator.run("resume", "--yes", "--json")
    assert ended.status == 0, ended.said[-4000:]
    assert ended.data["outcome"] == "completed"
    went_up(cluster, before)
    assert operator.run("audit", "verify").status == 0
    measured.keep(measured.row("an upgrade, killed four times", "completed", measured.stages_of(operator), api))
