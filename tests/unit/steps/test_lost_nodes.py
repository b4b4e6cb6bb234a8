"""Machines that do not answer: who begins a rollback, who comes later, who is given up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from unit.engine.paper import FakeClock
from unit.nodes.test_site import CP1, CP2, ETCD, W1, Reached, config, site

from upgrade_guard.errors import DecisionNeeded, HostUnreachable
from upgrade_guard.hosts.scripted import ScriptedHost
from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.command import Command, Result
from upgrade_guard.model.run import ApprovalRecord
from upgrade_guard.model.step import Done, Facts, Phase
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps import lost_nodes
from upgrade_guard.steps.rollback_choice import CHOICE
from upgrade_guard.workflows import rollback

CP3 = replace(CP1, name="cp3", internal_ip="10.0.0.3", etcd=replace(ETCD, name="cp3"))
THREE = Cluster("prod", "v1.27.16", (CP1, CP2, CP3, W1), "77", "3.5.24", 1)
APPROVED = ApprovalRecord("Give cp3 up", "ann", "--without cp3", "yes", datetime(2026, 1, 1, tzinfo=UTC))
NOTHING = Facts("r1")


class Machine(ScriptedHost):
    """Answers `true` while its power is on."""

    def __init__(self, name: str, *, on: bool = True) -> None:
        super().__init__(name)
        self.on = on
        self.asked = 0
        self.replies("true", reply=self._reply_to_true)

    def _reply_to_true(self, _: Command) -> Result:
        self.asked += 1
        if not self.on:
            raise HostUnreachable(f"{self.name} cannot be reached: no route to host")
        return Result(0, "", "", 0.0)


def machines(*lost: str) -> dict[str, Machine]:
    return {node.name: Machine(node.name, on=node.name not in lost) for node in THREE.nodes}


def place(tmp_path: Path, hosts: dict[str, Machine]) -> Site:
    found = site(config(tmp_path), Reached(**hosts))
    found.clock = FakeClock()
    return found


def facts(*lost: str, path: str = "", behind: dict[str, Any] | None = None, started: tuple[str, ...] = ()) -> Facts:
    results: dict[str, Any] = {lost_nodes.ANSWERING: {"silent": {name: f"{name} is gone" for name in lost}}}
    if path:
        results[CHOICE] = {"path": path, "why": "because"}
    if behind is not None:
        results[lost_nodes.BEHIND] = behind
    return Facts("r1", results, frozenset(started))


def names(phases: tuple[Phase, ...]) -> list[str]:
    return [step.name for phase in phases for step in phase.steps]


def test_a_machine_is_lost_only_after_it_was_asked_again(tmp_path: Path) -> None:
    hosts = machines("cp3")
    found = lost_nodes.silent(place(tmp_path, hosts), THREE.nodes)
    assert found == {"cp3": "cp3 cannot be reached: no route to host"}
    assert hosts["cp3"].asked > 5
    assert hosts["cp1"].asked == 1


def test_a_machine_that_answers_again_in_time_is_not_lost(tmp_path: Path) -> None:
    hosts = machines("cp3")
    where = place(tmp_path, hosts)

    class Waking(FakeClock):
        def pause(self, seconds: float) -> None:
            super().pause(seconds)
            hosts["cp3"].on = hosts["cp3"].asked >= 3

    where.clock = Waking()
    assert lost_nodes.silent(where, THREE.nodes) == {}


def test_the_refusal_names_every_lost_machine(tmp_path: Path) -> None:
    with pytest.raises(HostUnreachable, match="cp2, w1 do not answer") as problem:
        lost_nodes.refuse_lost(place(tmp_path, machines("cp2", "w1")), THREE.nodes)
    assert len(problem.value.reasons) == 2


@pytest.mark.parametrize("lost", [(), ("cp3",), ("w1",), ("cp2", "w1")])
def test_a_majority_of_the_members_can_go_back(tmp_path: Path, lost: tuple[str, ...]) -> None:
    step = lost_nodes.see_who_answers(place(tmp_path, machines(*lost)), THREE, needs_majority=True)
    seen = step.probe(NOTHING)
    assert isinstance(seen, Done)
    assert tuple(seen.result["silent"]) == lost


def test_without_a_majority_a_person_decides_and_nothing_is_touched(tmp_path: Path) -> None:
    step = lost_nodes.see_who_answers(place(tmp_path, machines("cp1", "cp3")), THREE, needs_majority=True)
    with pytest.raises(DecisionNeeded, match=r"2 of 3 control planes do not answer \(cp1, cp3\)") as asked:
        step.probe(NOTHING)
    assert "upgrade-guard resume" in asked.value.hint


def test_a_rollback_of_files_needs_no_majority(tmp_path: Path) -> None:
    step = lost_nodes.see_who_answers(place(tmp_path, machines("cp1", "cp3")), THREE, needs_majority=False)
    assert isinstance(step.probe(NOTHING), Done)


def test_a_node_that_is_behind_is_waited_for_by_a_person(tmp_path: Path) -> None:
    step = lost_nodes.behind(place(tmp_path, machines("cp3")), THREE, ("cp3",), {})
    with pytest.raises(DecisionNeeded, match="cp3 is behind") as asked:
        step.probe(NOTHING)
    assert "upgrade-guard resume" in asked.value.hint
    assert "upgrade-guard rollback --without cp3" in asked.value.hint


def test_a_node_that_was_given_up_is_on_record(tmp_path: Path) -> None:
    hosts = machines("cp3")
    seen = lost_nodes.behind(place(tmp_path, hosts), THREE, ("cp3",), {"cp3": APPROVED}).probe(NOTHING)
    assert seen == Done({"given_up": ["cp3"]}, records=(APPROVED,))
    assert hosts["cp3"].asked == 0


def test_everybody_who_answers_goes_back_at_once(tmp_path: Path) -> None:
    found = names(rollback.rollback(place(tmp_path, machines()), THREE, facts(path="whole")))
    assert lost_nodes.BEHIND not in found
    assert found.index("rollback/at-rest") < found.index("rollback/cp3/swap") < found.index("rollback/verify/canary")


def test_who_does_not_answer_comes_later_in_the_same_way(tmp_path: Path) -> None:
    where = place(tmp_path, machines("cp3", "w1"))
    found = names(rollback.rollback(where, THREE, facts("cp3", "w1", path="whole")))
    at = found.index(lost_nodes.BEHIND)
    assert not [name for name in found[:at] if name.startswith(("rollback/cp3/", "rollback/w1/"))]
    assert found == names(rollback.rollback(where, THREE, facts("cp3", "w1", path="whole", behind={"given_up": []})))
    later = found[at + 1 :]
    for one, next_one in [
        ("rollback/cp3/restore", "rollback/cp3/stop"),
        ("rollback/cp3/packages", "rollback/cp3/at-rest"),
        ("rollback/cp3/at-rest", "rollback/cp3/swap"),
        ("rollback/cp3/files", "rollback/cp3/packages"),
        ("rollback/cp3/packages", "rollback/cp3/manifests"),
        ("rollback/cp3/start-kubelet", "rollback/cp3/etcd-agrees"),
        ("rollback/cp3/etcd-agrees", "rollback/cp3/api-ready"),
        ("rollback/cp3/api-ready", "rollback/w1/ready"),
        ("rollback/w1/ready", "rollback/verify/etcd"),
    ]:
        assert later.index(one) < later.index(next_one)
    assert not [name for name in later if name.startswith("rollback/cp1/")]


def test_who_was_given_up_does_not_come_and_leaves_etcd(tmp_path: Path) -> None:
    where = place(tmp_path, machines("cp3"))
    given_up = facts("cp3", path="whole", behind={"given_up": ["cp3"]}, started=("rollback/cp3/snapshot",))
    found = rollback.rollback(where, THREE, given_up)
    assert [name for name in names(found) if name.startswith("rollback/cp3/")] == ["rollback/cp3/remove-member"]
    assert rollback.given_up_steps(given_up) == ("rollback/cp3/snapshot",)


@pytest.mark.parametrize(
    ("now_lost", "known", "void"),
    [
        ((), facts(), ()),
        (("cp3",), facts(), (lost_nodes.ANSWERING,)),
        ((), facts("cp3"), (lost_nodes.ANSWERING,)),
        (("cp3",), facts("cp3"), ()),
        ((), facts("cp3", path="whole"), ()),
        (("cp3",), facts(path="whole"), (lost_nodes.ANSWERING,)),
        (("cp3",), facts("cp3", path="whole", behind={"given_up": []}), (lost_nodes.BEHIND,)),
        (("cp3",), facts("cp3", path="whole", behind={"given_up": ["cp3"]}), ()),
        (("w1",), facts("cp3", path="whole", behind={"given_up": []}), (lost_nodes.ANSWERING, lost_nodes.BEHIND)),
        (("w1",), NOTHING, ()),
    ],
)
def test_what_was_decided_holds_until_a_machine_is_lost_or_comes_back(
    tmp_path: Path, now_lost: tuple[str, ...], known: Facts, void: tuple[str, ...]
) -> None:
    assert lost_nodes.outdated(place(tmp_path, machines(*now_lost)), THREE, known, CHOICE) == void
