"""Every fault of the lab comes to its documented end, and what must hold then holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from scenario.ends import (
    AFTER,
    BEFORE,
    OLD,
    assert_completed,
    assert_data_went_back,
    assert_no_data_was_restored,
    assert_rolled_back,
    assert_untouched,
    commands_with,
)
from scenario.machines import Machines
from scenario.stage import TARGET, Answer, Stage, changed

from upgrade_guard.lab.faults import FAULTS, Fault


@dataclass
class Ended:
    """A run that met a fault: how the command ended, and how the nodes were before it."""

    stage: Stage
    fault: str
    answer: Answer
    before: dict[str, Any]


@dataclass(frozen=True)
class End:
    """What a fault must come to. `says` is in the error's message or reasons, `then` looks at everything else.

    `settings` shorten the one wait that the fault is about, `others` are faults that come with it, `lab` makes its lab.
    """

    exit_code: int
    state: str
    says: str
    then: Callable[[Ended], None]
    settings: Mapping[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    lab: Mapping[str, Any] = field(default_factory=dict)


def nothing_was_changed(ended: Ended) -> None:
    stage = ended.stage
    assert_untouched(stage, ended.before)
    assert stage.rows("select name from steps where changes_node") == []
    assert stage.guard("status").data["state"] == ended.answer.data["state"]


def once_it_is_there_resume_completes(ended: Ended) -> None:
    nothing_was_changed(ended)
    ended.stage.switch_off(ended.fault)
    ended.stage.guard("resume", "--yes")
    assert_completed(ended.stage)


def a_new_snapshot_completes(ended: Ended) -> None:
    nothing_was_changed(ended)
    stage = ended.stage
    spoilt = stage.rows("select bundle from snapshots")
    stage.switch_off(ended.fault)
    stage.guard("resume", "--yes")
    assert_completed(stage)
    taken = stage.rows("select bundle from snapshots")
    assert len(taken) == len(spoilt) + 1
    assert stage.rows("select bundle from proofs where ok")[-1:] == taken[-1:]
    assert taken[-1] not in spoilt


def only_packages_went_back(ended: Ended) -> None:
    assert_rolled_back(ended.stage, ended.before)
    assert ended.stage.key(AFTER) == "written after the snapshot"
    assert_no_data_was_restored(ended.stage)


def everything_went_back(ended: Ended) -> None:
    assert ended.answer.data["outcome"] == "rolled-back"
    assert_rolled_back(ended.stage, ended.before)
    assert_data_went_back(ended.stage)


def everything_went_back_and_a_second_run_completes(ended: Ended) -> None:
    everything_went_back(ended)
    [first] = ended.stage.guard("history").data
    ended.stage.switch_off(ended.fault)
    ended.stage.run()
    assert_completed(ended.stage)
    second, again = ended.stage.guard("history").data
    assert second["outcome"] == "completed"
    assert again == first


def everything_is_new(ended: Ended) -> None:
    assert_completed(ended.stage)
    applied = ended.stage.rows("select argv from commands where argv like '%upgrade%apply%'")
    assert len(applied) == 2


def the_operator_decides_for_a_rollback(ended: Ended) -> None:
    stage = ended.stage
    assert stage.kubelet_versions() == {"cp1": TARGET, "w1": TARGET}
    assert "rolling-back" not in stage.states()
    done = stage.guard("rollback", "--confirm-cluster", "lab")
    assert done.data["outcome"] == "rolled-back"
    assert_rolled_back(stage, ended.before)
    assert_data_went_back(stage)


def the_worker_went_back(ended: Ended) -> None:
    stage = ended.stage
    assert changed(ended.before["w1"], stage.node_truth("w1")) == set()
    assert stage.kubelet_versions() == {"cp1": TARGET, "w1": OLD}
    assert stage.unschedulable() == set()
    assert stage.waiting_pods() == []
    assert stage.key(AFTER) == "written after the snapshot"
    assert "Put back: w1" in ended.answer.error["message"]


def the_worker_went_back_and_resume_completes(ended: Ended) -> None:
    the_worker_went_back(ended)
    ended.stage.switch_off(ended.fault)
    ended.stage.guard("resume", "--yes")
    assert_completed(ended.stage)


def the_restore_was_done_again(ended: Ended) -> None:
    everything_went_back(ended)
    assert len(list(ended.stage.lab.layout.etcd("cp1").parent.glob("etcd*-partial-*"))) == 1, "kept aside"


def resume_completes_the_rollback(ended: Ended) -> None:
    stage = ended.stage
    assert stage.guard("status").data["state"] == "rollback-failed"
    assert "resume" in ended.answer.error["hint"]
    stage.switch_off(ended.fault)
    again = stage.guard("resume", "--yes", ends=7)
    everything_went_back(Ended(stage, ended.fault, again, ended.before))


def the_machine_comes_back_and_resume_completes(ended: Ended) -> None:
    ended.stage.switch_off("machine-lost")
    answer = Machines(ended.stage).start("resume", "--yes").wait()
    assert answer.exit_code == 0, str(answer)


def the_kubelet_went_back_alone_and_resume_completes(ended: Ended) -> None:
    """The old kubelet under the new control plane; etcd's data was left alone."""
    stage = ended.stage
    assert "Only kubelet of cp1 went back: every control plane serves" in ended.answer.error["message"]
    assert stage.kubelet_versions() == {"cp1": OLD, "w1": OLD}
    assert stage.unschedulable() == set()
    assert stage.key(AFTER) == "written after the snapshot"
    assert_no_data_was_restored(stage)
    stage.switch_off("kubelet-fails-control-plane")
    stage.guard("resume", "--yes")
    assert_completed(stage)
    assert len(commands_with(stage.show()["commands"], "kubeadm", "upgrade", "apply")) == 1


