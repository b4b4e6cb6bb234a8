"""Which failure is answered with what."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from unit.nodes.captured_cluster import NOW, PassingClock
from unit.nodes.test_site import CP1, CP2, W1

from upgrade_guard.config import Config
from upgrade_guard.config.schema import RollbackSettings, UpgradeSettings
from upgrade_guard.errors import GuardError, HostUnreachable, StepFailed
from upgrade_guard.hosts.transcript import SilentTranscript
from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.etcd import MemberHealth
from upgrade_guard.model.step import Answer, Facts
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps import loss
from upgrade_guard.steps.control_planes import control_plane
from upgrade_guard.steps.plan import keeping, plan
from upgrade_guard.steps.rollback_choice import Path as WayBack
from upgrade_guard.steps.staging import staging
from upgrade_guard.steps.step_helpers import NothingWillCome
from upgrade_guard.steps.verify import verify
from upgrade_guard.steps.workers import nodes
from upgrade_guard.workflows import ladder

CLUSTER = Cluster("prod", "v1.27.16", (CP1, CP2, W1), "1", "3.5.24", 1)
TARGET = Version(1, 28, 0)
FACTS = Facts("r1", {"snapshot/publish": {"bundle": "b", "revision": 100}})
FAILED = StepFailed("it failed")


@dataclass
class Serving:
    """A site as the ladder asks it: who is away."""

    away: tuple[str, ...] = ()
    sick: int = 0
    revision: int = 100
    lost: bool = False
    config: Config = field(default_factory=lambda: Config(upgrade=UpgradeSettings(ready_timeout=2.0)))
    clock: PassingClock = field(default_factory=PassingClock)

    def api_server(self, node: Any) -> Any:
        return self._answering(node.name not in self.away)

    def on(self, _: Any) -> Any:
        site = self

        class Tools:
            endpoint = site._answering("endpoint" not in site.away)

        return Tools()

    def etcdctl(self, _: Any) -> Any:
        site = self

        class Etcdctl:
            def endpoint_health(self, *, cluster: bool) -> list[MemberHealth]:
                rows = range(1, 4 if cluster else 2)
                return [MemberHealth(f"https://10.0.0.{one}:2379", healthy=one > site.sick) for one in rows]

            def revision(self) -> int:
                return site.revision

        return Etcdctl()

    def _answering(self, ready: bool) -> Any:
        site = self

        class Server:
            def ready(self) -> bool:
                if site.lost:
                    raise HostUnreachable("cp1 cannot be reached")
                return ready

        return Server()


@pytest.fixture(autouse=True)
def whole_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way back would restore etcd, from a snapshot that is ten minutes old."""

    class Bundle:
        class manifest:  # noqa: N801 - stands for a value
            taken_at = NOW - timedelta(minutes=10)

    monkeypatch.setattr(loss, "chosen", lambda *_: (WayBack.WHOLE, ""))
    monkeypatch.setattr(loss, "bundle_of", lambda *_: Bundle)


def answer(place: Serving, *failures: tuple[str, GuardError]) -> tuple[bool, str]:
    found = weighed(place, CLUSTER, *failures)
    return found.everything_back, found.why


def weighed(place: Serving, cluster: Cluster, *failures: tuple[str, GuardError]) -> Answer:
    return ladder.answer(cast("Site", place), cluster, FACTS, failures)


@pytest.mark.parametrize(
    "step",
    [
        "control-plane/cp1/settled",
        "control-plane/cp2/settled-again",
        "control-plane/cp2/upgrade-node",
        "control-plane/cp1/drain",
        "control-plane/cp1/kubelet-packages",
        "control-plane/cp1/uncordon",
        "verify/etcd",
        "verify/nodes",
        "verify/workloads",
        "verify/canary",
    ],
)
def test_while_every_control_plane_serves_a_person_decides(step: str) -> None:
    other = "cp1" if "/cp2/" in step else "cp2"
    assert answer(Serving(), (step, FAILED)) == (False, "every control plane serves")
    assert answer(Serving(away=(other,)), (step, FAILED)) == (True, f"the API server of {other} is not ready")
    assert answer(Serving(away=("endpoint",)), (step, FAILED)) == (True, "the cluster's endpoint does not answer")
    sick = "etcd is not healthy at https://10.0.0.1:2379, https://10.0.0.2:2379"
    assert answer(Serving(sick=2), (step, FAILED)) == (True, sick)


@pytest.mark.parametrize("step", ["plan/cp1/kubeadm", "control-plane/cp1/apply", "nodes/w1/drain"])
def test_what_cannot_be_made_to_serve_goes_back(step: str) -> None:
    assert answer(Serving(), (step, FAILED))[0]


def test_a_crash_loop_is_not_waited_for() -> None:
    place = Serving()
    looping = NothingWillCome("the new kube-apiserver on cp1 crash-loops")
    assert answer(place, ("control-plane/cp1/settled", looping)) == (True, looping.message)
    assert place.clock.passed == 0


