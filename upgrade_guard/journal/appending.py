"""Rows at the end of the chain, and a look at what is there, inside a transaction. Loads SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Float, text
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.orm import Session

from upgrade_guard.journal import chain
from upgrade_guard.journal.models import ChainHead, HistoryEntry, RunEntry
from upgrade_guard.journal.rows import Row


class SessionRows:
    """The rows of a connection of SQLAlchemy."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def select(self, sql: str, parameters: Mapping[str, Any] = {}, /) -> Iterator[Row]:
        """The rows. Raises sqlalchemy.exc.DBAPIError."""
        yield from self._connection.execute(text(sql), dict(parameters)).mappings()


def append(session: Session, entry: RunEntry | HistoryEntry) -> int:
    """Put a row at the end of the chain and return its `seq`."""
    head = session.get_one(ChainHead, 1)
    entry.seq, entry.previous = head.seq + 1, head.digest
    entry.digest = chain.digest(entry.__tablename__, _as_stored(entry, session.get_bind().dialect))
    session.add(entry)
    session.flush()
    head.seq, head.digest = entry.seq, entry.digest
    session.flush()
    return entry.seq


def _as_stored(entry: RunEntry | HistoryEntry, dialect: Dialect) -> dict[str, Any]:
    """Column by column what the database will give back: the digest is over that."""
    stored: dict[str, Any] = {}
    for column in entry.__table__.columns:
        if column.key == "digest":
            continue
        value = getattr(entry, column.key)
        written = column.type.dialect_impl(dialect).bind_processor(dialect)
        value = written(value) if written is not None else value
        stored[column.key] = float(value) if isinstance(column.type, Float) else value
    return stored
