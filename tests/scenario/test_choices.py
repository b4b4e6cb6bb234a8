"""What an operator configured or typed decides how a failed upgrade goes on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from scenario.ends import (
    AFTER,
    OLD,
    assert_completed,
    assert_data_went_back,
    assert_rolled_back,
    assert_untouched,
)
from scenario.stage import TARGET, Stage, changed, until


def test_a_failed_worker_is_left_as_it_is_until_the_operator_rolls_back(copied_stage: Callable[..., Stage]) -> None:
    stage = copied_stage()
    stage.switch_on("kubelet-fails-worker")
    stage.configure(on_node_failure='"pause"', ready_timeout='"15s"')

    stopped = stage.go_on(ends=6)
    assert stopped.data["state"] == "control-plane-upgraded"
    assert "upgrade-guard" in stopped.error["hint"]
    assert "rollback" in stopped.error["hint"]
    assert stage.node_truth("w1")["packages"]["kubelet"].startswith(TARGET[1:])
    assert stage.unschedulable() == {"w1"}
    stage.put_key(AFTER, "written after the snapshot")

    asked = stage.guard("rollback", "--yes", ends=6)
    assert "--confirm-cluster" in asked.error["hint"]
    assert stage.states()[-1] == "control-plane-upgraded"
    wrong = stage.guard("rollback", "--confirm-cluster", "production", ends=None)
    assert wrong.exit_code in (2, 3, 6), wrong
    assert stage.states()[-1] == "control-plane-upgraded"

    done = stage.guard("rollback", "--confirm-cluster", "lab")
    assert done.data["outcome"] == "rolled-back"
    assert_rolled_back(stage, stage.before)
    assert_data_went_back(stage)
    assert "--confirm-cluster" in [approval["how"] for approval in stage.show()["approvals"]]


def test_a_failed_worker_takes_the_whole_cluster_back_where_that_is_wanted(copied_stage: Callable[..., Stage]) -> None:
    stage = copied_stage()
    stage.switch_on("drain-blocked")
    stage.configure(on_node_failure='"rollback-cluster"', drain_timeout='"3s"')
    ended = stage.go_on(ends=7)
    assert ended.data["state"] == "rolled-back"
    assert_rolled_back(stage, stage.before)
    assert_data_went_back(stage)


def test_a_failed_verification_can_wait_for_the_operator(copied_stage: Callable[..., Stage]) -> None:
    stage = copied_stage()
    stage.switch_on("workload-broken")
    stage.configure(ready_timeout='"15s"')
    stopped = stage.go_on(ends=6)
    assert stopped.data["state"] == "nodes-upgraded"
    assert "ledger" in " ".join((stopped.error["message"], *stopped.error["reasons"]))
    assert stage.kubelet_versions() == {"cp1": TARGET, "w1": TARGET}
    status = stage.guard("status").data
    assert status["state"] == "nodes-upgraded"
    stage.switch_off("workload-broken")
    stage.guard("resume", "--yes")
    assert_completed(stage)


def test_a_failed_verification_takes_the_cluster_back_where_that_is_wanted(copied_stage: Callable[..., Stage]) -> None:
    stage = copied_stage()
    stage.switch_on("workload-broken")
    stage.configure(on_verify_failure='"rollback-cluster"', ready_timeout='"15s"')
    ended = stage.go_on(ends=7)
    assert ended.data["state"] == "rolled-back"
    assert_rolled_back(stage, stage.before)
    assert_data_went_back(stage)


def test_without_automatic_rollback_the_operator_is_asked(copied_stage: Callable[..., Stage]) -> None:
    stage = copied_stage()
    stage.switch_on("apply-fails-after-etcd")
    stopped = stage.go_on("--no-auto-rollback", ends=6)
    assert stopped.data["state"] == "planned"
    assert "rolling-back" not in stage.states()
    assert "rollback" in stopped.error["hint"]
    stage.put_key(AFTER, "written after the snapshot")

    refused = stage.guard("abort", "--yes", ends=3)
    assert "rollback" in refused.error["hint"]
    assert stage.states()[-1] == "planned"

    stage.guard("rollback", "--confirm-cluster", "lab")
    assert_rolled_back(stage, stage.before)
    assert_data_went_back(stage)


def test_a_run_is_closed_while_the_control_plane_is_untouched(stage: Stage) -> None:
    before = stage.truth()
    asked = stage.guard("run", TARGET, ends=6)
    assert "--yes" in asked.error["hint"] + asked.error["message"]
    assert asked.data["state"] == "copied"
    assert changed(before, stage.truth()) == set(), "nothing before the yes"

    # Held while the gate is judged for `planned`: an interrupt then comes in the middle of the last step.
    last = "plan/cp1/packages-available"
    with ExitStack() as held:
        with stage.held(stage.lab.layout.programs("cp1") / "apt-cache", "madison kubelet") as at_the_last_step:
            going = stage.start("resume", "--yes")
            at_the_last_step(going)
            assert stage.outcomes(last)[-1] == "started"
            hold = held.enter_context(stage.held_etcdctl("cp1", "endpoint status"))
        hold(going)
        assert stage.outcomes(last)[-1] == "started"
        going.send(signal.SIGINT)
        until(lambda: "SIGINT: stopping" in going.complained.read_text(), what="its word that it stops")
    assert going.wait().exit_code == 130
    assert stage.states()[-1] == "planned"
    assert stage.outcomes("control-plane/cp1/apply") == []
    assert stage.guard("status").data["state"] == "planned"
    assert changed(before, stage.truth()) == {"cp1 packages kubeadm", "cp1 etc apt/sources.list.d/kubernetes.list"}

    closed = stage.guard("abort", "--yes")
    assert closed.data["outcome"] == "aborted"
    assert_untouched(stage, before)
    assert stage.kubelet_versions() == {"cp1": OLD, "w1": OLD}
    assert stage.guard("abort", "--yes", ends=3).error["message"].startswith("no run is open")


def test_a_version_that_is_reached_already_needs_no_run(new_stage: Callable[..., Stage]) -> None:
    stage = new_stage()
    before = stage.truth()

    answer = stage.guard("run", OLD, "--yes")

    assert answer.data is None
    assert stage.guard("history").data == []
    assert stage.truth() == before


def test_a_copy_that_is_away_does_not_end_an_upgrade_that_has_begun(copied_stage: Callable[..., Stage]) -> None:
    stage = copied_stage()
    offsite = Path(stage.lab.settings.offsite)
    with stage.held(stage.lab.layout.programs("cp1") / "kubeadm", "upgrade apply") as wait_for:
        going = stage.start("resume", "--yes")
        wait_for(going)
        going.send(signal.SIGKILL)
        going.wait()
        away = offsite.rename(offsite.with_name(f"{offsite.name}-away"))
    try:
        answer = stage.guard("resume", "--yes")
    finally:
        away.rename(offsite)
    assert "whole on this machine" in answer.stderr
    assert str(offsite) in answer.stderr
    assert_completed(stage)
