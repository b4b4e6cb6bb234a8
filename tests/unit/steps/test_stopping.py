"""A control plane is brought to rest: on real files, with small programs in the place of systemctl and crictl."""

from __future__ import annotations

import fcntl
import json
from dataclasses import replace
from pathlib import Path

import pytest
from unit.nodes.captured_cluster import StandingClock
from unit.nodes.test_site import CP1, CP2, config
from unit.vault.builds import published

from upgrade_guard.errors import EvidenceLost, StepFailed
from upgrade_guard.hosts.base import Host
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.hosts.transcript import SilentTranscript
from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.model.step import Done, Facts, NotDone, Step
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.quiesce import GRACE, Rest, hold_kubelet, quiesce, refuse_unless_at_rest, stop, what_stirs
from upgrade_guard.vault.bundle import Bundle, Vault

CLUSTER = Cluster("prod", "v1.27.16", (CP1, CP2), "7", "3.5.24", 4096)
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
SYSTEMCTL = """#!/bin/sh
echo "$*" >> {here}/asked
case "$1" in
  is-active) cat {here}/state; read -r word < {here}/state; [ "$word" = active ] || exit 3 ;;
  stop) echo inactive > {here}/state ;;
esac
"""
CRICTL = """#!/bin/sh
echo "$*" >> {here}/asked
case "$*" in
  *"ps --all"*) cat {here}/containers ;;
esac
"""


