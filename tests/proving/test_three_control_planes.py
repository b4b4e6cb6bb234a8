"""Three control planes behind a balancer, driven from outside over ssh; beside it the same typed by hand.

One has crictl, one and the worker have a crictl that points nowhere, one has none, and a component had restarted.
Each of the three leads etcd in one of the scenarios: the snapshot comes from the leader, and an upgrade restarts it.
"""

from __future__ import annotations

import signal
import time
from datetime import timedelta

import pytest
from proving import by_hand, cron_job, images, measured, members
from proving.cluster import Cluster
from proving.ground import NEW, OLD, podman, until
from proving.operators import Operator, outside
from proving.standing import begin, came_back, images_of, went_up
from proving.watching import ApiWatch, CrashWatch, ready_version

BROKEN = "this build is broken"
BROKEN_SECOND = "broken API server on the second of three"
THEN_BACK = f"{BROKEN_SECOND}, then `rollback`"


def test_by_hand_a_broken_api_server_on_the_second(three_planes: Cluster) -> None:
    """Whoever types sees the crash at once and has every command ready."""
    cluster = three_planes
    first, second, _ = cluster.control_planes
    before = begin(cluster)
    by_hand.save_together(cluster)
    second.import_image(images.broken("kube-apiserver", NEW))
    with ApiWatch(cluster.api_address) as api, CrashWatch(second, "kube-apiserver", BROKEN) as crash:
        began = time.monotonic()
        by_hand.new_kubeadm(first)
        status, said = by_hand.apply(first)
        assert status == 0, said
        by_hand.new_kubelet(first)
        by_hand.new_kubeadm(second)
        by_hand.upgrade_node(second, lambda: crash.seen_at > 0)
        stages = {"control plane": time.monotonic() - began}
        stages["rollback"] = by_hand.back_together(cluster)
    came_back(cluster, before)
    name, back = f"{measured.BY_HAND}{THEN_BACK}", stages["rollback"]
    measured.keep(measured.row(name, "rolled back", stages, api, from_stop_to_api=back))
    second.import_image(images.of(NEW) / "kube-apiserver.tar")


def test_a_broken_api_server_on_the_first_takes_it_back_alone(three_planes: Cluster, operators: list[Operator]) -> None:
    """The others serve the old version: no data is restored, and what was written meanwhile is still there."""
    cluster = three_planes
    first = cluster.control_plane
    before = begin(cluster)
    members.lead(cluster, first)
    first.import_image(images.broken("kube-apiserver", NEW))
    operator = outside(cluster, "first-alone")
    operators.append(operator)
    with ApiWatch(cluster.api_address) as api:
        run = operator.start("run", f"v{NEW}", "--yes")
        run.when(operator.wrote_after_the_snapshot)
        ended = run.wait()
    assert ended.status == 7, ended.said[-4000:]
    assert "crash-loops" in ended.said
    came_back(cluster, before, data=False)
    name = "broken API server on the first of three"
    measured.keep(measured.row(name, "it went back alone, rolled back", measured.stages_of(operator), api))
    first.import_image(images.of(NEW) / "kube-apiserver.tar")


@pytest.mark.main_path
def test_a_broken_api_server_on_the_second_takes_it_back_alone(
    three_planes: Cluster, operators: list[Operator]
) -> None:
    """The first is wholly new by then, the third has not begun; the member that leads etcd is on the second. Then a
    person takes everything back.
    """
    cluster = three_planes
    first, second, _ = cluster.control_planes
    before = begin(cluster)
    members.lead(cluster, second)
    second.import_image(images.broken("kube-apiserver", NEW))
    operator = outside(cluster, "broken-api-server")
    operators.append(operator)
    due = cron_job.plan(cluster, timedelta(minutes=3))
    with ApiWatch(cluster.api_address) as api:
        run = operator.start("run", f"v{NEW}", "--yes")
        run.when(operator.wrote_after_the_snapshot)
        run.when(lambda: second.at_work("kubeadm", "upgrade", "node"))
        assert images_of(first)["kube-apiserver"].endswith(f":v{NEW}")
        assert f"kubelet {NEW}-" in first.run("dpkg-query", "-W", "-f", "${Package} ${Version}\n", "kubelet")
        ended = run.wait()
    assert ended.status == 6, ended.said[-4000:]
    assert "crash-loops" in ended.said
    assert f"Only {second.name} went back: the other control planes serve" in ended.said
    assert images_of(second) == before.images[second.name]
    assert images_of(first)["kube-apiserver"].endswith(f":v{NEW}")
    assert "configmap/after" in cluster.kubectl("get", "configmap", "-o", "name").split()
    assert cron_job.runs(cluster) == [cron_job.job_of(due)], "it ran while the first control plane was upgraded"
    measured.keep(measured.row(BROKEN_SECOND, "it went back alone, paused", measured.stages_of(operator), api))

    with ApiWatch(cluster.api_address) as api:
        ended = operator.run("rollback", "--confirm-cluster", cluster.name)
    assert ended.status == 0, ended.said[-4000:]
    came_back(cluster, before)
    assert cron_job.runs(cluster) == [], "it has run, and does not run again"
    assert cron_job.ran_last(cluster) == f"{due:%Y-%m-%dT%H:%M:%SZ}"
    cron_job.remove(cluster)
    stages = {"rollback": measured.stages_of(operator)["rollback"]}
    stop = measured.from_stop_to_api(operator)
    measured.keep(measured.row(THEN_BACK, "rolled back", stages, api, from_stop_to_api=stop))
    second.import_image(images.of(NEW) / "kube-apiserver.tar")


