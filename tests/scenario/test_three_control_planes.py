"""Three control planes and a worker: one etcd cluster, which goes forward and back as one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scenario.ends import (
    AFTER,
    BEFORE,
    assert_completed,
    assert_data_went_back,
    assert_rolled_back,
    commands_with,
)
from scenario.stage import TARGET, Stage

PLANES = ("cp1", "cp2", "cp3")


@pytest.fixture
def three(new_stage: Callable[..., Stage]) -> Stage:
    stage = new_stage(control_planes=3)
    stage.put_key(BEFORE, "written before the run")
    return stage


def assert_one_mind(stage: Stage) -> None:
    """Every member has the same content, and each serves what the others have."""
    hashes = stage.hashes()
    assert set(hashes) == set(PLANES)
    assert len(set(hashes.values())) == 1, hashes
    assert {stage.key(BEFORE, node) for node in PLANES} == {"written before the run"}


def test_an_upgrade_goes_from_one_control_plane_to_the_next(three: Stage) -> None:
    answer = three.run()
    assert (answer.data["state"], answer.data["outcome"]) == ("completed", "completed")
    assert three.states() == [
        "inspected",
        "snapshotted",
        "verified",
        "copied",
        "planned",
        "control-plane-upgraded",
        "nodes-upgraded",
        "completed",
    ]
    assert_completed(three)
    assert_one_mind(three)
    commands = three.show()["commands"]
    [apply] = commands_with(commands, "kubeadm", "upgrade", "apply")
    nodes = commands_with(commands, "kubeadm", "upgrade", "node")
    assert [command["host"] for command in (apply, *nodes)] == ["cp1", "cp2", "cp3", "w1"]
    kubelets = [command["host"] for command in commands_with(commands, "systemctl", "restart", "kubelet")]
    assert kubelets == ["cp1", "cp2", "cp3", "w1"]


def test_a_failure_on_the_first_takes_all_three_back(three: Stage) -> None:
    before = three.truth()
    three.switch_on("apply-fails-after-etcd")
    going = three.start("run", TARGET, "--yes")
    three.await_state("planned", going)
    three.put_key(AFTER, "written after the snapshot", "cp3")
    answer = going.wait()
    assert answer.exit_code == 7, str(answer)
    assert_rolled_back(three, before)
    assert_data_went_back(three)
    assert_one_mind(three)


def test_a_failure_on_the_second_is_a_persons_to_decide_while_all_serve(three: Stage) -> None:
    """kubeadm is tried once more; then nothing is taken back by itself, and a rollback takes all three."""
    before = three.truth()
    three.fail_after("cp2", "kubeadm", "upgrade node")
    going = three.start("run", TARGET, "--yes")
    three.await_outcome("control-plane/cp1/uncordon", "succeeded", going)
    three.put_key(AFTER, "written after the snapshot", "cp3")
    answer = going.wait()
    assert answer.exit_code == 6, str(answer)
    assert "Nothing was taken back: every control plane serves" in answer.error["message"]
    assert len(commands_with(three.show()["commands"], "kubeadm", "upgrade", "node")) == 2
    assert three.outcomes("control-plane/cp3/upgrade-node") == []
    three.guard("rollback", "--confirm-cluster", "lab")
    assert_rolled_back(three, before)
    assert_data_went_back(three)
    assert_one_mind(three)
