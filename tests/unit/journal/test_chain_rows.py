"""The chain, row by row: what is digested, and which neighbours the gate looks at. Every sentence is exact."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from unit.journal.making import MIDNIGHT, begun, by_hand, done, moved

from upgrade_guard.journal import Journal
from upgrade_guard.journal.chain import GENESIS, TABLES, canonical, computed, content, digest, missing
from upgrade_guard.model.run import Event, State


def test_what_a_row_is_digested_with() -> None:
    row = {"seq": 7, "previous": GENESIS, "digest": "x", "ok": True, "off": False, "detail": None, "name": "a"}
    assert content("proofs", row) == {"seq": 7, "previous": GENESIS, "ok": 1, "off": 0, "name": "a"}
    text = f'["proofs",{{"name":"a","off":0,"ok":1,"previous":"{GENESIS}","seq":7}}]'
    assert canonical("proofs", content("proofs", row)) == text
    assert digest("proofs", row) == computed("proofs", row) == hashlib.sha256(text.encode()).hexdigest()


def test_what_changes_in_a_run_is_not_digested() -> None:
    row = {"cluster": "c", "from_version": "v", "state": "s", "outcome": "o", "finished_at": "f"}
    assert content("runs", row) == {}
    assert content("steps", row) == row, "in any other table it is"


@pytest.mark.parametrize("value", [b"\xff", float("inf"), float("nan"), {1}])
def test_what_no_journal_holds_has_no_digest(value: object) -> None:
    assert computed("steps", {"seq": 1, "detail": value}) == ""


def test_rows_that_are_not_there() -> None:
    assert missing(6, 6) == "row 6 was removed"
    assert missing(6, 7) == "rows 6 to 7 were removed"


@pytest.fixture
def tables(journal: Journal, path: Path) -> dict[int, str]:
    """Rows by number: run-1 has 1 to 3, 5 and 6, 9 and 10; run-2 has 4, 7 and 8."""
    begun(journal)
    done(journal, "a")
    begun(journal, "run-2")
    done(journal, "b")
    done(journal, "a", run_id="run-2")
    done(journal, "c")
    assert journal.edited("run-1") == journal.edited("run-2") == ()
    with closing(sqlite3.connect(path)) as rows:
        return {seq: table for table in TABLES for (seq,) in rows.execute(f"SELECT seq FROM {table}")}


REPLACED = "does not follow from row {}: one of them was replaced"
BEFORE = "row {} does not follow from the row before it: one of them was replaced or removed"
BREAKS: dict[str, tuple[list[str], list[str], list[str]]] = {
    "a gap of one row": (["DELETE {4}"], ["row 4 was removed"], []),
    "the first of a gap of two": (["DELETE {7}"], ["row 7 was removed"], ["row 7 was removed"]),
    "the last of a gap of two": (["DELETE {8}"], ["row 8 was removed"], []),
    "a whole gap": (["DELETE {7}", "DELETE {8}"], ["row 7 was removed", "row 8 was removed"], []),
    "the first of a gap by another": (["previous {7}"], [f"row 7 {REPLACED.format(6)}"], []),
    "the last of a gap by another": (["digest {8}"], [f"row 9 {REPLACED.format(8)}"], []),
    "a gap of one row by another": (
        ["previous {4}", "digest {4}"],
        [f"row 4 {REPLACED.format(3)}", f"row 5 {REPLACED.format(4)}"],
        [],
    ),
    "the row before the first is gone": (["DELETE {3}"], [], [BEFORE.format(4)]),
    "the row before the first is another": (["digest {3}"], [], [BEFORE.format(4)]),
    "the row behind the last is gone": (["DELETE {9}"], [], ["row 9 was removed or replaced"]),
    "the row behind the last is another": (["previous {9}"], [], ["row 9 was removed or replaced"]),
}


@pytest.mark.parametrize("what", BREAKS)
def test_the_neighbours_of_a_run_are_its_witnesses(
    journal: Journal, path: Path, tables: dict[int, str], what: str
) -> None:
    changes, first, second = BREAKS[what]
    for change in changes:
        verb, _, braced = change.partition(" ")
        seq = int(braced.strip("{}"))
        statement = f"DELETE FROM {tables[seq]}" if verb == "DELETE" else f"UPDATE {tables[seq]} SET {verb} = 'ff'"
        by_hand(path, f"{statement} WHERE seq = {seq}")
    if first:
        assert list(journal.edited("run-1")) == first
    if second:
        assert list(journal.edited("run-2")) == second


def test_rows_that_touch_each_other_are_linked(journal: Journal, path: Path, tables: dict[int, str]) -> None:
    by_hand(path, f"UPDATE {tables[2]} SET digest = '{'f' * 64}' WHERE seq = 2")
    assert journal.edited("run-1") == (
        f"row 2 ({tables[2]}) of run run-1 was edited",
        f"row 3 ({tables[3]}) does not follow from row 2: one of them was replaced",
    )


def test_the_first_row_of_all_has_no_row_before_it(journal: Journal, path: Path) -> None:
    begun(journal)
    by_hand(path, "UPDATE runs SET previous = 'ff'")
    assert journal.edited("run-1") == ("row 1 (runs) of run run-1 was edited",)


# A run that has ended: its state, outcome and end are what its newest transition says.


@pytest.fixture
def ended(journal: Journal, path: Path) -> Path:
    begun(journal)
    done(journal, "a", move=moved(State.INSPECTED))
    journal.move("run-1", moved(State.ABORTED, Event.RUN_ABORTED))
    begun(journal, "run-2")
    assert journal.edited("run-1") == journal.edited("run-2") == journal.verify() == ()
    return path


AT = MIDNIGHT.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
POLISHED = {
    "outcome = ''": "run run-1 is said to have ended '', but in state aborted it ended 'aborted'",
    "outcome = 'completed'": "run run-1 is said to have ended 'completed', but in state aborted it ended 'aborted'",
    "state = 'planned'": "run run-1 is said to be in state planned, but history reached aborted",
    "finished_at = NULL": f"run run-1 is said to have ended at None, but history says {AT}",
    "finished_at = '2024'": f"run run-1 is said to have ended at 2024, but history says {AT}",
}


@pytest.mark.parametrize("change", POLISHED)
def test_the_end_of_a_run_is_what_history_says(journal: Journal, ended: Path, change: str) -> None:
    by_hand(ended, f"UPDATE runs SET {change} WHERE id = 'run-1'")
    assert journal.edited("run-1") == (POLISHED[change],)
    assert journal.edited("run-2") == (), "it is about one run"


def test_a_run_without_a_move_is_started(journal: Journal, ended: Path) -> None:
    by_hand(ended, "UPDATE runs SET state = 'inspected' WHERE id = 'run-2'")
    assert journal.edited("run-2") == ("run run-2 is said to be in state inspected, but history reached started",)


def test_all_that_is_wrong_with_the_end_of_a_run_is_said(journal: Journal, ended: Path) -> None:
    by_hand(ended, "UPDATE runs SET outcome = '', finished_at = NULL WHERE id = 'run-1'")
    assert len(journal.edited("run-1")) == 2
