"""Evidence that grew too old: a new snapshot is taken without being asked for, once."""

from __future__ import annotations

import signal
from datetime import UTC, datetime

from scenario.disks import Disks
from scenario.stage import TARGET, Stage, changed, until
from scenario.watched import Watched

MAX_AGE = 25.0


def wait_for_age(stage: Stage, seconds: float) -> None:
    """Until the newest proof is older."""
    proven = datetime.fromisoformat(
        stage.rows("select proven_at from proofs order by seq desc limit 1")[0]["proven_at"]
    )
    until(lambda: (datetime.now(UTC) - proven).total_seconds() > seconds, what="the age of the proof")


def test_old_evidence_is_taken_anew_and_the_run_goes_on(stage: Stage) -> None:
    truth = stage.truth()
    stage.configure(snapshot_max_age=f'"{MAX_AGE:.0f}s"')
    stage.guard("run", TARGET, ends=6)
    wait_for_age(stage, MAX_AGE)
    gate = stage.guard("status").data["gate"]
    assert gate["open"] is False
    assert any("old" in reason for reason in gate["reasons"]), gate
    watched = Watched.on(stage)
    watched.hold("plan", "cp1 kubeadm *upgrade plan *")
    going = stage.start("resume", "--yes")
    watched.await_held("plan", going)
    going.send(signal.SIGINT)
    watched.release("plan")
    answer = going.wait()
    assert answer.exit_code == 130, answer
    assert answer.data["state"] == "copied"
    told = stage.show()
    assert [move["event"] for move in told["transitions"]].count("evidence-expired") == 1
    assert len(told["snapshots"]) == len(told["proofs"]) == 2

    # A run whose journal was edited cannot be resumed, but it can be closed, and packages go back.
    with Disks.keep(stage).database() as connection:
        connection.execute("delete from proofs")
    answer = stage.guard("resume", "--yes", ends=3)
    assert "abort" in answer.error["hint"], answer
    assert stage.guard("abort", "--yes").data["state"] == "aborted"
    assert changed(truth, stage.truth()) == set()


def test_a_limit_shorter_than_the_taking_ends_with_a_refusal_and_not_in_a_circle(stage: Stage) -> None:
    """Each time, the packages are looked for until the proof is too old; on a slow machine it is so before that."""
    truth = stage.truth()
    stage.configure(snapshot_max_age='"3s"')
    watched = Watched.on(stage)
    watched.hold("first", "cp1 apt-cache *madison kubelet")
    going = stage.start("run", TARGET, "--yes")
    for name, then in (("first", "second"), ("second", "third")):
        if not watched.held_or_over(name, going):
            break
        watched.hold(then, "cp1 apt-cache *madison kubelet")
        wait_for_age(stage, 3.0)
        watched.release(name)
    answer = going.wait()
    assert answer.exit_code == 3, answer
    assert "snapshot_max_age" in answer.error["hint"], answer
    assert any("old" in reason for reason in answer.error["reasons"]), answer
    assert len(stage.show()["snapshots"]) == 2
    assert stage.guard("abort", "--yes").data["state"] == "aborted"
    assert stage.truth() == truth
