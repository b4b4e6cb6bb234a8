"""Evidence that grew too old: a new snapshot is taken without being asked for, once."""

from __future__ import annotations

import signal
from datetime import UTC, datetime

from scenario.stage import TARGET, Stage, until
from scenario.watched import Watched

MAX_AGE = 25.0


def test_old_evidence_is_taken_anew_and_the_run_goes_on(stage: Stage) -> None:
    stage.configure(snapshot_max_age=f'"{MAX_AGE:.0f}s"')
    stage.guard("run", TARGET, ends=6)
    proven = datetime.fromisoformat(stage.show()["proofs"][-1]["proven_at"])
    until(lambda: (datetime.now(UTC) - proven).total_seconds() > MAX_AGE, what="the age of the proof")
    gate = stage.guard("status").data["gate"]
    assert gate["open"] is False
    assert any("old" in reason for reason in gate["reasons"]), gate
    watched = Watched.on(stage)
    watched.hold("plan", "cp1 kubeadm upgrade plan *")
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
    assert stage.guard("abort", "--yes").data["state"] == "aborted"


def test_a_limit_shorter_than_the_taking_ends_with_a_refusal_and_not_in_a_circle(stage: Stage) -> None:
    truth = stage.truth()
    stage.configure(snapshot_max_age='"1s"')
    answer = stage.guard("run", TARGET, "--yes", ends=3)
    assert "snapshot_max_age" in answer.error["hint"], answer
    assert any("old" in reason for reason in answer.error["reasons"]), answer
    assert len(stage.show()["snapshots"]) == 2
    assert stage.guard("abort", "--yes").data["state"] == "aborted"
    assert stage.truth() == truth
