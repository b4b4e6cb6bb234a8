"""What a rollback loses is told by name; and it goes back also when etcd's data was lost in the middle."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from scenario.ends import BEFORE, assert_untouched
from scenario.stage import TARGET, Stage

NOBODY = 65534


def test_a_rollback_with_no_data_left(copied_stage: Callable[..., Stage]) -> None:
    stage = copied_stage()
    stage.switch_on("apply-fails-after-etcd")
    stage.go_on("--no-auto-rollback", ends=6)
    stage.lose_data()

    answer = stage.guard("rollback", "--confirm-cluster", "lab")
    assert answer.data["state"] == "rolled-back"
    assert_untouched(stage, stage.before)
    assert stage.key(BEFORE) == "written before the run"
    [swap] = [s for s in stage.show()["steps"] if s["name"] == "rollback/cp1/swap" and s["outcome"] == "succeeded"]
    assert list(Path(swap["result"]["aside"]).iterdir()) == [], "an empty directory stands for what was lost"
    [lost] = [s for s in stage.show()["steps"] if s["name"] == "rollback/lost" and s["outcome"] == "succeeded"]
    assert (lost["result"]["list"], bool(lost["result"]["why"])) == ("", True)


def test_what_was_taken_back_is_written_down(new_stage: Callable[..., Stage]) -> None:
    """By name, from the keys alone. And etcd's data belongs to whom it belonged before."""
    stage = new_stage(faults=("apply-fails-after-etcd",))
    data = stage.lab.layout.etcd("cp1")
    owner = NOBODY if os.geteuid() == 0 else os.getuid()
    for path in (data, *data.rglob("*")):
        os.chown(path, owner, -1)
    going = stage.start("run", TARGET, "--yes")
    stage.await_state("planned", going)
    stage.put_key(
        "/registry/persistentvolumes/pvc-1",
        '{"kind": "PersistentVolume", "metadata": {"name": "pvc-1"}, "says": "a secret thing"}',
    )
    stage.shell("cp1", "kubectl", "delete", "configmap", "marker")
    assert going.wait().exit_code == 7
    assert {path.stat().st_uid for path in (data, data / "member", data / "member" / "snap")} == {owner}
    [lost] = [s for s in stage.show()["steps"] if s["name"] == "rollback/lost" and s["outcome"] == "succeeded"]
    path = Path(lost["result"]["list"])
    assert path.stat().st_mode & 0o777 == 0o600
    said = path.read_text()
    assert "  persistentvolumes pvc-1  (its storage stays, and nothing names it any more)" in said
    assert "Back, because it was deleted since: 1\n  configmaps default/marker\n" in said
    kept = [file for file in path.parent.rglob("*") if file.is_file() and b"a secret thing" in file.read_bytes()]
    assert kept == []
