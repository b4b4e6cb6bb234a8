"""Rows at the end of the chain, and a look at what is there, inside a transaction. Loads SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from sqlalchemy import Float, TextClause, text
from sqlalchemy.engine import Connection, Dialect

from upgrade_guard.journal import chain
from upgrade_guard.journal.models import HistoryEntry, RunEntry
from upgrade_guard.journal.rows import Row

# What SQLAlchemy reads in a text it reads once.
statement: Callable[[str], TextClause] = cache(text)


class ConnectionRows:
    """The rows as a transaction sees them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def select(self, sql: str, parameters: Mapping[str, Any] = {}, /) -> Iterator[Row]:
        """The rows. Raises sqlalchemy.exc.DBAPIError."""
        yield from self._connection.execute(statement(sql), dict(parameters)).mappings()


def append(connection: Connection, entry: RunEntry | HistoryEntry) -> int:
    """Put a row at the end of the chain and return its `seq`."""
    seq, previous = chain.head(ConnectionRows(connection))
    entry.seq, entry.previous = seq + 1, previous
    row = as_stored(entry, connection.dialect)
    entry.digest = row["digest"] = chain.digest(entry.__tablename__, row)
    connection.execute(_insert(type(entry)), row)
    connection.execute(
        statement("UPDATE chain SET seq = :seq, digest = :digest"), {"seq": entry.seq, "digest": entry.digest}
    )
    return entry.seq


def as_stored(entry: RunEntry | HistoryEntry, dialect: Dialect) -> dict[str, Any]:
    """Column by column what the database will give back, but for the digest, which is over just that."""
    return {
        column: written(getattr(entry, column)) if written is not None else getattr(entry, column)
        for column, written in _written(type(entry), dialect).items()
    }


@cache
def _insert(kind: type[RunEntry | HistoryEntry]) -> TextClause:
    columns = kind.__table__.columns.keys()
    values = ", ".join(f":{column}" for column in columns)
    return text(f"INSERT INTO {kind.__tablename__} ({', '.join(columns)}) VALUES ({values})")  # noqa: S608


@cache
def _written(kind: type[RunEntry | HistoryEntry], dialect: Dialect) -> dict[str, Callable[[Any], Any] | None]:
    """How the type of each column writes a value. A whole number in a column of fractions comes back as a fraction."""
    return {
        column.key: float
        if isinstance(column.type, Float)
        else column.type.dialect_impl(dialect).bind_processor(dialect)
        for column in kind.__table__.columns
        if column.key != "digest"
    }
