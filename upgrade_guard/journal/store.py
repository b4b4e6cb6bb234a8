"""The file, open for writing: its connection, its transactions, its errors. Loads SQLAlchemy."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, StatementError

from upgrade_guard.journal.problems import cured, edited, newer
from upgrade_guard.journal.rows import as_text
from upgrade_guard.journal.storage import private_directory, private_file, refuse_network_file_system
from upgrade_guard.journal.transaction import ConnectionRows, Transaction
from upgrade_guard.journal.triggers import TRIGGERS, missing_or_changed
from upgrade_guard.journal.values import SpoiltValueError, StrangeValueError
from upgrade_guard.journal.versions import Age, age, age_of_file, copy_aside, migrate


class Store:
    """The journal's file, open for writing. One thread at a time uses it: the journal's lock sees to that."""

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        """Make what is missing (directory 0700, file 0600, tables, triggers). Raises JournalProblem."""
        private_directory(path.parent)
        refuse_network_file_system(path.parent)
        private_file(path)
        self._path = path
        found = age_of_file(path)
        if found is Age.OLDER:
            copy_aside(path, now())
        with _cured(path):
            if found is not Age.CURRENT:
                self._migrate()
            self._engine = _engine(path, foreign_keys=True)
            self._stand_triggers()

    def close(self) -> None:
        """Let the file go."""
        self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """One transaction: all of it is on the disk afterwards, or none of it. Raises Refused and JournalProblem."""
        with _cured(self._path), self._engine.begin() as connection:
            yield Transaction(connection)

    def _migrate(self) -> None:
        engine = _engine(self._path, foreign_keys=False)
        try:
            with engine.begin() as connection:
                # Another process may have been quicker while this one waited for the lock.
                if age(ConnectionRows(connection), self._path) is not Age.CURRENT:
                    migrate(connection)
        finally:
            engine.dispose()

    def _stand_triggers(self) -> None:
        with self._engine.begin() as connection:
            for name in missing_or_changed(ConnectionRows(connection)):
                connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")
                connection.exec_driver_sql(TRIGGERS[name])


def _engine(path: Path, *, foreign_keys: bool) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(path)), connect_args={"timeout": 5.0})

    # The driver's own transactions neither begin before DDL nor take the write lock at once, so two writers deadlock:
    # https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#serializable-isolation-savepoints-transactional-ddl
    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.text_factory = as_text
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL writes the log through to the disk at each commit: what is recorded survives a power loss.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        connection.execute("PRAGMA busy_timeout = 5000")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


@contextmanager
def _cured(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:  # raised while a connection is prepared
        raise cured(error, path) from error
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise cured(error.orig, path) from error
        raise
    except StrangeValueError as error:
        raise newer(path, str(error)) from error
    except SpoiltValueError as error:
        raise edited(path, str(error)) from error
    except StatementError as error:
        # A value that cannot be stored is a bug of the caller and keeps its own name.
        if error.orig is not None:
            raise error.orig from error
        raise
