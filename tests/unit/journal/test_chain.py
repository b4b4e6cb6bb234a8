"""History cannot be changed in place, and what was changed behind its back shows."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.journal.making import (
    approval,
    begun,
    by_hand,
    command,
    copy,
    done,
    moved,
    node,
    proof,
    snapshot,
)

from upgrade_guard.errors import JournalProblem
from upgrade_guard.journal import Journal
from upgrade_guard.journal.chain import GENESIS, HISTORY, TABLES
from upgrade_guard.model.run import State


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with rows in every table: run-1 has rows 1 to 14, run-2 15 to 18, run-1 once more 19 and 20."""
    path = tmp_path_factory.mktemp("story") / "journal.sqlite"
    with Journal.open(path) as journal:
        tell(journal)
    return path


@pytest.fixture
def told(story: Path, path: Path) -> Path:
    path.parent.mkdir(mode=0o700)
    shutil.copy(story, path)
    return path


@pytest.fixture
def journal(path: Path, request: pytest.FixtureRequest) -> Iterator[Journal]:
    """The story where a test asks for it, else an empty one."""
    if "told" in request.fixturenames:
        request.getfixturevalue("told")
    with Journal.open(path) as opened:
        yield opened


def tell(journal: Journal) -> None:
    begun(journal)
    done(journal, "a", node(), snapshot(), proof(), copy(), move=moved(State.INSPECTED))
    journal.note(command())
    journal.approve("run-1", approval())
    done(journal, "b")
    journal.approve("run-1", approval())
    journal.note(command())
    begun(journal, "run-2")
    done(journal, "a", run_id="run-2")
    journal.note(command("run-2"))
    done(journal, "c")


def test_every_table_has_rows_and_all_of_it_holds(told: Path, journal: Journal) -> None:
    connection = sqlite3.connect(told)
    for table in TABLES:
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() > (0,), table
    assert connection.execute("SELECT seq FROM chain").fetchone() == (20,)
    connection.close()
    assert journal.verify() == ()
    assert journal.edited("run-1") == ()
    assert journal.edited("run-2") == ()
    assert journal.edited("nobody") == ()


def test_an_empty_journal_holds(journal: Journal) -> None:
    assert (journal.verify(), journal.head()) == ((), GENESIS)


def test_the_head_changes_with_every_row(journal: Journal) -> None:
    heads = [journal.head()]
    begun(journal)
    heads.append(journal.head())
    done(journal, "a")
    heads.append(journal.head())
    journal.identify("run-1", cluster="x", from_version="y")
    assert len({*heads}) == 3
    assert journal.head() == heads[-1]


@pytest.mark.parametrize("table", HISTORY)
@pytest.mark.parametrize("statement", ["UPDATE {} SET at = ''", "DELETE FROM {}", "UPDATE {} SET digest = ''"])
def test_rows_of_history_are_neither_changed_nor_removed(told: Path, table: str, statement: str) -> None:
    refuses(told, statement.format(table))


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM runs",
        "UPDATE runs SET offsite_required = 0",
        "UPDATE runs SET snapshot_max_age = 1e9",
        "UPDATE runs SET settings = '{}'",
        "DELETE FROM chain",
        "INSERT OR REPLACE INTO proofs SELECT * FROM proofs",
        "REPLACE INTO steps SELECT * FROM steps",
        "INSERT INTO approvals SELECT seq + 100, run_id, at, subject, by, how, said, at, 'x', 'x' FROM approvals",
    ],
)
def test_there_is_no_way_around(told: Path, statement: str) -> None:
    refuses(told, statement)


