"""The tables, described from the models that make them; for docs/reference. Loads SQLAlchemy."""

from __future__ import annotations

import inspect

from sqlalchemy import create_mock_engine

from upgrade_guard.journal.chain import MUTABLE
from upgrade_guard.journal.models import Base, ChainHead, HistoryEntry, RunEntry


def reference_markdown() -> str:
    """One section for each table: what a row is, and its columns with their types."""
    dialect = create_mock_engine("sqlite://", lambda *_: None).dialect
    lines = ["# The journal's tables", "", *_INTRODUCTION, ""]
    models: list[type[Base]] = [RunEntry, *HistoryEntry.__subclasses__(), ChainHead]
    for model in models:
        table = Base.metadata.tables[model.__tablename__]
        changing = MUTABLE.get(table.name, frozenset())
        lines += [
            f"## {table.name}",
            "",
            inspect.cleandoc(model.__doc__ or ""),
            "",
            "| column | type | |",
            "| --- | --- | --- |",
        ]
        for column in table.columns:
            remarks = [
                "primary key" if column.primary_key else "",
                "may be empty" if column.nullable else "",
                "may change" if column.name in changing else "",
                *(f"refers to {key.target_fullname}" for key in column.foreign_keys),
            ]
            kind = column.type.compile(dialect=dialect).lower()
            lines.append(f"| `{column.name}` | {kind} | {', '.join(remark for remark in remarks if remark)} |")
        lines.append("")
    return "\n".join(lines)


_INTRODUCTION = (
    "SQLite, in `journal.sqlite` of the state directory. Times are UTC text, JSON is text with sorted keys. Rows of",
    "all tables but `chain` share one sequence, `seq`; `digest` is the SHA-256 of the canonical JSON of a row as it is",
    "stored (empty columns, `digest` itself and what may change left out), and `previous` is the digest of the row",
    "before it. Triggers refuse to change or remove rows, and refuse to pass the gate without its evidence.",
)
