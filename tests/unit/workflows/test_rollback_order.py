"""The core of a way back: every control plane is at rest before the data of any is exchanged."""

from __future__ import annotations

import fcntl
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from unit.nodes.captured_cluster import StandingClock
from unit.nodes.test_site import CP1, CP2, ETCD, W1, Reached, config, site

from upgrade_guard.hosts.base import Host
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.hosts.transcript import SilentTranscript
from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Step
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.quiesce import Rest, at_rest
from upgrade_guard.vault.bundle import Vault
from upgrade_guard.workflows.restore import restoring
from upgrade_guard.workflows.whole_rollback import whole, whole_later

CLUSTER = Cluster("prod", "v1.27.16", (CP1, CP2, W1), "7", "3.5.24", 4096)
PLANES = ("cp1", "cp2")
FACTS = Facts("r1")


def phases_of(tmp_path: Path, way: str) -> tuple[Phase, ...]:
    place = site(config(tmp_path), Reached())
    if way == "rollback":
        return whole(place, CLUSTER, CLUSTER, FACTS)
    if way == "later":
        return whole_later(place, CLUSTER, CLUSTER, FACTS)
    return restoring(place, CLUSTER, Facts("r1", {"restore/ground": {"revision_now": None, "lost": [], "notes": []}}))


@pytest.mark.parametrize("way", ["rollback", "later", "restore"])
def test_nothing_is_exchanged_before_everything_rests(tmp_path: Path, way: str) -> None:
    phases = phases_of(tmp_path, way)
    prefix = "restore" if way == "restore" else "rollback"
    # A phase begins when the one before it has ended in every lane; within one the lanes go on by themselves.
    at = {step.name: number for number, phase in enumerate(phases) for step in phase.steps}
    [rest] = [at[name] for name in at if name.endswith("/at-rest")]

    for one, other in itertools.product(PLANES, PLANES):
        assert at[f"{prefix}/{one}/restore"] < at[f"{prefix}/{other}/stop-kubelet"], "what may fail comes before"
        assert at[f"{prefix}/{one}/stop-kubelet"] < at[f"{prefix}/{other}/stop"], "or kubelet starts it again"
        assert at[f"{prefix}/{one}/stop"] < rest < at[f"{prefix}/{other}/swap"], "an etcd that runs loses what it takes"
        assert at[f"{prefix}/{one}/swap"] < at[f"{prefix}/{other}/manifests"], "no etcd starts on the old data"
        assert at[f"{prefix}/{one}/files"] <= at[f"{prefix}/{other}/manifests"]
    for name in PLANES:
        assert at[f"{prefix}/{name}/manifests"] <= at[f"{prefix}/{name}/start-kubelet"]


@pytest.mark.parametrize("way", ["rollback", "later", "restore"])
def test_of_one_node_the_files_come_before_kubelet(tmp_path: Path, way: str) -> None:
    """In one lane steps are taken in their order."""
    steps: dict[str, Step] = {}
    for phase in phases_of(tmp_path, way):
        steps |= {step.name.partition("/")[2]: step for step in phase.steps}
    order = list(steps)
    for name in PLANES:
        assert steps[f"{name}/manifests"].lane == steps[f"{name}/start-kubelet"].lane
        assert order.index(f"{name}/files") < order.index(f"{name}/manifests") < order.index(f"{name}/start-kubelet")


def test_no_pod_runs_twice(tmp_path: Path) -> None:
    """Every kubelet is stopped before the API is back, and started after what its node began since was ended."""
    phases = phases_of(tmp_path, "rollback")
    at = {step.name: number for number, phase in enumerate(phases) for step in phase.steps}
    back = at["rollback/cp1/start-kubelet"]
    assert at["rollback/w1/stop-kubelet"] < back
    assert at["rollback/cp1/stop-kubelet"] < at["rollback/cp1/fence"] < back
    assert back < at["rollback/w1/fence"] < at["rollback/w1/kubelet-restart"]


@pytest.mark.parametrize("way", ["rollback", "restore"])
def test_cron_jobs_are_told_before_their_controller_starts(tmp_path: Path, way: str) -> None:
    order = [step.name.partition("/")[2] for phase in phases_of(tmp_path, way) for step in phase.steps]
    told = order.index("cron-jobs")
    assert order.index("api-ready") < told
    assert all(order.index(f"{name}/manifests") < told < order.index(f"{name}/controller-manager") for name in PLANES)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """The lock that a running etcd has on its database, held by this process."""
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_a_process_that_holds_the_database_is_not_at_rest(tmp_path: Path) -> None:
    """No container of it is known to the runtime: only the lock tells."""
    database = tmp_path / "etcd" / "member" / "snap" / "db"
    database.parent.mkdir(parents=True)
    database.touch()
    crictl = tmp_path / "bin" / "crictl"
    crictl.parent.mkdir()
    crictl.write_text("#!/bin/sh\necho '{\"containers\": []}'\n")
    crictl.chmod(0o755)
    node = replace(CP1, etcd=replace(ETCD, data_dir=str(tmp_path / "etcd")))
    step = at_rest(
        on_this_machine(tmp_path, crictl.parent), replace(CLUSTER, nodes=(node,)), "rollback/at-rest", Rest()
    )

    assert isinstance(step.probe(FACTS), Done)
    with held(database):
        seen = step.probe(FACTS)
    assert seen == NotDone(f"a process on cp1 still holds {database}")
    assert isinstance(step.probe(FACTS), Done)


def on_this_machine(tmp_path: Path, programs: Path) -> Site:
    """A site whose nodes are this machine, with these programs first."""

    def reach(name: str, _settings: NodeSettings) -> Host:
        return LocalHost(name, path=f"{programs}:/usr/bin:/bin")

    return Site(
        config(tmp_path),
        transcript=SilentTranscript(),
        clock=StandingClock(),
        vault=Vault(tmp_path / "vault"),
        here=LocalHost("here"),
        reach=reach,
    )
