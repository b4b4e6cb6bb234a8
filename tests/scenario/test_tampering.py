"""Evidence that was spoiled by hand between two stages: refused with reasons, nothing changed, taken anew."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scenario.disks import Disks, edit_manifest, flip, forge, truncate
from scenario.prepared import QUICK
from scenario.stage import TARGET, Answer, Stage

from upgrade_guard.journal.chain import TABLES, digest
from upgrade_guard.lab import cluster


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disks]:
    """A run that waits for the plan's approval: snapshot, proof and copy are there, the control plane is untouched."""
    directory = tmp_path_factory.mktemp("stopped") / "lab"
    stage = Stage(cluster.up(directory, **QUICK))
    try:
        answer = stage.guard("run", TARGET, ends=6)
        assert answer.error["code"] == "decision-needed"
        assert "--yes" in answer.error["hint"] + answer.error["message"], answer
        assert answer.data["state"] == "copied"
        yield Disks.keep(stage)
    finally:
        stage.end_everything()
        cluster.down(directory)


@pytest.fixture
def disks(stopped: Disks) -> Iterator[Disks]:
    """The same, put back after each test."""
    yield stopped
    stopped.stage.end_everything()
    stopped.put_back()


def refused(stage: Stage, *words: str) -> Answer:
    """`resume --yes` (or `words`) is refused, with reasons and a way on, and changes nothing on any node."""
    truth = stage.truth()
    last = max((row["seq"] for row in stage.rows("select seq from chain")), default=0)
    answer = stage.guard(*(words or ("resume", "--yes")), ends=3)
    assert answer.error["code"] == "refused"
    assert answer.error["reasons"], answer
    assert answer.error["hint"], answer
    assert stage.truth() == truth
    assert stage.rows("select name from steps where seq > ? and changes_node = 1 and outcome = 'started'", last) == []
    # Commands of no step write the head of history into the lock on the control plane.
    commands = stage.rows("select argv from commands where seq > ? and changes = 1 and step <> ''", last)
    assert commands == []
    return answer


Spoil = Callable[[Disks], object]
ON_DISK: dict[str, tuple[Spoil, str]] = {
    "the snapshot is cut": (lambda disks: truncate(disks.bundle / "snapshot.db"), "snapshot.db has"),
    "a byte of the snapshot is another": (lambda disks: flip(disks.bundle / "snapshot.db"), "snapshot.db was changed"),
    "the snapshot is removed": (lambda disks: (disks.bundle / "snapshot.db").unlink(), "snapshot.db is missing"),
    "the snapshot is a link": (lambda disks: linked(disks.bundle / "snapshot.db"), "snapshot.db is a symbolic link"),
    "a node's archive is edited": (lambda disks: flip(disks.bundle / "files-cp1.tar.gz"), "files-cp1.tar.gz was"),
    "a node's archive is removed": (lambda disks: (disks.bundle / "files-cp1.tar.gz").unlink(), "cp1"),
    "the manifest is edited": (lambda disks: edit_manifest(disks.bundle, revision=1), "manifest.json"),
    "the manifest is cut": (lambda disks: truncate(disks.bundle / "manifest.json"), "manifest.json"),
    "the manifest is removed": (lambda disks: (disks.bundle / "manifest.json").unlink(), "bundle"),
    "the bundle is removed": (lambda disks: shutil.rmtree(disks.bundle), "bundle"),
    "a file is added": (lambda disks: (disks.bundle / "more").touch(), "'more' does not belong to it"),
    "snapshot and manifest are forged here": (lambda disks: forge(disks.bundle, "snapshot.db"), "snapshot"),
    "snapshot and manifest are forged everywhere": (lambda disks: everywhere(disks, "snapshot.db"), "snapshot"),
    "archive and manifest are forged everywhere": (lambda disks: everywhere(disks, "files-cp1.tar.gz"), "manifest"),
    "the copy's snapshot is edited": (lambda disks: flip(disks.copy / "snapshot.db"), "snapshot.db"),
    "the copy's snapshot is removed": (lambda disks: (disks.copy / "snapshot.db").unlink(), "snapshot.db"),
    "the copy's archive is cut": (lambda disks: truncate(disks.copy / "files-cp1.tar.gz"), "files-cp1.tar.gz"),
    "the copy's manifest is edited": (lambda disks: edit_manifest(disks.copy, revision=1), "manifest.json"),
    "the copy is removed": (lambda disks: shutil.rmtree(disks.copy), "copy"),
}


def linked(path: Path) -> None:
    """The same content, somewhere else."""
    elsewhere = path.parent.with_name("elsewhere.db")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def everywhere(disks: Disks, name: str) -> None:
    """The same forgery in the vault and at the off-site target."""
    forge(disks.bundle, name)
    shutil.copy2(disks.bundle / name, disks.copy / name)
    shutil.copy2(disks.bundle / "manifest.json", disks.copy / "manifest.json")


