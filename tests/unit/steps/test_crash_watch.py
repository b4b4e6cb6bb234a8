"""What counts as a new component that crash-loops."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import pytest
from unit.nodes.test_site import CP1

from upgrade_guard.nodes.site import NodeTools
from upgrade_guard.steps.crash_watch import CRASHES, Crashes, is_new
from upgrade_guard.tools.containers import Container

OLD, NEW = "registry.k8s.io/kube-apiserver:v1.27.16", "registry.k8s.io/kube-apiserver:v1.28.0"
ID = f"sha256:{'a' * 64}"
NODE = replace(CP1, manifests={"kube-apiserver": OLD})
ONE = Container("1", "kube-apiserver", NEW, True, 0, f"kube-apiserver-{CP1.name}", "kube-system", "uid-1")


@dataclass
class Runtime:
    rows: list[Container] = field(default_factory=list)

    def all(self) -> tuple[Container, ...]:
        return tuple(self.rows)


@dataclass
class Tools:
    containers: Runtime


def crashes(runtime: Runtime) -> Crashes:
    return Crashes(cast("NodeTools", Tools(runtime)), NODE)


@pytest.mark.parametrize(
    ("container", "new"),
    [
        (replace(ONE, image=NEW), True),
        (replace(ONE, image=OLD), False),
        (replace(ONE, image=ID, names=(OLD, "registry.k8s.io/kube-apiserver@sha256:1")), False),
        (replace(ONE, image=ID, names=(NEW,)), True),
        (replace(ONE, image=ID), False),
        (replace(ONE, image="a" * 64), False),
        (replace(ONE, image=""), False),
        (replace(ONE, name="coredns"), False),
    ],
)
def test_new_is_what_is_known_to_have_another_image(container: Container, new: bool) -> None:
    assert is_new(NODE, container) is new


def test_restarts_count_from_the_first_look() -> None:
    runtime = Runtime([replace(ONE, restarts=7)])
    watch = crashes(runtime)
    assert watch.looping() is None
    runtime.rows = [replace(ONE, restarts=7 + CRASHES - 1)]
    assert watch.looping() is None
    runtime.rows = [replace(ONE, restarts=7 + CRASHES, running=False)]
    assert watch.looping() == runtime.rows[0]


def test_what_lies_there_crashed_at_the_first_look_counts_whole() -> None:
    assert crashes(Runtime([replace(ONE, restarts=CRASHES, running=False)])).looping() is not None


def test_what_crashed_before_the_work_began_is_of_an_earlier_attempt() -> None:
    """kubelet counts on for a static pod of the same manifest, which has the same id."""
    runtime = Runtime([replace(ONE, restarts=24, running=False)])
    watch = crashes(runtime)
    watch.begin()
    assert watch.looping() is None
    runtime.rows.append(replace(ONE, id="2", restarts=25))
    assert watch.looping() is None
    runtime.rows = [replace(ONE, id="4", restarts=24 + CRASHES, running=False)]
    assert watch.looping() == runtime.rows[0]


def test_an_ended_container_of_a_pod_that_runs_says_nothing() -> None:
    runtime = Runtime([replace(ONE, restarts=24, running=False), replace(ONE, id="2")])
    watch = crashes(runtime)
    assert watch.looping() is None
    assert watch.looping() is None


def test_a_new_pod_counts_anew() -> None:
    runtime = Runtime([replace(ONE, image=OLD, restarts=7)])
    watch = crashes(runtime)
    assert watch.looping() is None
    runtime.rows.append(replace(ONE, id="2", pod_uid="uid-2", restarts=CRASHES))
    assert watch.looping() == runtime.rows[1]


def test_a_tenants_container_of_that_name_is_none_of_ours() -> None:
    assert crashes(Runtime([replace(ONE, namespace="tenant", restarts=9, running=False)])).looping() is None


IMAGE = "registry.k8s.io/kube-scheduler:v1.28.0"
SCHEDULER = replace(ONE, name="kube-scheduler", image=IMAGE, pod="kube-scheduler-cp1")


def test_what_ends_because_the_api_is_away_does_not_crash_loop() -> None:
    """It cannot renew its lease; that ended it twice before anybody looked, and twice while the API was away."""
    there: list[str] = []
    runtime = Runtime([replace(SCHEDULER, restarts=2, running=False)])
    node = replace(NODE, manifests={"kube-scheduler": "registry.k8s.io/kube-scheduler:v1.27.16"})
    watch = Crashes(cast("NodeTools", Tools(runtime)), node, lambda component: component in there)
    assert watch.looping() is None
    runtime.rows = [replace(SCHEDULER, restarts=4, running=False)]
    assert watch.looping() is None
    there.append("kube-scheduler")
    runtime.rows = [replace(SCHEDULER, restarts=5)]
    assert watch.looping() is None
    runtime.rows = [replace(SCHEDULER, restarts=4 + CRASHES, running=False)]
    assert watch.looping() == runtime.rows[0], "the API is there, and it ends all the same"


def test_an_api_server_without_etcd_does_not_crash_loop() -> None:
    runtime = Runtime([replace(ONE, restarts=CRASHES, running=False)])
    assert Crashes(cast("NodeTools", Tools(runtime)), NODE, lambda _: False).looping() is None
