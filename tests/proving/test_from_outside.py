"""A cluster driven from outside over ssh, as from a bastion; beside it the same typed by hand."""

from __future__ import annotations

import signal
import time

import pytest
from proving import by_hand, images, measured
from proving.cluster import READY_TIMEOUT, Cluster
from proving.ground import NEW, OLD, podman, until
from proving.operators import Operator, outside
from proving.standing import begin, came_back, went_up
from proving.watching import ApiWatch, CrashWatch

BROKEN = "this build is broken"


def test_by_hand_kubeadm_waits_for_a_broken_api_server(plain_etcd: Cluster) -> None:
    cluster, node = plain_etcd, plain_etcd.control_plane
    before = begin(cluster)
    by_hand.step(node, "save")
    by_hand.new_kubeadm(node)
    node.import_image(images.broken("kube-apiserver", NEW))
    with ApiWatch(node.address) as api, CrashWatch(node, "kube-apiserver", BROKEN) as crash:
        began = time.monotonic()
        status, said = by_hand.apply(node)
        applied = time.monotonic() - began
        back = by_hand.step(node, "back")
    assert status != 0, said
    came_back(cluster, before)
    stages = {"control plane": applied, "rollback": back}
    since = api.back(OLD, crash.seen_at)
    name = "by hand, broken API server"
    kept = measured.row(name, "rolled back", stages, api, from_stop_to_api=back, from_crash_to_old_api=since)
    measured.keep(kept)


def test_by_hand_an_upgrade_and_the_way_back(plain_etcd: Cluster) -> None:
    cluster, node = plain_etcd, plain_etcd.control_plane
    before = begin(cluster)
    node.import_image(images.of(NEW) / "kube-apiserver.tar")
    by_hand.step(node, "save")
    by_hand.new_kubeadm(node)
    with ApiWatch(node.address) as api:
        began = time.monotonic()
        status, said = by_hand.apply(node)
        applied = time.monotonic() - began
    assert status == 0, said
    measured.keep(measured.row("by hand, kubeadm alone", "upgraded", {"control plane": applied}, api))
    by_hand.new_kubelet(node)
    until(cluster.settled, READY_TIMEOUT)
    with ApiWatch(node.address) as api:
        back = by_hand.step(node, "back")
    came_back(cluster, before)
    name = "by hand, `rollback` once the control plane is done"
    measured.keep(measured.row(name, "rolled back", {"rollback": back}, api, from_stop_to_api=back))


def test_a_broken_api_server_is_rolled_back(plain_etcd: Cluster, operators: list[Operator]) -> None:
    cluster, node = plain_etcd, plain_etcd.control_plane
    before = begin(cluster)
    node.import_image(images.broken("kube-apiserver", NEW))
    operator = outside(cluster, "broken-api-server")
    operators.append(operator)
    with ApiWatch(node.address) as api, CrashWatch(node, "kube-apiserver", BROKEN) as crash:
        run = operator.start("run", f"v{NEW}", "--yes")
        run.when(lambda: operator.wrote_after_the_snapshot())
        ended = run.wait()
    assert ended.status == 7, ended.said[-4000:]
    assert "crash-loops" in ended.said
    came_back(cluster, before)
    since = api.back(OLD, crash.seen_at)
    stop, stages = measured.from_stop_to_api(operator), measured.stages_of(operator)
    name = "broken API server"
    kept = measured.row(name, "rolled back", stages, api, from_stop_to_api=stop, from_crash_to_old_api=since)
    measured.keep(kept)
    node.import_image(images.of(NEW) / "kube-apiserver.tar")


def test_a_reboot_in_the_middle_and_second_thoughts(plain_etcd: Cluster, operators: list[Operator]) -> None:
    """The control plane restarts while kubeadm replaces etcd; the run goes on, and is then taken back by a person."""
    cluster, node = plain_etcd, plain_etcd.control_plane
    before = begin(cluster)
    operator = outside(cluster, "second-thoughts")
    operators.append(operator)
    run = operator.start("run", f"v{NEW}", "--yes")
    run.when(lambda: operator.wrote_after_the_snapshot())
    run.when(lambda: ":3.6." in (node.root / "etc/kubernetes/manifests/etcd.yaml").read_text())
    podman("restart", "-t", "0", node.name)
    ended = run.wait()
    assert ended.status in (0, 4), ended.said[-4000:]
    until(lambda: node.active("ssh"), 60)

    resumed = operator.start("resume", "--yes")
    resumed.when(lambda: operator.stands_at() == "control-plane-upgraded")
    resumed.signal(signal.SIGINT)
    ended = resumed.wait()
    assert ended.status == 130, ended.said[-4000:]
    assert set(operator.run("status", "--json").data) >= {"id", "target", "state", "next", "gate"}

    with ApiWatch(node.address) as api:
        ended = operator.run("rollback", "--confirm-cluster", cluster.name)
    assert ended.status == 0, ended.said[-4000:]
    came_back(cluster, before)
    stages = {"rollback": measured.stages_of(operator)["rollback"]}
    stop = measured.from_stop_to_api(operator)
    name = "`rollback` once the control plane is done"
    measured.keep(measured.row(name, "rolled back", stages, api, from_stop_to_api=stop))


@pytest.mark.main_path
def test_an_upgrade_completes(plain_etcd: Cluster, operators: list[Operator]) -> None:
    """On a cluster that was rolled back before."""
    cluster, node = plain_etcd, plain_etcd.control_plane
    before = begin(cluster)
    operator = outside(cluster, "upgrade")
    operators.append(operator)
    with ApiWatch(node.address) as api:
        ended = operator.run("run", f"v{NEW}", "--yes", "--json")
    assert ended.status == 0, ended.said[-4000:]
    assert ended.data["outcome"] == "completed"
    went_up(cluster, before)
    assert operator.run("audit", "verify").status == 0
    measured.keep(measured.row("an upgrade", "completed", measured.stages_of(operator), api))
