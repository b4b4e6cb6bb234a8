"""The comparison with the baseline: what blocks, what is said, what is expected."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.checks.healthy import TARGET, node_row, pod, workload

from upgrade_guard.checks.baseline import Baseline, WorkloadState, baseline_of, compare
from upgrade_guard.model.codec import from_json, to_json
from upgrade_guard.model.finding import Severity
from upgrade_guard.tools.kubectl_objects import ServiceRow

PROXY = workload(
    "kube-proxy", "kube-system", kind="DaemonSet", desired=2, ready=2, images=("registry.k8s.io/kube-proxy:v1.27.16",)
)


def before() -> Baseline:
    return baseline_of(
        nodes=(node_row("cp1"), node_row("w1")),
        workloads=(workload("web"), workload("short", ready=1), workload("db", kind="StatefulSet"), PROXY),
        services=(ServiceRow("shop", "web", "ClusterIP", "10.96.0.9"),),
        pods=(
            pod("web"),
            pod("job", "batch"),
            pod("gone", "batch", deleted=True),
            pod("done", ready=False),
            pod("etcd-cp1", "kube-system", mirror=True, ready=False),
        ),
    )


def after(**changes: object) -> Baseline:
    """Everything as before, kube-proxy at the target."""
    proxy = "DaemonSet kube-system/kube-proxy"
    new = ("registry.k8s.io/kube-proxy:v1.28.0",)
    workloads = tuple(replace(one, images=new) if one.key == proxy else one for one in before().workloads)
    return replace(replace(before(), workloads=workloads), **changes)  # type: ignore[arg-type]


def changed(key: str, **changes: object) -> Baseline:
    now = after()
    workloads = tuple(replace(one, **changes) if one.key == key else one for one in now.workloads)  # type: ignore[arg-type]
    return replace(now, workloads=workloads)


def without(key: str) -> Baseline:
    now = after()
    return replace(now, workloads=tuple(one for one in now.workloads if one.key != key))


def said(now: Baseline, severity: Severity, *, restored: bool = False) -> list[str]:
    return [one.message for one in compare(before(), now, TARGET, restored=restored) if one.severity is severity]


def test_what_is_recorded() -> None:
    assert before().ready_pods == {"batch": 1, "shop": 1}
    assert before().nodes == {"cp1": True, "w1": True}
    assert before().services == ("shop/web",)
    assert before().static_pods == ("kube-system/etcd-cp1",)
    assert from_json(Baseline, to_json(before())) == before()


def test_a_static_pod_that_was_not_there_is_said_and_is_none_of_a_restored_state() -> None:
    now = after(static_pods=("kube-system/etcd-cp1", "kube-system/stranger-cp1"))
    message = "static pod kube-system/stranger-cp1 was not there before"
    assert message in said(now, Severity.WARNING)
    assert said(now, Severity.BLOCKING) == []
    assert said(now, Severity.BLOCKING, restored=True) == [message]


def test_a_baseline_of_an_earlier_version_knows_no_static_pods() -> None:
    recorded = {key: value for key, value in to_json(before()).items() if key != "static_pods"}
    old = from_json(Baseline, recorded)
    assert [one for one in compare(old, after(), TARGET, restored=True) if one.severity is Severity.BLOCKING] == []


def test_nothing_but_kubeadms_own_changes_is_fine() -> None:
    found = compare(before(), after(), TARGET)
    assert [(one.severity, one.message) for one in found] == [
        (Severity.WARNING, "Deployment shop/short has 1 of 3 pods ready, as before the upgrade")
    ]


WEB, SHORT, DB = "Deployment shop/web", "Deployment shop/short", "StatefulSet shop/db"


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (after(nodes={"cp1": True, "w1": False}), "node w1 is no longer Ready"),
        (changed(WEB, ready=2), "Deployment shop/web has 2 of 3 pods ready, before 3 of 3"),
        (changed(WEB, desired=5, ready=2), "Deployment shop/web has 2 of 5 pods ready, before 3 of 3"),
        (changed(SHORT, ready=0), "Deployment shop/short has 0 of 3 pods ready, before 1 of 3"),
        (changed(DB, ready=0), "StatefulSet shop/db has 0 of 3 pods ready, before 3 of 3"),
    ],
)
def test_regressions_block(now: Baseline, message: str) -> None:
    assert said(now, Severity.BLOCKING) == [message]


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (after(nodes={"cp1": True}), "node w1 is missing"),
        (without(WEB), "Deployment shop/web is missing"),
        (after(services=()), "service shop/web is missing"),
    ],
)
def test_what_somebody_deleted_is_said_and_has_to_be_there_after_a_restore(now: Baseline, message: str) -> None:
    assert message in said(now, Severity.WARNING)
    assert said(now, Severity.BLOCKING) == []
    assert said(now, Severity.BLOCKING, restored=True) == [message]


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (after(nodes={"cp1": True, "w1": True, "w2": True}), "new nodes: w2"),
        (changed(WEB, desired=2, ready=2), "Deployment shop/web wants 2 pods, before 3"),
        (changed(WEB, desired=5, ready=4), "Deployment shop/web has 4 of 5 pods ready, before 3 of 3"),
        (changed(DB, ready=1), "StatefulSet shop/db has 1 of 3 pods ready, before 3 of 3"),
        (changed(WEB, images=("web:2",)), "Deployment shop/web has other images: web:2, before example.org/web:1"),
        (before(), "kube-proxy runs v1.27.16, not v1.28.0"),
        (after(services=("shop/new", "shop/web")), "new services: shop/new"),
        (after(ready_pods={"shop": 1}), "namespace batch has no ready pod, before 1"),
        (
            replace(
                after(), workloads=(*after().workloads, WorkloadState("Deployment", "shop", "new", 1, 1, ("n:1",)))
            ),
            "Deployment shop/new is new",
        ),
    ],
)
def test_differences_are_said_and_no_more(now: Baseline, message: str) -> None:
    assert message in said(now, Severity.WARNING)
    assert said(now, Severity.BLOCKING) == []


def test_a_node_that_was_away_before_is_no_regression() -> None:
    away = replace(before(), nodes={"cp1": True, "w1": False})
    assert [one for one in compare(away, away, TARGET) if one.severity is Severity.BLOCKING] == []
