"""A cluster that is down, or has lost its data, comes back from a bundle, also when its restore dies on the way."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

from scenario.ends import AFTER, BEFORE, OLD
from scenario.stage import Stage, changed

from upgrade_guard.journal import Journal

NAMED = ("--confirm-cluster", "lab")


def back_up(stage: Stage) -> str:
    """A backup between two writes; the name of its bundle."""
    stage.put_key(BEFORE, "written before the backup")
    bundle = stage.guard("backup", "create").data["bundle"]
    stage.put_key(AFTER, "written after the backup")
    return str(bundle)


def assert_restored(stage: Stage, before: dict[str, object]) -> None:
    """Every node is as it was, the data is that of the bundle, everything runs, and no run is open."""
    assert changed(before, stage.truth()) == set()
    assert stage.key(BEFORE) == "written before the backup"
    assert stage.key(AFTER) is None
    assert stage.kubelet_versions() == dict.fromkeys(stage.lab.settings.names, OLD)
    assert stage.waiting_pods() == []
    assert stage.unschedulable() == set()
    assert stage.guard("status").data is None
    assert stage.guard("history").data[0]["outcome"] == "restored"


def die_while(stage: Stage, step: str, *words: str) -> None:
    """kill -9 while that step is under way."""
    times = stage.outcomes(step).count("started") + 1
    going = stage.start(*words)
    stage.await_outcome(step, "started", going, times)
    going.send(signal.SIGKILL)
    assert going.wait().exit_code == -signal.SIGKILL


def test_a_control_plane_that_is_down_then_one_that_lost_everything(stage: Stage) -> None:
    before = stage.truth()
    bundle = back_up(stage)

    # Nobody is asked by a flag that says yes to everything, and no run is begun by what is refused.
    for words, code in ((("nothing", *NAMED), 3), ((bundle,), 6), ((bundle, "--yes"), 6)):
        stage.guard("restore", *words, ends=code)
    answer = stage.guard("restore", bundle, "--confirm-cluster", "prod", ends=6)
    assert "--confirm-cluster lab" in answer.error["hint"], answer
    assert stage.guard("history").data == []

    stage.bring_down()
    answer = stage.guard("restore", bundle, *NAMED)
    assert_restored(stage, before)
    assert answer.data["bundle"] == bundle
    assert (Path(answer.data["aside"]["cp1"]) / "member/snap/db").is_file(), "the old data is kept"
    story = stage.show()
    assert [move["to_state"] for move in story["transitions"]] == ["inspected", "rolling-back", "restored"]
    assert story["approvals"][0]["how"] == "--confirm-cluster"
    assert [proof["bundle"] for proof in story["proofs"]] == [bundle]

    # The disk is lost with etcd's data, Kubernetes' files and the vault; the off-site copy is all there is. The process
    # that restores dies again and again.
    stage.put_key(AFTER, "written after the first restore")
    stage.lose_data()
    layout = stage.lab.layout
    shutil.rmtree(layout.kubernetes("cp1"))
    shutil.rmtree(layout.directory / "vault")
    words = ("restore", str(stage.lab.offsite / bundle), *NAMED)
    for step in ("restore/bundle", "restore/cp1/restore", "restore/cp1/swap"):
        die_while(stage, step, *words)
    assert stage.guard("status").data["state"] == "rolling-back"
    answer = stage.guard("rollback", *NAMED, ends=3)
    assert "resume" in answer.error["hint"], answer
    stage.guard("run", "v1.28.0", "--yes", ends=3)
    stage.guard("abort", "--yes", ends=3)
    for step in ("restore/cp1/manifests", "restore/w1/kubelet-restart"):
        die_while(stage, step, "resume")
    answer = stage.guard("resume")
    assert_restored(stage, before)
    assert answer.data["had_no_data"] == ["cp1"]
    assert answer.data["look_at_next"]
    journal = Journal.read(stage.journal)
    assert journal is not None
    with journal:
        assert journal.verify() == ()