def the_second_went_back_alone_and_resume_completes(ended: Ended) -> None:
    """cp1 is new, cp2 and cp3 are old, all of them serve, and etcd's data was left alone."""
    stage = ended.stage
    assert "Only cp2 went back: the other control planes serve" in ended.answer.error["message"]
    assert stage.kubelet_versions() == {"cp1": TARGET, "cp2": OLD, "cp3": OLD, "w1": OLD}
    assert stage.unschedulable() == set()
    assert stage.key(AFTER) == "written after the snapshot"
    assert len(set(stage.hashes().values())) == 1
    assert changed({"cp2": ended.before["cp2"]}, {"cp2": stage.node_truth("cp2")}) == set()
    stage.switch_off("second-apiserver-never-ready")
    stage.guard("resume", "--yes")
    assert_completed(stage)
    assert_no_data_was_restored(stage)


# These strike before the approval, or must be there from the start; the others are met by a run that has come to it.
OF_THE_WHOLE_RUN = {
    "machine-lost",
    "snapshot-truncated",
    "snapshot-flipped-byte",
    "offsite-copy-differs",
    "etcd-alarm",
    "certificate-expired",
    "plan-refuses",
    "image-missing",
    "package-missing",
    "apply-fails-after-etcd",
}
SHORT_READY = {"ready_timeout": '"15s"'}
ENDS: dict[str, End] = {
    "machine-lost": End(
        4,
        "planned",
        "cp3",
        the_machine_comes_back_and_resume_completes,
        lab={"control_planes": 3, "over_ssh": True},
    ),
    "snapshot-truncated": End(4, "inspected", "is cut short", a_new_snapshot_completes),
    "snapshot-flipped-byte": End(4, "inspected", "does not match the SHA-256", nothing_was_changed),
    "offsite-copy-differs": End(4, "inspected", "does not read back equal", nothing_was_changed),
    "etcd-alarm": End(3, "started", "etcd has the alarm NOSPACE", nothing_was_changed),
    "certificate-expired": End(3, "started", "expired: apiserver", nothing_was_changed),
    "plan-refuses": End(4, "copied", "kubeadm upgrade plan", once_it_is_there_resume_completes),
    "image-missing": End(
        4, "copied", "cp1 lacks registry.k8s.io/kube-apiserver:v1.", once_it_is_there_resume_completes
    ),
    "package-missing": End(4, "copied", "kubelet v1.28.0 cannot be had on cp1", once_it_is_there_resume_completes),
    "apply-fails-before-change": End(7, "rolled-back", "CreateJob", only_packages_went_back),
    "apply-fails-once": End(0, "completed", "", everything_is_new),
    "apply-fails-after-etcd": End(
        7, "rolled-back", "connection refused", everything_went_back_and_a_second_run_completes
    ),
    "apply-hangs": End(7, "rolled-back", "did not end within 10 s", everything_went_back, {"apply_timeout": '"10s"'}),
    "apiserver-never-ready": End(7, "rolled-back", "kube-apiserver", everything_went_back),
    "second-apiserver-never-ready": End(
        6,
        "planned",
        "the new kube-apiserver on cp2 crash-loops",
        the_second_went_back_alone_and_resume_completes,
        lab={"control_planes": 3},
    ),
    "scheduler-crashes": End(7, "rolled-back", "the new kube-scheduler on cp1 crash-loops", everything_went_back),
    "kubelet-fails-control-plane": End(
        6,
        "planned",
        "the kubelet of cp1 does not come up",
        the_kubelet_went_back_alone_and_resume_completes,
        SHORT_READY,
    ),
    "kubelet-fails-worker": End(
        6,
        "control-plane-upgraded",
        "the kubelet of w1 does not come up",
        the_worker_went_back_and_resume_completes,
        SHORT_READY,
    ),
    "drain-blocked": End(
        6,
        "control-plane-upgraded",
        "drain",
        the_worker_went_back,
        {"drain_timeout": '"3s"'},
    ),
    "workload-broken": End(6, "nodes-upgraded", "ledger", the_operator_decides_for_a_rollback, SHORT_READY),
    "restore-fails-once": End(
        7, "rolled-back", "connection refused", the_restore_was_done_again, others=("apply-fails-after-etcd",)
    ),
    "restore-fails": End(
        8, "rollback-failed", "no space left", resume_completes_the_rollback, others=("apply-fails-after-etcd",)
    ),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_ends_as_documented(
    fault: Fault, new_stage: Callable[..., Stage], copied_stage: Callable[..., Stage]
) -> None:
    assert fault.name in ENDS, f"say in ENDS what {fault.name} must come to"
    end = ENDS[fault.name]
    assert f"exit {end.exit_code}" in fault.ends
    assert f"state {end.state}" in fault.ends
    if fault.name in OF_THE_WHOLE_RUN:
        stage = new_stage(**end.lab)
        stage.put_key(BEFORE, "written before the run")
        words = ("run", TARGET, "--yes")
    else:
        stage = copied_stage(**end.lab)
        assert stage.truth() == stage.before, "nothing before the approval"
        words = ("resume", "--yes")
    stage.configure(**end.settings)
    for name in (fault.name, *end.others):
        stage.switch_on(name)
    before = stage.truth()
    going = Machines(stage).start(*words)
    if stage.reaches("planned", going):
        stage.put_key(AFTER, "written after the snapshot")
    answer = going.wait()
    assert answer.exit_code == end.exit_code, str(answer)
    assert (answer.data["state"], answer.data["from"]) == (end.state, OLD)
    if end.exit_code:
        assert end.says in " ".join((answer.error["message"], *answer.error["reasons"])), str(answer)
        assert answer.error["hint"]
    end.then(Ended(stage, fault.name, answer, before))


def test_every_expectation_is_about_a_fault() -> None:
    assert set(ENDS) == {fault.name for fault in FAULTS} > OF_THE_WHOLE_RUN
