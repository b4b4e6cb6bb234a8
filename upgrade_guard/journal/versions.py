"""Which version of the tables a journal has, and how an older one is brought up to date."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from upgrade_guard.errors import JournalProblem
from upgrade_guard.journal.problems import cured, newer
from upgrade_guard.journal.rows import ReadOnlyRows, Rows
from upgrade_guard.journal.storage import private_file

if TYPE_CHECKING:
    from sqlalchemy import Connection

# The names of the files in migrations/versions, oldest first; a test compares. Kept here so that reading a journal does
# not load Alembic.
KNOWN = ("0001", "0002")


class Age(Enum):
    """A journal's tables against those that this version knows."""

    EMPTY = "empty"
    OLDER = "older"
    CURRENT = "current"


def age(rows: Rows, path: Path) -> Age:
    """Raises JournalProblem for a journal from a newer version, and for a database that is not a journal."""
    tables = {row["name"] for row in rows.select("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return Age.EMPTY
    if not {"alembic_version", "chain", "runs"} <= tables:
        raise JournalProblem(
            f"{path} is a database, but not a journal of upgrade-guard",
            hint=f"move it aside: `mv {path} {path}.other`, or choose another place with --state-dir",
        )
    stored = [row["version_num"] for row in rows.select("SELECT version_num FROM alembic_version")]
    if stored == [KNOWN[-1]]:
        return Age.CURRENT
    if len(stored) == 1 and stored[0] in KNOWN:
        return Age.OLDER
    raise newer(path, f"its tables have version {', '.join(stored) or 'none'}, this one knows up to {KNOWN[-1]}")


def age_of_file(path: Path) -> Age:
    """The same for a file that exists, before anything is written to it."""
    if path.stat().st_size == 0:
        return Age.EMPTY
    try:
        rows = ReadOnlyRows(path)
        try:
            return age(rows, path)
        finally:
            rows.close()
    except sqlite3.Error as error:
        raise cured(error, path) from error


def copy_aside(path: Path, now: datetime) -> Path:
    """Copy the journal, with what its log still holds, to a file beside it; the copy outlives the migration.

    https://sqlite.org/lang_vacuum.html: VACUUM INTO takes an empty file as its target, which keeps the mode 0600.
    """
    aside = path.with_name(f"{path.name}.before-{KNOWN[-1]}-{now.astimezone(UTC):%Y%m%dT%H%M%S%fZ}")
    private_file(aside)
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("VACUUM INTO ?", (str(aside),))
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise cured(error, path) from error
    return aside


def migrate(connection: Connection) -> None:
    """Bring the tables to the newest version, in the transaction of `connection`, whose foreign keys must be off.

    With them on, rebuilding a table in SQLite would take the rows that refer to it along.
    """
    from importlib.resources import files

    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files("upgrade_guard.migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