def refuses(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    try:
        with pytest.raises(sqlite3.IntegrityError, match="append-only: "):
            connection.execute(statement)
    finally:
        connection.close()


SPOILED = {
    "a proof that failed now succeeded": (
        ["UPDATE proofs SET ok = 0"],
        "row 6 (proofs, run run-1) was edited: its content does not give its digest; with ok = 1 it would",
    ),
    "a step ended otherwise": (
        ["UPDATE steps SET outcome = 'failed' WHERE seq = 3"],
        "row 3 (steps, run run-1) was edited: its content does not give its digest; with outcome = 'succeeded'",
    ),
    "a command ended well": (
        ["UPDATE commands SET exit_status = 0 WHERE seq = 9"],
        "row 9 (commands, run run-1) was edited: its content does not give its digest; with exit_status = NULL",
    ),
    "the policy of a run was loosened": (
        ["UPDATE runs SET offsite_required = 0 WHERE id = 'run-1'"],
        "row 1 (runs, run run-1) was edited: its content does not give its digest; with offsite_required = 1 it would",
    ),
    "an edited row with a digest of its own": (
        [f"UPDATE copies SET target = 'x', digest = '{'f' * 64}'"],
        "row 7 (copies, run run-1) was edited: its content does not give its digest",
    ),
    "a row whose content is bytes": (["UPDATE copies SET target = x'ff'"], "row 7 (copies, run run-1) was edited"),
    "a row replaced by another": (
        ["UPDATE approvals SET previous = (SELECT digest FROM copies) WHERE seq = 10"],
        "row 10 (approvals",
    ),
    "a row removed": (
        ["DELETE FROM proofs"],
        "row 6 was removed: it stood between row 5 (snapshots, run run-1) and row 7 (copies, run run-1)",
    ),
    "rows removed": (
        ["DELETE FROM proofs", "DELETE FROM copies"],
        "rows 6 to 7 were removed: they stood between row 5 (snapshots, run run-1) and row 8 (transitions, run run-1)",
    ),
    "the newest row removed": (["DELETE FROM steps WHERE seq = 20"], "row 20 was removed from the end"),
    "the newest row removed with its trace": (
        ["DELETE FROM steps WHERE seq = 20", "UPDATE chain SET seq = 19"],
        "the newest row is 19, but the chain ends with row 19 and another digest",
    ),
    "rows put elsewhere": (
        [
            "UPDATE commands SET seq = 1000 WHERE seq = 9",
            "UPDATE commands SET seq = 9 WHERE seq = 14",
            "UPDATE commands SET seq = 14 WHERE seq = 1000",
        ],
        "row 9 (commands, run run-1) was edited",
    ),
    "the outcome polished": (
        ["UPDATE runs SET outcome = 'completed' WHERE id = 'run-1'"],
        "run run-1 is said to have ended 'completed', but in state inspected it ended ''",
    ),
    "an end that never came": (
        ["UPDATE runs SET finished_at = '2024' WHERE id = 'run-1'"],
        "run run-1 is said to have ended at 2024, but history says None",
    ),
    "the state put forward": (
        ["UPDATE runs SET state = 'planned' WHERE id = 'run-1'"],
        "run run-1 is said to be in state planned, but history reached inspected",
    ),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_change_behind_its_back_shows(told: Path, journal: Journal, case: str) -> None:
    statements, sentence = SPOILED[case]
    by_hand(told, *statements)
    assert any(sentence in found for found in journal.verify()), journal.verify()
    assert journal.edited("run-1") != ()
    reader = Journal.read(told)
    assert reader is not None
    with reader:
        assert reader.verify() == journal.verify()


def test_an_inserted_row_shows(told: Path, journal: Journal) -> None:
    by_hand(
        told,
        "CREATE TABLE spare AS SELECT * FROM snapshots",
        "UPDATE spare SET seq = 6",
        "INSERT INTO snapshots SELECT * FROM spare",
    )
    assert "row 6 stands twice, in proofs and in snapshots: one of them was inserted" in journal.verify()
    assert journal.edited("run-1") != ()


def test_an_edit_in_one_run_is_not_held_against_another(told: Path, journal: Journal) -> None:
    by_hand(told, "UPDATE steps SET detail = 'x' WHERE run_id = 'run-1' AND seq = 2")
    assert journal.edited("run-1") == ("row 2 (steps) of run run-1 was edited",)
    assert journal.edited("run-2") == ()


def test_a_row_that_vanished_between_two_runs_shows_in_the_run_it_belonged_to(told: Path, journal: Journal) -> None:
    by_hand(told, "DELETE FROM commands WHERE seq = 18")
    (gone,) = (breach for breach in journal.audit().breaches if breach.kind != "trigger")
    assert (gone.kind, gone.seq) == ("removed", 18)
    assert gone.what.startswith("row 18 was removed: it stood between row 17 (steps, run run-2) and ")
    assert journal.edited("run-2") != ()


def test_not_more_sentences_than_somebody_reads(journal: Journal, path: Path) -> None:
    begun(journal)
    for number in range(60):
        done(journal, f"step-{number}")
    by_hand(path, "UPDATE steps SET detail = 'x'")
    assert len(journal.verify()) == 100


def test_triggers_that_were_dropped_or_weakened_stand_again_after_opening(told: Path, journal: Journal) -> None:
    by_hand(told)
    weak = sqlite3.connect(told)
    weak.execute("CREATE TRIGGER gate_transitions BEFORE INSERT ON transitions BEGIN SELECT 1; END")
    weak.close()
    with Journal.open(told) as again, pytest.raises(Exception, match="no snapshot"):
        again.move("run-2", moved(State.PLANNED))
    refuses(told, "DELETE FROM proofs")


def test_a_chain_that_cannot_be_continued_is_a_problem_with_a_cure(told: Path, journal: Journal) -> None:
    by_hand(told, "UPDATE chain SET seq = 19")
    with Journal.open(told) as again, pytest.raises(JournalProblem) as problem:
        done(again, "d")
    assert "upgrade-guard audit verify" in problem.value.hint


# The gate looks at the rows of its run and those beside them; rows 15 to 18 are of another run.
BESIDE = {
    "the first row of a gap is gone": ("DELETE FROM {15} WHERE seq = 15", "row 15 was removed"),
    "the last row of a gap is gone": ("DELETE FROM {18} WHERE seq = 18", "row 18 was removed"),
    "the first row of a gap is another": (
        "UPDATE {15} SET previous = '{0}' WHERE seq = 15",
        "row 15 does not follow from row 14: one of them was replaced",
    ),
    "the last row of a gap is another": (
        "UPDATE {18} SET digest = '{0}' WHERE seq = 18",
        "row 19 does not follow from row 18: one of them was replaced",
    ),
}


@pytest.mark.parametrize("what", BESIDE)
def test_a_run_whose_neighbours_were_changed_is_edited(told: Path, journal: Journal, what: str) -> None:
    statement, said = BESIDE[what]
    with sqlite3.connect(told) as rows:
        tables = {
            seq: table for table in TABLES for (seq,) in rows.execute(f"SELECT seq FROM {table} WHERE seq IN (15, 18)")
        }
    by_hand(told, statement.replace("{15}", tables[15]).replace("{18}", tables[18]).replace("{0}", "0" * 64))
    assert said in journal.edited("run-1")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "UPDATE chain SET seq = 21",
            "row 21 was removed or replaced",
        ),
        (
            "UPDATE chain SET digest = 'ab'",
            "the newest row is 20, but the chain ends with row 20 and another digest",
        ),
        ("UPDATE chain SET seq = 19", "the newest row is 20, but the chain ends with row 19 and another digest"),
    ],
)
def test_a_chain_that_ends_elsewhere_is_edited(told: Path, journal: Journal, statement: str, said: str) -> None:
    by_hand(told, statement)
    assert journal.edited("run-1") == (said,)
    assert journal.edited("run-2") == (), "rows follow its own"