class Machine:
    """A control plane whose kubelet is `active` and whose manifests lie where kubelet reads them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kubernetes = directory / "kubernetes"
        self.manifests = self.kubernetes / "manifests"
        self.manifests.mkdir(parents=True)
        self.work = directory / "work"
        self.work.mkdir()
        for name in (*COMPONENTS, "balancer"):
            (self.manifests / f"{name}.yaml").write_text(name)
        programs = directory / "bin"
        programs.mkdir()
        for name, script in (("systemctl", SYSTEMCTL), ("crictl", CRICTL)):
            (programs / name).write_text(script.format(here=directory))
            (programs / name).chmod(0o755)
        self.kubelet("active")
        self.runs()
        self.bundle = published(Vault(directory / "vault"))
        self.site = self._site(f"{programs}:/usr/bin:/bin")

    def _site(self, path: str) -> Site:
        def reach(name: str, _: NodeSettings) -> Host:
            return LocalHost(name, path=path)

        node = NodeSettings(
            address="local",
            kubernetes_dir=str(self.kubernetes),
            work_dir=str(self.work),
            kubelet_unit="kubelet.service",
        )
        return Site(
            config(self.directory, any=node),
            transcript=SilentTranscript(),
            clock=StandingClock(),
            vault=Vault(self.directory / "vault"),
            here=LocalHost("here"),
            reach=reach,
        )

    def kubelet(self, state: str) -> None:
        (self.directory / "state").write_text(f"{state}\n")

    def runs(self, **containers: str) -> None:
        """What crictl lists: component to the state of its container."""
        rows = [
            {
                "id": f"id-of-{name}",
                "metadata": {"name": name.replace("_", "-"), "attempt": 0},
                "image": {"image": "registry.k8s.io/x:1"},
                "state": f"CONTAINER_{state}",
                "labels": {
                    "io.kubernetes.pod.name": f"{name.replace('_', '-')}-cp1",
                    "io.kubernetes.pod.namespace": "kube-system",
                    "io.kubernetes.pod.uid": "u",
                },
                "annotations": {},
                "createdAt": "1",
            }
            for name, state in containers.items()
        ]
        (self.directory / "containers").write_text(json.dumps({"containers": rows}))

    def asked(self, word: str) -> list[str]:
        path = self.directory / "asked"
        return [line for line in path.read_text().splitlines() if word in line] if path.exists() else []

    def facts(self, bundle: Bundle | None = None) -> Facts:
        known = bundle or self.bundle
        return Facts(
            "r1", {"snapshot/publish": {"bundle": known.name, "manifest_sha256": known.manifest_sha256}}, frozenset()
        )

    def hold(self) -> Step:
        return hold_kubelet(self.site, CP1, "r1")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_kubelet_is_stopped_and_the_manifests_leave_its_sight(machine: Machine) -> None:
    step = machine.hold()
    assert (step.name, step.lane, step.changes_node) == ("rollback/cp1/stop-kubelet", "cp1", True)
    assert step.probe(machine.facts()) == NotDone("kubelet on cp1 is active")
    step.act(machine.facts())
    assert machine.asked("stop") == ["stop kubelet.service"]
    assert [path.name for path in machine.manifests.iterdir()] == ["balancer.yaml"], "only what is kubeadm's"
    aside = machine.kubernetes / "upgrade-guard-stopped-r1"
    assert {path.name: path.read_text() for path in aside.iterdir()} == {f"{name}.yaml": name for name in COMPONENTS}
    assert step.probe(machine.facts()) == Done()


@pytest.mark.parametrize("state", ["activating", "deactivating", "reloading"])
def test_a_kubelet_that_may_come_up_again_is_not_stopped(machine: Machine, state: str) -> None:
    machine.kubelet(state)
    assert machine.hold().probe(machine.facts()) == NotDone(f"kubelet on cp1 is {state}")


@pytest.mark.parametrize("state", ["inactive", "failed", "unknown"])
def test_a_kubelet_at_rest_with_manifests_in_its_place_is_not_held(machine: Machine, state: str) -> None:
    machine.kubelet(state)
    for name in COMPONENTS[1:]:
        (machine.manifests / f"{name}.yaml").unlink()
    step = machine.hold()
    assert step.probe(machine.facts()) == NotDone(f"{machine.manifests}/etcd.yaml of cp1 is still there")
    step.act(machine.facts())
    assert machine.asked("stop") == [], "it rests already"
    assert step.probe(machine.facts()) == Done()
    step.act(machine.facts())  # twice is harmless
    assert step.probe(machine.facts()) == Done()


def test_nothing_is_stopped_when_the_bundle_is_not_the_one_that_was_published(machine: Machine) -> None:
    facts = machine.facts()
    (machine.bundle.path / "manifest.json").write_text((machine.bundle.path / "manifest.json").read_text() + "\n")
    with pytest.raises(EvidenceLost):
        machine.hold().act(facts)
    assert machine.asked("stop") == []
    assert len(list(machine.manifests.iterdir())) == 5


def test_nothing_is_stopped_under_the_hands_of_kubeadm(machine: Machine) -> None:
    lock = machine.work / "kubeadm.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(StepFailed, match="kubeadm is still at work on cp1"):
            machine.hold().act(machine.facts())
    assert machine.asked("stop") == []


def test_the_containers_that_run_are_stopped_and_no_others(machine: Machine) -> None:
    step = stop(machine.site, CP1)
    assert (step.name, step.lane, step.changes_node) == ("rollback/cp1/stop", "cp1", True)
    machine.runs(etcd="RUNNING", kube_apiserver="RUNNING", kube_scheduler="EXITED", balancer="RUNNING")
    assert step.probe(machine.facts()) == NotDone("etcd, kube-apiserver on cp1 still runs")
    step.act(machine.facts())
    stopped = sorted(line.partition("stop ")[2] for line in machine.asked("stop "))
    assert stopped == [f"--timeout {GRACE} id-of-{name}" for name in ("etcd", "kube_apiserver")]
    machine.runs(etcd="EXITED", balancer="RUNNING")
    assert step.probe(machine.facts()) == Done()


def test_all_control_planes_stop_at_the_same_time_and_rest_is_seen_last(machine: Machine) -> None:
    beside = tuple(Step(name, name, lambda _: Done(), lambda _: None, lane=name) for name in ("w1", "w2"))
    rest = Rest()
    hold, halt, at_rest = quiesce(machine.site, CLUSTER, "r1", rest, "rollback/at-rest", beside)
    assert [step.name for step in hold.steps] == ["rollback/cp1/stop-kubelet", "rollback/cp2/stop-kubelet"]
    assert [step.name for step in halt.steps] == ["rollback/cp1/stop", "rollback/cp2/stop", "w1", "w2"]
    assert (hold.at_once, halt.at_once) == (2, 4)
    [look] = at_rest.steps
    assert look.lasting, "each process that swaps looks for itself"
    assert look.probe(machine.facts()) == Done({"at_rest": ["cp1", "cp2"]})
    assert rest.seen
    hold.steps[0].act(machine.facts())
    assert (machine.kubernetes / "upgrade-guard-stopped-r1" / "etcd.yaml").exists()


def test_a_control_plane_without_an_etcd_of_its_own_rests_when_nothing_runs(machine: Machine) -> None:
    without = replace(CP1, etcd=None)
    assert what_stirs(machine.site, without) == ""
    machine.runs(kube_apiserver="RUNNING")
    assert what_stirs(machine.site, without) == "kube-apiserver on cp1 still runs"


def test_what_runs_again_is_named_with_what_to_do(machine: Machine) -> None:
    machine.runs(etcd="RUNNING")
    refuse_unless_at_rest(machine.site, CP1, Rest(seen=True))
    with pytest.raises(StepFailed) as refused:
        refuse_unless_at_rest(machine.site, CP1, Rest())
    assert refused.value.message == (
        "etcd on cp1 still runs: it was started again after it had been stopped for the restore; its data was not"
        " touched"
    )
    assert refused.value.hint == "stop kubelet on cp1 and that container, then: upgrade-guard resume"
