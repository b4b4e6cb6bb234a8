"""Three control planes and a worker: one etcd cluster, which goes forward and back as one."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from scenario.ends import (
    AFTER,
    BEFORE,
    OLD,
    assert_completed,
    assert_data_went_back,
    assert_no_data_was_restored,
    assert_rolled_back,
    commands_with,
)
from scenario.stage import Stage

PLANES = ("cp1", "cp2", "cp3")


@pytest.fixture
def three(copied_stage: Callable[..., Stage]) -> Stage:
    """It asks for its approval."""
    return copied_stage(control_planes=3)


def assert_one_mind(stage: Stage) -> None:
    """Every member has the same content, and each serves what the others have."""
    hashes = stage.hashes()
    assert set(hashes) == set(PLANES)
    assert len(set(hashes.values())) == 1, hashes
    assert {stage.key(BEFORE, node) for node in PLANES} == {"written before the run"}


def test_an_upgrade_goes_from_one_control_plane_to_the_next(new_stage: Callable[..., Stage]) -> None:
    three = new_stage(control_planes=3)
    three.put_key(BEFORE, "written before the run")
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


def test_a_failure_on_the_first_takes_it_back_alone_while_the_others_serve(three: Stage) -> None:
    """The others never were new: going back needs no restore, and what was written meanwhile is still there."""
    three.switch_on("apply-fails-after-etcd")
    going = three.start("resume", "--yes")
    three.await_state("planned", going)
    three.put_key(AFTER, "written after the snapshot", "cp3")
    answer = going.wait()
    assert answer.exit_code == 7, str(answer)
    assert_rolled_back(three, three.before)
    assert three.key(AFTER) == "written after the snapshot"
    assert_no_data_was_restored(three)
    assert_one_mind(three)
    [choice] = [step for step in three.show()["steps"] if step["name"] == "rollback/path" and step["result"]]
    assert choice["result"]["path"] == "alone"


def test_one_that_cannot_go_back_alone_is_a_persons_to_decide(three: Stage) -> None:
    """The others serve the old version, so etcd's data goes back only where a person wants it."""
    programs = three.lab.layout.programs("cp1")
    for program in ("apt-get", "dpkg"):
        three.put_before(
            programs / program,
            f'case "$*" in *install*{OLD[1:]}*) [ -e "$0-mended" ] || exit 1;; esac; exec "$real" "$@"',
        )
    three.switch_on("apply-fails-after-etcd")
    going = three.start("resume", "--yes")
    three.await_state("planned", going)
    three.put_key(AFTER, "written after the snapshot", "cp3")
    answer = going.wait()
    assert answer.exit_code == 6, str(answer)
    assert "the other control planes serve the old version" in answer.error["message"]
    assert "rollback --everything --confirm-cluster lab`" in answer.error["hint"]
    assert three.key(AFTER, "cp3") == "written after the snapshot"
    for program in ("apt-get", "dpkg"):
        (programs / f"{program}-mended").touch()
    three.guard("rollback", "--everything")
    assert_rolled_back(three, three.before)
    assert_data_went_back(three)
    assert_one_mind(three)
    assert any("Take everything of lab back" in one["subject"] for one in three.show()["approvals"])


def killed_while_packages_go_back(stage: Stage, node: str) -> None:
    """`resume`, killed with `kill -9` when dpkg is to put the old packages of that node back."""
    with stage.held(stage.lab.layout.programs(node) / "dpkg", "install") as begun:
        going = stage.start("resume", "--yes")
        begun(going)
        going.send(signal.SIGKILL)
        going.wait()


def test_one_that_goes_back_alone_is_finished_after_a_kill(three: Stage) -> None:
    three.switch_on("apply-fails-after-etcd")
    killed_while_packages_go_back(three, "cp1")
    answer = three.guard("resume", "--yes", ends=7)
    assert "was rolled back" in answer.error["message"]
    assert_rolled_back(three, three.before)
    assert_no_data_was_restored(three)
    assert_one_mind(three)


def test_a_further_one_that_goes_back_is_finished_after_a_kill_and_tried_again(three: Stage) -> None:
    three.switch_on("second-apiserver-never-ready")
    killed_while_packages_go_back(three, "cp2")
    three.switch_off("second-apiserver-never-ready")
    three.guard("resume", "--yes")
    assert_completed(three)
    assert three.outcomes("control-plane/cp2/put-back/uncordon") == ["started", "succeeded", "voided"]
    assert_no_data_was_restored(three)
    assert_one_mind(three)


def test_a_failure_on_the_second_is_a_persons_to_decide_while_all_serve(three: Stage) -> None:
    """kubeadm is tried once more; then nothing is taken back by itself, and a rollback takes all three."""
    three.fail_after("cp2", "kubeadm", "upgrade node")
    going = three.start("resume", "--yes")
    three.await_outcome("control-plane/cp1/uncordon", "succeeded", going)
    three.put_key(AFTER, "written after the snapshot", "cp3")
    answer = going.wait()
    assert answer.exit_code == 6, str(answer)
    assert "Nothing was taken back: every control plane serves" in answer.error["message"]
    assert len(commands_with(three.show()["commands"], "kubeadm", "upgrade", "node")) == 2
    assert three.outcomes("control-plane/cp3/upgrade-node") == []
    three.guard("rollback", "--confirm-cluster", "lab")
    assert_rolled_back(three, three.before)
    assert_data_went_back(three)
    assert_one_mind(three)
