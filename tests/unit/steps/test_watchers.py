"""What is renewed after a restore whose revision could not be raised."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from unit.nodes.test_site import CP1, W1

from upgrade_guard.config import Config
from upgrade_guard.model.cluster import Addon, Cluster
from upgrade_guard.model.step import Done, Facts, NotDone
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps import old_control_plane
from upgrade_guard.steps.old_control_plane import renew_watchers
from upgrade_guard.tools.kubectl_objects import PodRow

CALICO = Addon("calico", "network", "calico-system", "calico-node", "calico/node:v3", healthy=True)
CLUSTER = Cluster("prod", "v1.27.16", (CP1, W1), "1", "3.4.30", 1, addons=(CALICO,))
PROXY = PodRow("kube-system", "kube-proxy-1", "w1", "Running", ready=True, labels={"k8s-app": "kube-proxy"})
PODS = (
    PROXY,
    replace(PROXY, name="install-job", labels={"app": "install"}, phase="Succeeded", ready=False),
    replace(PROXY, name="typha", namespace="calico-system", labels={"k8s-app": "calico-typha"}),
    replace(PROXY, name="agent", namespace="monitoring", owner_kind="DaemonSet", labels={"app": "agent"}),
    replace(PROXY, name="web", namespace="shop", labels={"app": "web"}),
    replace(PROXY, name="etcd-cp1", node="cp1", mirror=True, labels={"app": "etcd"}),
    replace(PROXY, name="elsewhere", node="cp9", labels={"app": "elsewhere"}),
)


@dataclass
class Api:
    rows: tuple[PodRow, ...] = PODS
    deleted: list[tuple[str, str]] = field(default_factory=list)
    config: Config = field(default_factory=Config)

    def any_api(self, _: Any) -> Any:
        return self

    def pods(self) -> tuple[PodRow, ...]:
        return self.rows

    def delete_pods(self, namespace: str, selector: str) -> None:
        self.deleted.append((namespace, selector))


@pytest.fixture(autouse=True)
def without_a_bump(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoBump:
        bump = None

    monkeypatch.setattr(old_control_plane.etcd_restore, "settings", lambda _: NoBump)
    monkeypatch.setattr(old_control_plane.kubelet, "answering_api", lambda site, _: site)


def test_what_watches_is_renewed_and_what_has_ended_holds_nothing_up() -> None:
    api = Api()
    step = renew_watchers(cast("Site", api), CLUSTER)
    assert isinstance(step.probe(Facts("r1")), NotDone)
    step.act(Facts("r1"))
    assert api.deleted == [
        ("calico-system", "k8s-app=calico-typha"),
        ("kube-system", "k8s-app=kube-proxy"),
    ]
    seen = step.probe(Facts("r1"))
    assert isinstance(seen, Done)
    assert seen.result["renewed"] == [
        "calico-system k8s-app=calico-typha",
        "kube-system k8s-app=kube-proxy",
    ]


def test_one_that_is_not_ready_again_is_waited_for() -> None:
    api = Api()
    step = renew_watchers(cast("Site", api), CLUSTER)
    step.act(Facts("r1"))
    api.rows = (*PODS[1:], replace(PROXY, ready=False))
    seen = step.probe(Facts("r1"))
    assert isinstance(seen, NotDone)
    assert "kube-proxy-1" in seen.why