def test_a_rollback_of_three_is_killed_twice(three_planes: Cluster, operators: list[Operator]) -> None:
    """The first is wholly new when a person has second thoughts. `kill -9` while etcd is restored on all three, and
    again while its data is swapped there; the third one leads.
    """
    cluster = three_planes
    first, _, third = cluster.control_planes
    before = begin(cluster)
    members.lead(cluster, third)
    operator = outside(cluster, "killed-twice")
    operators.append(operator)
    run = operator.start("run", f"v{NEW}", "--yes")
    run.when(operator.wrote_after_the_snapshot)
    run.when(lambda: operator.doing(f"{first.name}/uncordon"))
    run.signal(signal.SIGINT)
    ended = run.wait()
    assert ended.status == 130, ended.said[-4000:]
    with ApiWatch(cluster.api_address) as api:
        run = operator.start("rollback", "--confirm-cluster", cluster.name)
        run.when(lambda: operator.doing("/restore"))
        run.kill()
        run = operator.start("resume", "--yes")
        run.when(lambda: operator.doing("/swap"))
        run.kill()
        ended = operator.run("resume", "--yes")
    assert ended.status == 7, ended.said[-4000:]
    came_back(cluster, before)
    stages = {"rollback": measured.stages_of(operator)["rollback"]}
    stop = measured.from_stop_to_api(operator)
    name = "`rollback` once the first of three is new, killed while it restores and swaps"
    measured.keep(measured.row(name, "rolled back", stages, api, from_stop_to_api=stop))


def test_a_machine_dies_in_the_middle_and_comes_back(three_planes: Cluster, operators: list[Operator]) -> None:
    """The third one, while kubeadm is at work on the second. The other two go back without it, it follows later."""
    cluster = three_planes
    _, second, third = cluster.control_planes
    before = begin(cluster)
    operator = outside(cluster, "dead-machine")
    operators.append(operator)
    run = operator.start("run", f"v{NEW}", "--yes")
    run.when(operator.wrote_after_the_snapshot)
    run.when(lambda: second.at_work("kubeadm", "upgrade", "node"))
    podman("kill", third.name)
    died = time.monotonic()
    ended = run.wait()
    told = time.monotonic() - died
    assert ended.status == 4, ended.said[-4000:]
    assert f"{third.name} does not answer" in ended.said

    with ApiWatch(cluster.api_address) as api:
        ended = operator.run("rollback", "--confirm-cluster", cluster.name)
        assert ended.status == 6, ended.said[-4000:]
        assert f"{third.name} is behind" in ended.said
        assert {ready_version(cluster.api_address) for _ in range(10)} == {f"v{OLD}"}
        assert "configmap/after" not in cluster.kubectl("get", "configmap", "-o", "name").split()

        podman("start", third.name)
        until(lambda: third.active("ssh"), 60)
        ended = operator.run("resume", "--yes")
    assert ended.status == 7, ended.said[-4000:]
    came_back(cluster, before)
    stages = {"control plane": told, "rollback": measured.stages_of(operator)["rollback"]}
    stop = measured.from_stop_to_api(operator)
    name = "the third machine dies, two go back, it follows"
    measured.keep(measured.row(name, "rolled back", stages, api, from_stop_to_api=stop))


@pytest.mark.main_path
def test_an_upgrade_of_three_completes(three_planes: Cluster, operators: list[Operator]) -> None:
    """On a cluster that was rolled back before; the first one leads etcd."""
    cluster = three_planes
    before = begin(cluster)
    members.lead(cluster, cluster.control_plane)
    operator = outside(cluster, "upgrade")
    operators.append(operator)
    with ApiWatch(cluster.api_address) as api:
        ended = operator.run("run", f"v{NEW}", "--yes", "--json")
    assert ended.status == 0, ended.said[-4000:]
    assert ended.data["outcome"] == "completed"
    went_up(cluster, before)
    assert operator.run("audit", "verify").status == 0
    measured.keep(measured.row("an upgrade of three", "completed", measured.stages_of(operator), api))
