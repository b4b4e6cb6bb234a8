"""A rollback brings the cluster back also when etcd's data was lost with its disk in the middle of the upgrade."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from scenario.ends import BEFORE, assert_untouched
from scenario.stage import Stage


def test_a_rollback_with_no_data_left(new_stage: Callable[..., Stage]) -> None:
    stage = new_stage(faults=("apply-fails-after-etcd",))
    before = stage.truth()
    stage.put_key(BEFORE, "written before the run")
    stage.run("--no-auto-rollback", ends=6)
    stage.lose_data()

    answer = stage.guard("rollback", "--confirm-cluster", "lab")
    assert answer.data["state"] == "rolled-back"
    assert_untouched(stage, before)
    assert stage.key(BEFORE) == "written before the run"
    [swap] = [s for s in stage.show()["steps"] if s["name"] == "rollback/cp1/swap" and s["outcome"] == "succeeded"]
    assert list(Path(swap["result"]["aside"]).iterdir()) == [], "an empty directory stands for what was lost"
