"""A machine of a cluster with three control planes is lost: before a run, in it, and on the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from scenario.ends import AFTER, BEFORE, OLD, assert_data_went_back, assert_rolled_back
from scenario.machines import Machines
from scenario.prepared import Prepared
from scenario.stage import TARGET, Stage, until

UPGRADE_ON_CP2 = "control-plane/cp2/upgrade-node"


def lose_cp3_while_cp2_is_upgraded(stage: Stage) -> None:
    """The run goes on until kubeadm works on cp2, then the machine of cp3 is gone; it ends with exit 4."""
    machines = Machines(stage)
    stage.put_key(BEFORE, "written before the run")
    with stage.held(stage.lab.layout.programs("cp2") / "kubeadm", "upgrade node") as wait_for:
        going = machines.start("run", TARGET, "--yes")
        wait_for(going)
        stage.put_key(AFTER, "written after the snapshot")
        machines.off("cp3")
        answer = going.wait()
    assert answer.exit_code == 4, str(answer)
    assert "cp3 does not answer" in answer.error["message"]
    assert " resume`" in answer.error["hint"]
    assert " rollback`" in answer.error["hint"]


@pytest.fixture
def lost(prepared: Prepared) -> Iterator[Machines]:
    """Machines of which cp3 was lost while kubeadm worked on cp2."""
    stage = prepared.at(lose_cp3_while_cp2_is_upgraded, control_planes=3, over_ssh=True)
    yield Machines(stage)
    prepared.rest(stage)


def test_a_run_does_not_begin_while_a_machine_is_lost(new_stage: Callable[..., Stage]) -> None:
    machines = Machines(new_stage(control_planes=3, over_ssh=True))
    machines.off("cp3")
    answer = machines.start("run", TARGET, "--yes").wait()
    assert answer.exit_code == 3, str(answer)
    assert "cp3" in answer.error["message"]
    assert machines.stage.states() == []


def ready(node: dict[str, Any]) -> str:
    [status] = [one["status"] for one in node["status"]["conditions"] if one["type"] == "Ready"]
    return str(status)


def test_a_worker_whose_machine_is_gone_holds_nobody_up(new_stage: Callable[..., Stage]) -> None:
    """It is left out and named at the end, and keeps what it has until it is back."""
    stage = new_stage(workers=3, over_ssh=True)  # so that the pods of a drained one find a place
    machines = Machines(stage)
    machines.off("w3")
    until(lambda: ready(stage.get("node", "w3")) != "True", what="w3 is not Ready")
    answer = machines.start("run", TARGET, "--yes").wait()
    assert answer.exit_code == 0, str(answer)
    [(node, why)] = answer.data["not_upgraded"].items()
    assert node == "w3"
    assert "its machine does not answer" in why
    assert stage.kubelet_versions() == {"cp1": TARGET, "w1": TARGET, "w2": TARGET, "w3": OLD}
    assert stage.states()[-1] == "completed"


def test_a_lost_machine_is_told_and_the_run_goes_on_once_it_is_back(lost: Machines) -> None:
    assert lost.stage.states()[-1] == "planned"
    lost.on("cp3")
    answer = lost.start("resume", "--yes").wait()
    assert answer.exit_code == 0, str(answer)
    assert lost.stage.states()[-1] == "completed"


def test_the_majority_goes_back_and_the_lost_machine_later(lost: Machines) -> None:
    stage = lost.stage
    answer = lost.start("rollback", "--confirm-cluster", "lab").wait()
    assert answer.exit_code == 6, str(answer)
    assert "cp3 is behind" in answer.error["message"]
    assert stage.states()[-1] == "rolling-back"
    assert stage.key(AFTER) is None
    served = stage.shell("cp1", "kubectl", "get", "--raw", "/version").stdout
    assert "v1.27.16" in served
    assert stage.outcomes("rollback/cp3/swap") == []

    again = lost.start("resume", "--yes").wait()
    assert again.exit_code == 6, str(again)

    lost.on("cp3")
    answer = lost.start("resume", "--yes").wait()
    assert answer.exit_code == 7, str(answer)
    assert_rolled_back(stage, stage.before)
    assert_data_went_back(stage)
    hashes = stage.hashes()
    assert set(hashes) == {"cp1", "cp2", "cp3"}
    assert len(set(hashes.values())) == 1


def test_a_machine_that_never_comes_back_is_given_up(lost: Machines) -> None:
    stage = lost.stage
    refused = lost.start("rollback", "--without", "cp2", "--confirm-cluster", "lab").wait()
    assert refused.exit_code == 3, str(refused)
    unknown = lost.start("rollback", "--without", "cp9", "--confirm-cluster", "lab").wait()
    assert unknown.exit_code == 2, str(unknown)
    answer = lost.start("rollback", "--without", "cp3", "--confirm-cluster", "lab").wait()
    assert answer.exit_code == 0, str(answer)
    assert stage.states()[-1] == "rolled-back"
    assert stage.outcomes("rollback/cp3/remove-member")[-1] == "succeeded"
    approvals = stage.rows("select how from approvals")
    assert "--without cp3" in [row["how"] for row in approvals]


def test_without_a_majority_nothing_is_touched(lost: Machines) -> None:
    stage = lost.stage
    lost.off("cp1")
    answer = lost.start("rollback", "--confirm-cluster", "lab").wait()
    assert answer.exit_code == 6, str(answer)
    assert "no majority" in answer.error["message"]
    assert stage.rows("select name from steps where name like 'rollback/%/stop-%'") == []
    lost.on("cp1")
    answer = lost.start("resume", "--yes").wait()
    assert answer.exit_code == 6, str(answer)
    assert "cp3 is behind" in answer.error["message"]


def test_a_machine_that_is_lost_during_the_restore_is_left_for_later(copied_stage: Callable[..., Stage]) -> None:
    stage = copied_stage(control_planes=3, over_ssh=True)
    machines = Machines(stage)
    stage.switch_on("apply-fails-after-etcd")
    assert machines.start("resume", "--yes", "--no-auto-rollback").wait().exit_code == 6
    with stage.held(stage.lab.layout.programs("cp3") / "crictl", "stop") as wait_for:
        going = machines.start("rollback", "--everything", "--confirm-cluster", "lab")
        wait_for(going)
        machines.off("cp3")
        answer = going.wait()
    assert answer.exit_code == 6, str(answer)
    assert "cp3 is behind" in answer.error["message"]
    machines.on("cp3")
    answer = machines.start("resume", "--yes").wait()
    assert answer.exit_code == 7, str(answer)
    assert_rolled_back(stage, stage.before)
    assert len(set(stage.hashes().values())) == 1