@pytest.mark.parametrize("what", ON_DISK)
def test_spoiled_files_are_refused_with_the_reason(disks: Disks, what: str) -> None:
    spoil, reason = ON_DISK[what]
    spoil(disks)
    answer = refused(disks.stage)
    assert any(reason in one for one in answer.error["reasons"]), answer
    assert "resume" in answer.error["hint"]
    assert answer.data["state"] == "inspected"
    [expired] = disks.stage.rows("select event, reasons from transitions order by seq desc limit 1")
    assert expired["event"] == "evidence-expired"
    assert set(answer.error["reasons"]) == set(json.loads(expired["reasons"]))


def delete(table: str) -> Spoil:
    return lambda disks: in_database(disks, f"delete from {table}")


def change(table: str, assignment: str) -> Spoil:
    return lambda disks: in_database(disks, f"update {table} set {assignment}")


def in_database(disks: Disks, statement: str) -> None:
    with disks.database() as connection:
        assert connection.execute(statement).rowcount > 0, statement


def proof_gone_and_chain_mended(disks: Disks) -> None:
    """The proof is removed, and every row after it numbered and linked again: history as if it had never been."""
    with disks.database() as connection:
        connection.execute("delete from proofs")
        mend(connection)


def mend(connection: sqlite3.Connection) -> None:
    connection.row_factory = sqlite3.Row
    rows = sorted(
        ((row["seq"], table, dict(row)) for table in TABLES for row in connection.execute(f"select * from {table}")),
        key=lambda one: one[0],
    )
    for table in TABLES:
        connection.execute(f"delete from {table}") if table != "runs" else None
    previous = "0" * 64
    for seq, (_, table, row) in enumerate(rows, 1):
        row |= {"seq": seq, "previous": previous}
        row["digest"] = previous = digest(table, row)
        names = ", ".join(f'"{name}"' for name in row)
        values = ", ".join("?" for _ in row)
        connection.execute(f"insert or replace into {table} ({names}) values ({values})", tuple(row.values()))
    connection.execute("update chain set seq = ?, digest = ?", (len(rows), previous))


# `edited`: the journal shows that it was changed, and such a run cannot be resumed at all.
IN_DATABASE: dict[str, tuple[Spoil, str, bool]] = {
    "the proof is deleted": (delete("proofs"), "not been proven", True),
    "the proof is younger": (change("proofs", "proven_at = '2999-01-01T00:00:00.000000Z'"), "was edited", True),
    "the proof is of another snapshot": (change("proofs", "snapshot_sha256 = 'ab'"), "not been proven", True),
    "the copy is deleted": (delete("copies"), "read back equal", True),
    "the copy was not read back": (change("copies", "read_back = 0"), "read back equal", True),
    "the copy is on the control plane": (change("copies", "off_control_plane = 0"), "off the control-plane", True),
    "the snapshot is deleted": (delete("snapshots"), "has no snapshot", True),
    "the state is another": (change("runs", "state = 'planned'"), "history reached copied", True),
    "a command is deleted": (delete("commands"), "removed", True),
    "the proof is deleted and the chain mended": (proof_gone_and_chain_mended, "not been proven", False),
}


@pytest.mark.parametrize("what", IN_DATABASE)
def test_an_edited_journal_is_refused_with_the_reason(disks: Disks, what: str) -> None:
    spoil, reason, edited = IN_DATABASE[what]
    spoil(disks)
    answer = refused(disks.stage)
    assert any(reason in one for one in answer.error["reasons"]), answer
    assert ("abort" if edited else "resume") in answer.error["hint"], answer
    again: dict[str, Any] = dict(disks.stage.guard("status").data)
    assert again["gate"]["open"] is False


def test_history_that_was_written_anew_differs_from_the_heads_elsewhere(disks: Disks) -> None:
    """The whole chain holds again after that; the bundle, its copy and the control plane have heads of before."""
    stage = disks.stage
    whole = stage.guard("audit", "verify", "--remote")
    assert whole.data["compared"] == {"heads": 2, "strangers": [], "problems": []}
    with disks.database() as connection:
        connection.execute("update runs set operator = 'somebody else'")
        mend(connection)
    assert "head" not in {breach["kind"] for breach in stage.guard("audit", "verify", ends=None).data["breaches"]}
    answer = stage.guard("audit", "verify", "--remote", ends=3)
    assert any("history was written anew since" in reason for reason in answer.error["reasons"]), answer


def test_the_database_itself_refuses_to_have_evidence_edited(disks: Disks) -> None:
    for statement in ("delete from proofs", "update proofs set ok = 1", "delete from copies", "delete from runs"):
        connection = sqlite3.connect(disks.stage.journal)
        try:
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(statement)
        finally:
            connection.close()


def test_without_a_terminal_every_question_names_its_flag(disks: Disks) -> None:
    stage = disks.stage
    rows = stage.rows("select * from chain")
    for words in (("run", TARGET), ("abort",), ("rollback",)):
        answer = stage.guard(*words, ends=6)
        assert answer.error["code"] == "decision-needed"
        assert "--yes" in answer.error["hint"] + answer.error["message"] or "resume" in answer.error["hint"], answer
    another = stage.guard("run", "v1.28.1", "--yes", ends=3)
    assert "one upgrade at a time" in another.error["message"], another
    assert stage.rows("select * from chain") == rows
