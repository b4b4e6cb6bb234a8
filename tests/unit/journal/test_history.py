"""What goes in comes out, in order."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from unit.journal.making import (
    MIDNIGHT,
    Clock,
    approval,
    begun,
    command,
    copy,
    done,
    moved,
    node,
    proof,
    snapshot,
    step,
)

from upgrade_guard.errors import UsageProblem
from upgrade_guard.journal import Journal
from upgrade_guard.model.command import Secret
from upgrade_guard.model.run import Event, Move, Outcome, Run, State


def test_a_run_begins_and_is_found_again(journal: Journal) -> None:
    run = begun(journal)
    assert run == Run(
        id="run-1",
        cluster="prod",
        from_version="v1.27.16",
        target="v1.28.0",
        state=State.STARTED,
        outcome="",
        started_at=MIDNIGHT,
        finished_at=None,
        offsite_required=1,
        snapshot_max_age=1800.0,
        settings={"upgrade": {"max_unavailable": 1}},
        operator="ada",
        host="bastion",
        tool_version="0.1.0",
    )
    assert journal.run("run-1") == run
    assert journal.open_run() == run


def test_an_id_is_given_once(journal: Journal) -> None:
    begun(journal)
    with pytest.raises(UsageProblem, match="already"):
        begun(journal)


def test_a_run_is_identified_once_the_cluster_was_seen(journal: Journal) -> None:
    begun(journal)
    journal.identify("run-1", cluster="staging", from_version="v1.27.3")
    assert (journal.run("run-1").cluster, journal.run("run-1").from_version) == ("staging", "v1.27.3")
    assert journal.verify() == ()


def test_the_beginning_of_an_id_is_enough_while_it_is_the_only_one(journal: Journal) -> None:
    for run_id in ("run-1", "run-12", "other_%"):
        begun(journal, run_id)
    assert journal.run("oth").id == "other_%"
    assert journal.run("run-1").id == "run-1"
    with pytest.raises(UsageProblem) as many:
        journal.run("run")
    assert many.value.reasons == ("run-1", "run-12")
    for nothing in ("", "%", "runs", "r_n"):
        with pytest.raises(UsageProblem, match="no run") as none:
            journal.run(nothing)
        assert "upgrade-guard history" in none.value.hint


def test_records_come_back_equal_and_in_order(journal: Journal) -> None:
    begun(journal)
    records = (node(), snapshot(), snapshot("bundle-2"), proof(ok=False), proof(), copy(), approval())
    done(journal, "snapshot/save", *records)
    journal.approve("run-1", approval())
    journal.note(command())
    assert journal.nodes("run-1") == (node(),)
    assert journal.snapshots("run-1") == (snapshot(), snapshot("bundle-2"))
    assert journal.proofs("run-1") == (proof(ok=False), proof())
    assert journal.copies("run-1") == (copy(),)
    assert journal.approvals("run-1") == (approval(), approval())
    (noted,) = journal.commands("run-1")
    assert noted.seq > 0
    assert (noted.argv, noted.exit_status, noted.duration) == (("etcdctl", "snapshot", "save"), None, 1.5)
    assert journal.verify() == ()


def test_what_a_step_left_behind_is_found_in_every_run(journal: Journal) -> None:
    for number, outcome in (("1", Outcome.SUCCEEDED), ("2", Outcome.FAILED), ("3", Outcome.SUCCEEDED)):
        begun(journal, f"run-{number}")
        attempt = journal.start(f"run-{number}", step("inspect/etcd-tools"))
        journal.conclude(f"run-{number}", "inspect/etcd-tools", attempt, outcome, result={"of": number})
        done(journal, "inspect/cluster", run_id=f"run-{number}")
    assert journal.results_of("inspect/etcd-tools") == ({"of": "1"}, {"of": "3"})
    assert journal.results_of("inspect/nothing") == ()


def test_times_come_back_in_utc(journal: Journal) -> None:
    begun(journal)
    local = datetime(2024, 5, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    done(journal, "proof/run", proof(at=local))
    (found,) = journal.proofs("run-1")
    assert (found.proven_at, found.proven_at.utcoffset()) == (MIDNIGHT, timedelta(0))


def test_a_naive_time_is_a_bug(journal: Journal) -> None:
    begun(journal)
    with pytest.raises(ValueError, match="time zone"):
        done(journal, "proof/run", proof(at=datetime(2024, 5, 1)))  # noqa: DTZ001
    assert journal.proofs("run-1") == ()


def test_attempts_are_counted_and_the_latest_is_known(journal: Journal) -> None:
    begun(journal)
    assert journal.latest("run-1", "plan/show") is None
    assert journal.start("run-1", step("plan/show", changes_node=True, lane="w1")) == 1
    journal.conclude("run-1", "plan/show", 1, Outcome.FAILED, detail="exit status 1")
    assert journal.start("run-1", step("plan/show", changes_node=True, lane="w1")) == 2
    latest = journal.latest("run-1", "plan/show")
    assert latest is not None
    assert (latest.attempt, latest.outcome, latest.lane, latest.changes_node) == (2, Outcome.STARTED, "w1", True)
    assert [(row.attempt, row.outcome, row.detail) for row in journal.steps("run-1")] == [
        (1, Outcome.STARTED, ""),
        (1, Outcome.FAILED, "exit status 1"),
        (2, Outcome.STARTED, ""),
    ]


def test_only_what_is_under_way_can_end(journal: Journal) -> None:
    begun(journal)
    done(journal, "plan/show")
    for name, attempt in (("plan/show", 1), ("plan/show", 2), ("plan/other", 1)):
        with pytest.raises(ValueError, match="not under way"):
            journal.conclude("run-1", name, attempt, Outcome.SUCCEEDED)


def test_facts_are_the_results_of_steps_that_count_as_done(journal: Journal) -> None:
    begun(journal)
    begun(journal, "run-2")
    done(journal, "a")
    done(journal, "b")
    done(journal, "c", run_id="run-2")
    journal.start("run-1", step("d"))
    journal.void("run-1", ("b", "never-started"), "its evidence expired")
    facts = journal.facts("run-1")
    assert facts.results == {"a": {"of": "a"}}
    assert facts.started == {"a", "b", "d"}
    latest = journal.latest("run-1", "b")
    assert latest is not None
    assert (latest.outcome, latest.detail, latest.attempt) == (Outcome.VOIDED, "its evidence expired", 1)
    assert journal.start("run-1", step("b")) == 2


def test_an_end_and_the_move_are_one(journal: Journal, clock: Clock) -> None:
    begun(journal)
    done(journal, "inspect/nodes", move=Move(Event.CLUSTER_INSPECTED, State.INSPECTED))
    clock.go_on(1)
    done(journal, "snapshot/save", move=Move(Event.SNAPSHOT_TAKEN, State.SNAPSHOTTED))
    transition = journal.move(
        "run-1", Move(Event.EVIDENCE_EXPIRED, State.INSPECTED, ("too old",), voids=("snapshot/save",))
    )
    assert journal.transitions("run-1")[-1] == transition
    assert [(row.event, row.from_state, row.to_state, row.reasons) for row in journal.transitions("run-1")] == [
        (Event.CLUSTER_INSPECTED, State.STARTED, State.INSPECTED, ()),
        (Event.SNAPSHOT_TAKEN, State.INSPECTED, State.SNAPSHOTTED, ()),
        (Event.EVIDENCE_EXPIRED, State.SNAPSHOTTED, State.INSPECTED, ("too old",)),
    ]
    assert not journal.facts("run-1").has("snapshot/save")
    assert journal.facts("run-1").has("inspect/nodes")
    assert journal.verify() == ()


def test_when_the_move_is_refused_the_end_is_not_recorded_either(journal: Journal) -> None:
    begun(journal)
    attempt = journal.start("run-1", step("plan/approve"))
    before = journal.head()
    with pytest.raises(Exception, match="no snapshot"):
        journal.conclude(
            "run-1", "plan/approve", attempt, Outcome.SUCCEEDED, move=Move(Event.PLAN_APPROVED, State.PLANNED)
        )
    assert journal.head() == before
    latest = journal.latest("run-1", "plan/approve")
    assert latest is not None
    assert latest.outcome is Outcome.STARTED


@pytest.mark.parametrize(
    ("state", "outcome", "finished"),
    [
        (State.COMPLETED, "completed", True),
        (State.ABORTED, "aborted", True),
        (State.ROLLED_BACK, "rolled-back", True),
        (State.ROLLBACK_FAILED, "rollback-failed", False),
        (State.ROLLING_BACK, "", False),
    ],
)
def test_a_final_state_ends_the_run(
    journal: Journal, clock: Clock, state: State, outcome: str, *, finished: bool
) -> None:
    begun(journal)
    clock.go_on(60)
    journal.move("run-1", moved(state))
    run = journal.run("run-1")
    assert (run.state, run.outcome, run.finished_at) == (state, outcome, clock.at if finished else None)
    assert (journal.open_run() is None) == finished


def test_a_rollback_that_is_taken_up_again_has_no_outcome(journal: Journal) -> None:
    begun(journal)
    journal.move("run-1", moved(State.ROLLBACK_FAILED))
    journal.move("run-1", moved(State.ROLLING_BACK))
    assert journal.run("run-1").outcome == ""


def test_runs_are_newest_first_and_can_be_chosen(journal: Journal, clock: Clock) -> None:
    for number in range(4):
        begun(journal, f"run-{number}", target=f"v1.{28 + number % 2}.0")
        clock.go_on(60)
    journal.move("run-0", moved(State.COMPLETED))

    def ids(runs: tuple[Run, ...]) -> list[str]:
        return [run.id for run in runs]

    assert ids(journal.runs()) == ["run-3", "run-2", "run-1", "run-0"]
    assert ids(journal.runs(limit=None)) == ["run-3", "run-2", "run-1", "run-0"]
    assert ids(journal.runs(limit=2)) == ["run-3", "run-2"]
    assert ids(journal.runs(outcome="completed")) == ["run-0"]
    assert ids(journal.runs(outcome="")) == ["run-3", "run-2", "run-1"]
    assert ids(journal.runs(target="v1.29.0", since=MIDNIGHT + timedelta(seconds=61))) == ["run-3"]
    assert journal.runs(cluster="other") == ()
    newest = journal.open_run()
    assert newest is not None
    assert newest.id == "run-3"


def test_output_that_is_no_text_is_kept_as_far_as_possible(journal: Journal) -> None:
    begun(journal)
    journal.note(command("run-1", "printf", "\udcff\x00ü"))
    done(journal, "plan/show")
    attempt = journal.start("run-1", step("plan/again"))
    journal.conclude("run-1", "plan/again", attempt, Outcome.FAILED, detail="bytes \udcff and \x00")
    latest = journal.latest("run-1", "plan/again")
    assert latest is not None
    assert latest.detail == "bytes \\udcff and \\x00"
    assert journal.commands("run-1")[0].argv == ("printf", "\udcff\x00ü")
    assert journal.verify() == ()


def test_a_secret_never_reaches_the_file(journal: Journal, path: Path) -> None:
    begun(journal)
    journal.note(command("run-1", "etcdctl", Secret("hunter2")))
    assert journal.commands("run-1")[0].argv == ("etcdctl", "***")
    assert b"hunter2" not in b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_a_result_that_json_cannot_say_is_a_bug(journal: Journal) -> None:
    begun(journal)
    attempt = journal.start("run-1", step("plan/show"))
    with pytest.raises(TypeError):
        journal.conclude("run-1", "plan/show", attempt, Outcome.SUCCEEDED, result={"path": Path("/tmp")})
    latest = journal.latest("run-1", "plan/show")
    assert latest is not None
    assert latest.outcome is Outcome.STARTED


def test_rows_of_a_run_that_does_not_exist_are_refused(journal: Journal) -> None:
    for write in (
        lambda: journal.note(command("nobody")),
        lambda: journal.start("nobody", step("a")),
        lambda: journal.move("nobody", moved(State.INSPECTED)),
        lambda: journal.approve("nobody", approval()),
        lambda: journal.identify("nobody", cluster="", from_version=""),
    ):
        with pytest.raises(UsageProblem, match="no run 'nobody'"):
            write()


def test_a_bundle_is_known_over_all_runs_by_its_newest_proof_and_copies(journal: Journal) -> None:
    begun(journal)
    done(journal, "a", snapshot("kept"), proof("kept"), copy("kept", read_back=False), copy("kept", "file:///mnt"))
    done(journal, "b", snapshot("spoiled"), proof("spoiled"))
    begun(journal, "run-2")
    done(journal, "c", copy("kept"), proof("spoiled", ok=False), snapshot("new"), run_id="run-2")
    kept, spoiled, new = journal.recorded()
    assert [(one.snapshot.bundle, one.run_id, one.proven) for one in (kept, spoiled, new)] == [
        ("kept", "run-1", True),
        ("spoiled", "run-1", False),
        ("new", "run-2", False),
    ]
    assert [(one.target, one.read_back) for one in kept.copies] == [("ssh://nas/etcd", True), ("file:///mnt", True)]
    assert (spoiled.copies, new.proof) == ((), None)


def test_a_proof_of_another_snapshot_proves_nothing(journal: Journal) -> None:
    begun(journal)
    done(journal, "a", snapshot("kept"), proof("kept", "f" * 64))
    assert [one.proven for one in journal.recorded()] == [False]
