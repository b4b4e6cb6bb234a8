"""How the journal is read: SQL in, rows out, whoever holds the connection.

Questions go straight to SQLite through a connection that cannot write, so that `status` need not load SQLAlchemy; a
transaction looks through its own connection (appending.py). Both understand `:name` parameters.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

# A text column may be edited into bytes that are no text. They read as `\xff`, so that the audit can name their row.
as_text = partial(str, encoding="utf-8", errors="backslashreplace")


class Row(Protocol):
    """One row, by column name."""

    def __getitem__(self, column: str, /) -> Any: ...

    def keys(self) -> Any:
        """The names of its columns."""


class Rows(Protocol):
    """Something that answers a SELECT, row by row."""

    def select(self, sql: str, parameters: Mapping[str, Any] = ..., /) -> Iterator[Row]:
        """The rows, fetched while they are used."""


class ReadOnlyRows:
    """The file, opened so that nothing in it can change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = _connected(path)

    def select(self, sql: str, parameters: Mapping[str, Any] = {}, /) -> Iterator[Row]:
        """The rows. Raises sqlite3.Error."""
        # Not `yield from`: that closes the cursor with the generator, which may be after the file was let go.
        for row in self._connection.execute(sql, dict(parameters)):  # noqa: UP028
            yield row

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """Every select inside sees the journal as it was at one moment."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()


def _connected(path: Path) -> sqlite3.Connection:
    where = path.resolve().as_uri()
    connection = _open(f"{where}?mode=ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if not error.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
            raise
        # On a read-only file system SQLite cannot make the files beside the journal that it needs to read along with a
        # writer. There is no writer then: without a log to replay, the file alone is the whole journal.
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size > 0:
            raise
        connection = _open(f"{where}?immutable=1")
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error:
            connection.close()
            raise
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _open(uri: str) -> sqlite3.Connection:
    # One thread at a time uses it: the journal's lock sees to that.
    connection = sqlite3.connect(uri, uri=True, timeout=5.0, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.text_factory = as_text
    return connection
