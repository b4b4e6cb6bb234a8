"""Runs of several kinds in one journal; a journal from before there were any stays as it was."""

from __future__ import annotations

import sqlite3
from importlib.resources import files
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from unit.journal.making import begun, by_hand

from upgrade_guard.journal import Journal, chain
from upgrade_guard.model.run import Event, Kind, Move, State


def begun_as(journal: Journal, kind: Kind) -> None:
    journal.begin(
        run_id=kind.value,
        cluster="prod",
        from_version="v1.27.16",
        target="",
        offsite_required=1,
        snapshot_max_age=1800,
        settings={},
        operator="ada",
        host="bastion",
        tool_version="0.1.0",
        kind=kind,
    )


def test_only_what_changes_the_cluster_is_an_open_run(journal: Journal) -> None:
    for kind in (Kind.BACKUP, Kind.DRILL, Kind.PRUNE):
        begun_as(journal, kind)
    assert journal.open_run() is None
    begun_as(journal, Kind.RESTORE)
    found = journal.open_run()
    assert found is not None
    assert found.kind is Kind.RESTORE
    backup = journal.open_run((Kind.BACKUP,))
    assert backup is not None
    assert backup.id == "backup"


def test_runs_are_listed_by_kind(journal: Journal) -> None:
    for kind in Kind:
        begun_as(journal, kind)
    assert [run.kind for run in journal.runs()] == [Kind.RESTORE, Kind.UPGRADE]
    assert [run.kind for run in journal.runs(kinds=(Kind.DRILL, Kind.PRUNE))] == [Kind.PRUNE, Kind.DRILL]
    assert [run.id for run in journal.runs(kinds=tuple(Kind), target="", limit=1)] == ["prune"]


def test_a_run_that_failed_is_closed_with_that_outcome(journal: Journal) -> None:
    begun_as(journal, Kind.DRILL)
    journal.move("drill", Move(Event.RUN_FAILED, State.FAILED, ("it does not restore",)))
    assert journal.open_run((Kind.DRILL,)) is None
    assert (journal.run("drill").outcome, journal.verify()) == ("failed", ())


def test_a_kind_does_not_change_unseen(path: Path, journal: Journal) -> None:
    begun_as(journal, Kind.BACKUP)
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="what a run began with does not change"):
        connection.execute("UPDATE runs SET kind = 'upgrade'")
    connection.close()
    by_hand(path, "UPDATE runs SET kind = 'upgrade'")
    assert journal.edited("backup")


def test_a_run_from_before_there_were_kinds_is_an_upgrade(path: Path) -> None:
    """The tables as their first version made them, with a run in them: its digest must still hold."""
    path.parent.mkdir(mode=0o700)
    config = Config()
    config.set_main_option("script_location", str(files("upgrade_guard.migrations")))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    row = {
        "id": "old",
        "seq": 1,
        "started_at": "2024-05-01T00:00:00.000000Z",
        "cluster": "prod",
        "from_version": "v1.26.0",
        "target": "v1.27.16",
        "state": "started",
        "outcome": "",
        "offsite_required": 1,
        "snapshot_max_age": 1800.0,
        "settings": "{}",
        "operator": "ada",
        "host": "bastion",
        "tool_version": "0.0.9",
        "previous": chain.GENESIS,
    }
    row["digest"] = chain.digest("runs", row)
    old = sqlite3.connect(path)
    with old:
        places = ", ".join(f":{column}" for column in row)
        old.execute(f"INSERT INTO runs ({', '.join(row)}) VALUES ({places})", row)
        old.execute("UPDATE chain SET seq = 1, digest = :digest", row)
    old.close()
    path.chmod(0o600)
    with Journal.open(path) as journal:
        begun(journal)
        found = journal.runs()
        assert [(run.id, run.kind) for run in found] == [("run-1", Kind.UPGRADE), ("old", Kind.UPGRADE)]
        opened = journal.open_run()
        assert opened is not None
        assert opened.id == "run-1"
        assert journal.verify() == ()