@pytest.mark.parametrize("failed", [FAILED, NothingWillCome("systemd has started it again 2 times")])
def test_a_kubelet_goes_back_alone_while_every_control_plane_serves(failed: StepFailed) -> None:
    step = ("control-plane/cp1/kubelet-restart", failed)
    found = weighed(Serving(), CLUSTER, step)
    assert (found.everything_back, found.lanes_back, found.why) == (False, True, "every control plane serves")
    assert answer(Serving(away=("cp1", "cp2")), step)[0], "nobody serves"


THREE = Cluster("prod", "v1.27.16", (CP1, CP2, replace(CP2, name="cp3"), W1), "1", "3.5.24", 1)
LOOPING = NothingWillCome("the new kube-apiserver crash-loops")


@pytest.mark.parametrize("failed", [FAILED, LOOPING])
@pytest.mark.parametrize(
    ("step", "back"),
    [
        ("control-plane/cp3/upgrade-node", True),
        ("control-plane/cp3/settled", True),
        ("control-plane/cp3/kubelet-restart", True),
        ("control-plane/cp1/kubelet-restart", True),
        ("control-plane/cp1/settled-again", True),
        ("control-plane/cp3/drain", False),
    ],
)
def test_while_the_others_serve_the_one_that_failed_goes_back_alone(step: str, back: bool, failed: StepFailed) -> None:
    name = step.split("/")[1]
    found = weighed(Serving(away=(name,)), THREE, (step, failed))
    assert (found.everything_back, found.lanes_back) == (False, back)
    assert found.why == "the other control planes serve"
    assert weighed(Serving(away=(name, "cp2")), THREE, (step, failed)).everything_back
    assert weighed(Serving(away=(name, "endpoint")), THREE, (step, failed)).everything_back
    assert weighed(Serving(away=(name,), sick=2), THREE, (step, failed)).everything_back, "etcd has no majority"


def test_the_first_control_plane_has_nothing_to_go_back_to_alone() -> None:
    """kubeadm-config and what all nodes share are new by then."""
    assert weighed(Serving(away=("cp1",)), THREE, ("control-plane/cp1/settled", LOOPING)).everything_back


def test_the_gravest_of_two_failures_decides() -> None:
    both = (("control-plane/cp1/drain", FAILED), ("control-plane/cp1/apply", FAILED))
    assert answer(Serving(), *both)[0]


def test_a_difference_from_the_baseline_goes_back_where_the_configuration_wants_it() -> None:
    wanted = Config(upgrade=UpgradeSettings(on_verify_failure="rollback-cluster", ready_timeout=2.0))
    assert answer(Serving(config=wanted), ("verify/workloads", FAILED))[0]


def test_a_machine_that_cannot_be_asked_decides_nothing() -> None:
    with pytest.raises(HostUnreachable):
        answer(Serving(lost=True), ("control-plane/cp1/drain", FAILED))


@pytest.mark.parametrize(
    ("budget", "revision", "asks"),
    [
        (RollbackSettings(), 10**9, ""),
        (RollbackSettings(ask_beyond=300.0), 100, "what was written in 10 min"),
        (RollbackSettings(ask_beyond=0.0), 10**9, ""),
        (RollbackSettings(ask_beyond_revisions=50), 150, ""),
        (RollbackSettings(ask_beyond_revisions=50), 151, "51 revisions"),
    ],
)
def test_a_loss_beyond_the_budget_is_asked_about_while_the_api_serves(
    budget: RollbackSettings, revision: int, asks: str
) -> None:
    place = Serving(config=Config(rollback=budget), revision=revision)
    back, why = answer(place, ("control-plane/cp1/apply", FAILED))
    assert (back, asks in why) == (not asks, True)
    place.away = ("cp1", "cp2")
    assert answer(place, ("control-plane/cp1/apply", FAILED))[0], "nobody serves: nothing more is lost by going back"


def test_a_way_back_that_restores_nothing_is_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "chosen", lambda *_: (WayBack.FILES, ""))
    place = Serving(config=Config(rollback=RollbackSettings(ask_beyond=1.0)))
    assert answer(place, ("control-plane/cp1/apply", FAILED))[0]


def test_every_step_of_an_upgrade_has_its_rung(tmp_path: Path) -> None:
    place = Site.build(Config(state_dir=tmp_path), transcript=SilentTranscript(), clock=PassingClock())
    phases = (
        keeping(place, CLUSTER),
        staging(place, CLUSTER, TARGET),
        plan(place, CLUSTER, TARGET, cast("Any", None)),
        control_plane(place, CLUSTER, TARGET),
        nodes(place, CLUSTER, TARGET, "r1"),
        verify(place, CLUSTER, TARGET),
    )
    used = {ladder.rung_of(step.name) for phase in phases for step in phase.steps}
    assert used == set(ladder.RUNGS), "a rung that no step stands on"
