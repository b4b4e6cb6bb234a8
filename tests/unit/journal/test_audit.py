"""What a look over all of history finds, in the journal and in an export, and says where."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from unit.journal.making import begun, by_hand, command, done, moved, proof, snapshot

from upgrade_guard.errors import JournalProblem, UsageProblem
from upgrade_guard.journal import Journal, audited_export
from upgrade_guard.journal import audit as looking
from upgrade_guard.journal.chain import GENESIS, TABLES, content, digest
from upgrade_guard.model.audit import Audit
from upgrade_guard.model.run import State


@pytest.fixture
def told(journal: Journal) -> Journal:
    """Rows 1 to 6 are of run-1, 7 to 9 of run-2, 10 to 12 of run-1 again."""
    begun(journal)
    done(journal, "a", snapshot(), proof(), move=moved(State.INSPECTED))
    begun(journal, "run-2")
    done(journal, "a", run_id="run-2")
    done(journal, "b")
    journal.note(command())
    return journal


def lines_of(journal: Journal, run_id: str | None = None) -> list[str]:
    with journal.exported(run_id) as lines:
        return list(lines)


def checked(lines: list[str], kept: str = "") -> Audit:
    return audited_export(lines, kept, lambda _read, _of: None)


def kinds(found: Audit) -> set[str]:
    return {breach.kind for breach in found.breaches}


def test_a_history_that_holds(told: Journal) -> None:
    found = told.audit()
    assert found == Audit(rows=12, seq=12, head=told.head())
    assert found.whole


def test_a_head_that_was_kept_is_found_again(told: Journal) -> None:
    early = told.head()
    assert told.audit(early).kept == 12
    done(told, "c")
    found = told.audit(early)
    assert (found.whole, found.kept, found.seq) == (True, 12, 14)
    assert told.audit(GENESIS).kept == 0


def test_a_tail_that_was_cut_off_with_every_trace_shows_by_the_head_that_was_kept(told: Journal, path: Path) -> None:
    kept = told.head()
    by_hand(
        path,
        "DELETE FROM commands WHERE seq = 12",
        "UPDATE chain SET seq = 11, digest = (SELECT digest FROM steps WHERE seq = 11)",
    )
    assert kinds(told.audit()) == {"trigger"}
    assert kinds(told.audit(kept)) == {"head", "trigger"}


def test_a_history_written_anew_shows_by_the_head_that_was_kept(told: Journal, path: Path) -> None:
    kept = told.head()
    by_hand(path, "UPDATE steps SET detail = 'nothing happened' WHERE seq = 3")
    rewrite(path)
    assert kinds(told.audit()) == {"trigger"}
    (said,) = (breach.what for breach in told.audit(kept).breaches if breach.kind == "head")
    assert kept in said


def rewrite(path: Path) -> None:
    """What somebody does who knows the code: give every row the digest that its neighbours ask for."""
    with closing(sqlite3.connect(path)) as rows:
        rows.row_factory = sqlite3.Row
        found = [(table, dict(row)) for table in TABLES for row in rows.execute(f"SELECT * FROM {table}")]
        last = GENESIS
        for table, row in sorted(found, key=lambda item: item[1]["seq"]):
            row["previous"] = last
            last = digest(table, row)
            where = (row["previous"], last, row["seq"])
            rows.execute(f"UPDATE {table} SET previous = ?, digest = ? WHERE seq = ?", where)
        rows.execute("UPDATE chain SET digest = ?", (last,))
        rows.commit()


def test_a_row_replaced_with_its_digest_is_told_from_the_row_after_it(told: Journal, path: Path) -> None:
    with closing(sqlite3.connect(path)) as rows:
        rows.row_factory = sqlite3.Row
        row = dict(rows.execute("SELECT * FROM proofs").fetchone())
    row["ok"] = 0
    by_hand(path, f"UPDATE proofs SET ok = 0, digest = '{digest('proofs', row)}'")
    (found,) = (breach for breach in told.audit().breaches if breach.kind != "trigger")
    assert (found.kind, found.seq, found.table, found.run) == ("replaced", 5, "proofs", "run-1")
    assert found.what == (
        "row 5 (proofs, run run-1) was replaced, digest and all: row 6 (transitions, run run-1) was written after "
        "another one"
    )


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("DROP TRIGGER keep_proofs_update", "is gone, the triggers keep_proofs_update"),
        ("CREATE TRIGGER mine AFTER INSERT ON steps BEGIN SELECT 1; END", "somebody else made triggers"),
        (
            "DROP TRIGGER keep_chain; CREATE TRIGGER keep_chain AFTER INSERT ON steps BEGIN SELECT 1; END",
            "was changed, the triggers keep_chain",
        ),
    ],
)
def test_triggers_that_are_not_as_they_were_show(told: Journal, path: Path, statement: str, what: str) -> None:
    with closing(sqlite3.connect(path)) as rows:
        rows.executescript(statement)
    (found,) = told.audit().breaches
    assert found.kind == "trigger"
    assert what in found.what


def test_an_index_that_was_taken_out_of_the_file_shows(told: Journal, path: Path) -> None:
    """An index that does not know every row hides rows from everyone but the chain."""
    with closing(sqlite3.connect(path)) as rows:
        rows.execute("PRAGMA writable_schema = ON")
        rows.execute("DELETE FROM sqlite_master WHERE name = 'ix_steps_run_id_seq'")
        rows.commit()
    reader = Journal.read(path)
    assert reader is not None
    with reader:
        assert kinds(reader.audit()) == {"file"}


def test_bytes_that_are_no_text_show_and_are_exported(told: Journal, path: Path) -> None:
    by_hand(path, "UPDATE steps SET detail = CAST(x'ff00fe' AS TEXT) WHERE seq = 9")
    (found,) = (breach for breach in told.audit().breaches if breach.kind != "trigger")
    assert (found.kind, found.seq, found.table, found.run) == ("edited", 9, "steps", "run-2")
    assert {(breach.kind, breach.seq) for breach in checked(lines_of(told)).breaches} == {("edited", 9)}


@pytest.mark.parametrize(
    "value", ("x'ff5b5d'", "'['", "'[1]'", "'{}'", "7", "'[' || replace(hex(zeroblob(9999)), '0', '[')")
)
def test_a_command_that_is_no_list_of_words_is_an_edit_and_no_bug(told: Journal, path: Path, value: str) -> None:
    by_hand(path, f"UPDATE commands SET argv = CAST({value} AS TEXT)")
    with pytest.raises(JournalProblem, match="was edited: ") as problem:
        told.commands("run-1")
    assert "audit verify" in problem.value.hint
    assert len(problem.value.message) < 300
    assert "edited" in kinds(told.audit())


@pytest.mark.parametrize(
    ("table", "column", "ask"),
    (
        ("runs", "settings", lambda told: told.run("run-1")),
        ("runs", "started_at", lambda told: told.runs()),
        ("steps", "result", lambda told: told.facts("run-1")),
        ("steps", "at", lambda told: told.steps("run-1")),
        ("transitions", "reasons", lambda told: told.transitions("run-1")),
        ("snapshots", "taken_at", lambda told: told.snapshots("run-1")),
        ("proofs", "restore_seconds", lambda told: told.proofs("run-1")),
        ("commands", "duration", lambda told: told.commands("run-1")),
    ),
)
def test_a_value_that_nobody_wrote_is_an_edit_and_no_bug(
    told: Journal, path: Path, table: str, column: str, ask: Callable[[Journal], object]
) -> None:
    by_hand(path, f"UPDATE {table} SET {column} = 'odd'")
    with pytest.raises(JournalProblem, match="was edited: 'odd' is no "):
        ask(told)


def test_a_number_that_is_no_number_is_no_bug(told: Journal, path: Path) -> None:
    by_hand(path, "UPDATE runs SET seq = 'seven' WHERE id = 'run-2'")
    said = [breach.what for breach in told.audit().breaches]
    assert "run run-2 (runs) was edited: its number in the chain is 'seven'" in said
    assert any(sentence.startswith("row 7 was removed") for sentence in said)


def test_not_more_than_somebody_reads_and_progress_is_heard(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upgrade_guard.journal.audit._EVERY", 10)
    begun(journal)
    for number in range(60):
        done(journal, f"step-{number}")
    heard: list[tuple[int, int]] = []
    assert journal.audit(heard=lambda read, of: heard.append((read, of))).whole
    assert heard == [(read, 121) for read in range(10, 121, 10)]
    by_hand(path, "UPDATE steps SET detail = 'x'")
    found = journal.audit()
    assert (len(found.breaches), found.more) == (looking.MOST, True)


def test_an_export_holds_and_says_what_the_journal_says(told: Journal) -> None:
    lines = lines_of(told)
    assert json.loads(lines[0]) == {"upgrade-guard-export": 1, "run": None, "rows": 12, "seq": 12, "head": told.head()}
    assert checked(lines) == told.audit()
    assert checked(lines, told.head()).kept == 12


def test_a_line_is_what_its_digest_is_made_of(told: Journal) -> None:
    for line in lines_of(told)[1:]:
        hashed = line.partition(',"row":')[2].removesuffix("}")
        assert hashlib.sha256(hashed.encode()).hexdigest() == json.loads(line)["digest"]


def test_an_empty_journal_can_be_exported(journal: Journal) -> None:
    assert checked(lines_of(journal)) == Audit(rows=0, seq=0, head=GENESIS)


def test_an_export_of_one_run_counts_what_lies_between(told: Journal) -> None:
    lines = lines_of(told, "run-1")
    assert len(lines) == 10
    found = checked(lines)
    assert (found.whole, found.rows, found.gaps) == (True, 9, 1)
    assert checked(lines_of(told, "run-2")).gaps == 0
    with pytest.raises(UsageProblem, match="one run"):
        checked(lines, told.head())


def test_an_edited_journal_is_exported_as_it_is(told: Journal, path: Path) -> None:
    by_hand(path, "UPDATE proofs SET ok = 0")
    (found,) = checked(lines_of(told)).breaches
    assert (found.kind, found.seq) == ("edited", 5)
    assert found.what.endswith("with ok = 1 it would")


SPOILED: dict[str, tuple[Callable[[list[str]], object], set[str]]] = {
    "a word changed": (lambda lines: lines.__setitem__(12, lines[12].replace("cp1", "cp2")), {"edited"}),
    "a value changed": (lambda lines: lines.__setitem__(5, lines[5].replace('"ok":1', '"ok":0')), {"edited"}),
    "a row left out": (lambda lines: lines.pop(5), {"removed", "cut-off"}),
    "two rows in another order": (lambda lines: lines.insert(5, lines.pop(6)), {"removed", "inserted"}),
    "the end cut off": (lambda lines: lines.pop(), {"cut-off"}),
    "a row twice": (lambda lines: lines.insert(5, lines[5]), {"inserted"}),
    "another head": (lambda lines: lines.__setitem__(0, lines[0].replace('"head":"', '"head":"0')), {"head"}),
    "an empty line": (lambda lines: lines.insert(5, ""), {"line"}),
    "no JSON": (lambda lines: lines.insert(5, "["), {"line"}),
    "depth": (lambda lines: lines.insert(5, "[" * 100_000), {"line"}),
    "a list": (lambda lines: lines.insert(5, "[1, 2]"), {"line"}),
    "no number": (lambda lines: lines.insert(5, '{"digest":"","row":["steps",{}]}'), {"line"}),
    "a table that is none": (lambda lines: lines.insert(5, '{"digest":"","row":["chain",{"seq":1}]}'), {"line"}),
    "a key twice": (
        lambda lines: lines.__setitem__(5, lines[5].replace('"ok":1', '"ok":0,"ok":1')),
        {"line", "removed"},
    ),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_spoilt_export_shows(told: Journal, case: str) -> None:
    spoil, expected = SPOILED[case]
    lines = lines_of(told)
    spoil(lines)
    found = checked(lines)
    assert not found.whole
    assert expected <= kinds(found), found.breaches


@pytest.mark.parametrize(
    "first",
    [
        "",
        "{}",
        "nothing",
        '{"upgrade-guard-export":2}',
        '{"upgrade-guard-export":1,"rows":"1","seq":1,"head":"","run":null}',
        '{"upgrade-guard-export":1,"rows":1,"seq":1,"head":"","run":7}',
    ],
)
def test_what_is_no_export_is_refused(first: str) -> None:
    with pytest.raises(UsageProblem):
        checked([first])


def test_the_content_that_counts_leaves_out_what_is_empty_or_may_change() -> None:
    row = {
        "seq": 1,
        "state": "started",
        "outcome": "",
        "digest": "x",
        "finished_at": None,
        "read_back": True,
        "kind": None,
    }
    assert content("runs", row) == {"seq": 1, "read_back": 1}
