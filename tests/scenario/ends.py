"""What a run leaves behind when it ended in one way or another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scenario.prepared import BEFORE
from scenario.stage import TARGET, Stage, changed

OLD = "v1.27.16"
AFTER = "/scenario/after"


def assert_untouched(stage: Stage, before: dict[str, Any]) -> None:
    """No node differs from what it was, and none was meant to."""
    assert changed(before, stage.truth()) == set()
    assert stage.kubelet_versions() == dict.fromkeys(stage.lab.settings.names, OLD)
    assert stage.unschedulable() == set()


def assert_completed(stage: Stage) -> None:
    """Every node is new and at work, and no run is open."""
    assert stage.states()[-1] == "completed"
    assert stage.kubelet_versions() == dict.fromkeys(stage.lab.settings.names, TARGET)
    assert stage.unschedulable() == set()
    assert stage.waiting_pods() == []
    assert stage.guard("status").data is None


def assert_rolled_back(stage: Stage, before: dict[str, Any]) -> None:
    """The whole cluster is as it was, and the journal tells the story."""
    assert stage.states()[-1] == "rolled-back"
    assert_untouched(stage, before)
    assert stage.waiting_pods() == []
    assert stage.key(BEFORE) == "written before the run"
    assert stage.get("configmap", "marker")["data"] == {"says": "before the upgrade"}
    assert stage.guard("status").data is None
    assert [run["outcome"] for run in stage.guard("history").data] == ["rolled-back"]
    assert_story(stage)


def assert_data_went_back(stage: Stage) -> None:
    """What was written after the snapshot is gone, and the data with it lies aside where the journal says."""
    assert stage.key(AFTER) is None, "a key written after the snapshot is still there"
    steps = stage.show()["steps"]
    for node in stage.lab.settings.control_planes:
        [swap] = [s for s in steps if s["name"] == f"rollback/{node}/swap" and s["outcome"] == "succeeded"]
        assert (stage.lab.layout.etcd(node).parent / swap["result"]["aside"] / "member/snap/db").is_file()


def assert_no_data_was_restored(stage: Stage) -> None:
    """etcd's data was left alone."""
    assert stage.outcomes("rollback/cp1/swap") == []
    assert list(stage.lab.layout.etcd("cp1").parent.glob("etcd*upgrade-guard*")) == []


def assert_story(stage: Stage) -> None:
    """`show` tells everything that the journal holds of the newest run."""
    story = stage.show()
    for table in ("transitions", "steps", "snapshots", "proofs", "copies", "approvals"):
        assert len(story[table]) == len(stage.rows(f"select seq from {table}")), table
    assert [move["to_state"] for move in story["transitions"]] == stage.states()
    steps = {step["name"] for step in story["steps"]}
    assert {command["step"] for command in story["commands"]} <= steps | {""}
    assert commands_with(story["commands"], "apt-get", "install")
    assert story["snapshots"][-1]["snapshot_sha256"] == story["proofs"][-1]["snapshot_sha256"]
    assert story["edited"] == []


def commands_with(commands: Iterable[dict[str, Any]], *words: str) -> list[dict[str, Any]]:
    """The commands whose argv has all these words."""
    return [command for command in commands if set(words) <= set(command["argv"])]
