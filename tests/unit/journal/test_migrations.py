"""The tables come from the migrations, and nothing is migrated without a copy."""

from __future__ import annotations

import sqlite3
import stat
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, create_engine
from unit.journal.making import begun

from upgrade_guard.errors import JournalProblem
from upgrade_guard.journal import Journal, versions
from upgrade_guard.journal.chain import HISTORY, TABLES
from upgrade_guard.journal.models import Base, HistoryEntry

HOUSE = Path(__file__).parents[3]


@pytest.fixture
def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(files("upgrade_guard.migrations")))
    return ScriptDirectory.from_config(config)


def test_there_is_one_line_of_versions_and_the_code_knows_it(scripts: ScriptDirectory) -> None:
    assert scripts.get_heads() == [versions.KNOWN[-1]]
    assert [script.revision for script in scripts.walk_revisions()][::-1] == list(versions.KNOWN)


def test_versions_are_named_after_their_files(scripts: ScriptDirectory) -> None:
    names = sorted(file.name for file in (HOUSE / "migrations" / "versions").glob("0*.py"))
    assert [name.partition("_")[0] for name in names] == list(versions.KNOWN)


def test_an_empty_journal_becomes_what_the_models_say(path: Path, journal: Journal) -> None:
    engine = create_engine(URL.create("sqlite", database=str(path)))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_the_chain_covers_every_table() -> None:
    assert set(Base.metadata.tables) == {"chain", *TABLES}
    assert {entry.__tablename__ for entry in HistoryEntry.__subclasses__()} == set(HISTORY)


def test_every_lookup_has_an_index(path: Path, journal: Journal) -> None:
    """The questions of `status`, `history` and `show` never walk a whole table of history."""
    connection = sqlite3.connect(path)
    try:
        for sql in (
            (
                "SELECT * FROM runs WHERE finished_at IS NULL AND (kind IN ('upgrade', 'restore') OR kind IS NULL) "
                "ORDER BY seq DESC LIMIT 1"
            ),
            "SELECT * FROM runs ORDER BY seq DESC LIMIT 50",
            "SELECT * FROM runs WHERE id >= 'a' AND id < 'b' ORDER BY id LIMIT 2",
            "SELECT * FROM steps WHERE run_id = 'a' AND name = 'b' ORDER BY seq DESC LIMIT 1",
            "SELECT * FROM steps WHERE seq IN (SELECT MAX(seq) FROM steps WHERE run_id = 'a' GROUP BY name)",
            *(f"SELECT * FROM {table} WHERE run_id = 'a' ORDER BY seq" for table in HISTORY),
        ):
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
            assert not [line for line in plan if "TEMP B-TREE" in line], (sql, plan)
            assert all("INDEX" in line or "PRIMARY KEY" in line for line in plan if line.startswith("S")), (sql, plan)
    finally:
        connection.close()


def test_an_older_journal_is_copied_before_it_is_migrated(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(journal)
    head = journal.head()
    # The copy must hold what is still in the log: the first writer has not closed the file.
    monkeypatch.setattr(versions, "KNOWN", (*versions.KNOWN, "9999"))
    with pytest.raises(JournalProblem, match="older version") as refused:
        Journal.read(path)
    assert "upgrade-guard resume" in refused.value.hint
    with Journal.open(path) as migrated:
        assert migrated.head() == head
    (aside,) = path.parent.glob("journal.sqlite.before-9999-*")
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    monkeypatch.undo()
    copied = Journal.read(aside)
    assert copied is not None
    with copied:
        assert (copied.run("run-1").id, copied.head(), copied.verify()) == ("run-1", head, ())


def test_a_maker_that_died_before_the_tables_is_no_obstacle(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with Journal.open(path) as journal:
        begun(journal)
    assert list(path.parent.glob("*.before-*")) == []


def test_the_wheel_holds_every_room() -> None:
    """Packages are listed by hand, because migrations/ is shipped under another name."""
    listed = tomllib.loads((HOUSE / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {
        ".".join(file.parent.relative_to(HOUSE).parts) for file in (HOUSE / "upgrade_guard").rglob("__init__.py")
    } | {
        ".".join(("upgrade_guard", *file.parent.relative_to(HOUSE).parts))
        for file in (HOUSE / "migrations").rglob("__init__.py")
    }
    assert set(listed) == folders
