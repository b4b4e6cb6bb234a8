"""The reference names every table and every column."""

from __future__ import annotations

from upgrade_guard.journal.models import Base
from upgrade_guard.journal.reference import reference_markdown


def test_every_table_and_column_is_named() -> None:
    sections = {section.partition("\n")[0]: section for section in reference_markdown().split("\n## ")[1:]}
    assert set(sections) == set(Base.metadata.tables)
    for name, table in Base.metadata.tables.items():
        for column in table.columns:
            assert f"| `{column.name}` |" in sections[name]
    assert "| `state` | varchar(32) | may change |" in sections["runs"]
    assert "| `run_id` | varchar(64) | refers to runs.id |" in sections["copies"]
