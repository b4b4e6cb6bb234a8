"""The chain that makes history tamper-evident: each row carries the SHA-256 of itself and of the row before it.

Nothing here proves who wrote a row: whoever may write the file can rewrite the whole chain. An operator who keeps the
head elsewhere sees even that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from upgrade_guard.journal.encoding import json_text
from upgrade_guard.journal.rows import Row, Rows
from upgrade_guard.journal.values import OUTCOMES
from upgrade_guard.model.run import FINAL

GENESIS = "0" * 64
HISTORY = ("approvals", "commands", "copies", "nodes", "proofs", "snapshots", "steps", "transitions")
TABLES = ("runs", *HISTORY)
MUTABLE = {"runs": frozenset({"cluster", "from_version", "state", "outcome", "finished_at"})}
_OUTCOMES = {state.value: outcome for state, outcome in OUTCOMES.items()}
_ENDED = frozenset(state.value for state in FINAL)
_DIGEST = frozenset({"digest"})
_LEFT_OUT = {table: _DIGEST | changing for table, changing in MUTABLE.items()}


def content(table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row is digested with: its columns as they are stored, `seq` and `previous` included.

    Empty (NULL) columns do not count, so that a column added by a later version leaves old digests as they are.
    """
    left_out = _LEFT_OUT.get(table, _DIGEST)
    return {
        column: int(value) if value is True or value is False else value
        for column, value in row.items()
        if value is not None and column not in left_out
    }


def canonical(table: str, counted: Mapping[str, Any]) -> str:
    """The text that is hashed. Raises TypeError or ValueError for what no journal holds."""
    return json_text([table, counted])


def digest_of(text: str) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def digest(table: str, row: Mapping[str, Any]) -> str:
    """The digest that a row has to carry. Raises TypeError or ValueError for what no journal holds."""
    return digest_of(canonical(table, content(table, row)))


def computed(table: str, row: Mapping[str, Any]) -> str:
    """The digest that a row's content gives; "" for content that no journal writes, such as bytes or infinity."""
    try:
        return digest(table, row)
    except (TypeError, ValueError):
        return ""


def head(rows: Rows) -> tuple[int, str]:
    """`seq` and digest of the newest row; 0 and zeros while there is none."""
    for row in rows.select("SELECT seq, digest FROM chain"):
        return row["seq"], row["digest"]
    return 0, GENESIS


def edited(rows: Rows, run_id: str) -> Iterator[str]:
    """Sentences about the rows of one run, and the rows beside them, that do not hold: quick, for the gate."""
    found = [item for table in TABLES for item in rows_of(rows, table, run_id)]
    found.sort(key=by_seq)
    for table, row in found:
        if computed(table, dict(row)) != row["digest"]:
            yield f"row {row['seq']} ({table}) of run {run_id} was edited"
    for (_, before), (table, after) in pairwise(found):
        if after["seq"] == before["seq"] + 1 and after["previous"] != before["digest"]:
            yield f"row {after['seq']} ({table}) does not follow from row {before['seq']}: one of them was replaced"
        elif after["seq"] > before["seq"] + 1:
            yield from _neighbours(rows, before, after)
    if found:
        yield from _end(rows, found[0][1], found[-1][1])
    yield from (said for _, said in states(rows, run_id))


def _neighbours(rows: Rows, before: Row, after: Row) -> Iterator[str]:
    """Rows of another run, or of none, lie between: the ends of that gap must be there and linked."""
    following = _at(rows, before["seq"] + 1)
    if following is None:
        yield missing(before["seq"] + 1, before["seq"] + 1)
    elif following["previous"] != before["digest"]:
        yield f"row {following['seq']} does not follow from row {before['seq']}: one of them was replaced"
    preceding = _at(rows, after["seq"] - 1)
    if preceding is None:
        if after["seq"] - 1 != before["seq"] + 1:
            yield missing(after["seq"] - 1, after["seq"] - 1)
    elif after["previous"] != preceding["digest"]:
        yield f"row {after['seq']} does not follow from row {preceding['seq']}: one of them was replaced"


def _end(rows: Rows, first: Row, last: Row) -> Iterator[str]:
    if first["seq"] > 1:
        preceding = _at(rows, first["seq"] - 1)
        if preceding is None or preceding["digest"] != first["previous"]:
            yield f"row {first['seq']} does not follow from the row before it: one of them was replaced or removed"
    head_seq, head_digest = head(rows)
    if head_seq > last["seq"]:
        following = _at(rows, last["seq"] + 1)
        if following is None or following["previous"] != last["digest"]:
            yield f"row {last['seq'] + 1} was removed or replaced"
    elif (head_seq, head_digest) != (last["seq"], last["digest"]):
        yield f"the newest row is {last['seq']}, but the chain ends with row {head_seq} and another digest"


def by_seq(item: tuple[str, Row]) -> int:
    """For sorting rows of several tables."""
    seq: int = item[1]["seq"]
    return seq


def states(rows: Rows, run_id: str | None = None) -> Iterator[tuple[str, str]]:
    """Runs and a sentence: state, outcome and end are no history, but must be what the newest transition says."""
    newest = "(SELECT MAX(seq) FROM transitions WHERE run_id = runs.id)"
    sql = (
        "SELECT runs.id, state, outcome, finished_at, COALESCE(to_state, 'started') AS reached, transitions.at AS at "  # noqa: S608
        f"FROM runs LEFT JOIN transitions ON transitions.seq = {newest}"
    )
    named = f"{sql} WHERE runs.id = :run_id"
    for row in rows.select(sql) if run_id is None else rows.select(named, {"run_id": run_id}):
        run, reached = row["id"], row["reached"]
        if row["state"] != reached:
            yield run, f"run {run} is said to be in state {row['state']}, but history reached {reached}"
            continue
        outcome = _OUTCOMES.get(reached, "")
        if row["outcome"] != outcome:
            yield (
                run,
                f"run {run} is said to have ended {row['outcome']!r}, but in state {reached} it ended {outcome!r}",
            )
        ended = row["at"] if reached in _ENDED else None
        if row["finished_at"] != ended:
            yield run, f"run {run} is said to have ended at {row['finished_at']}, but history says {ended}"


def missing(first: int, last: int) -> str:
    """A sentence about rows that are not there."""
    return f"row {first} was removed" if first == last else f"rows {first} to {last} were removed"


def _at(rows: Rows, seq: int) -> Row | None:
    for table in TABLES:
        for row in rows.select(f"SELECT seq, previous, digest FROM {table} WHERE seq = :seq", {"seq": seq}):  # noqa: S608
            return row
    return None


def rows_of(rows: Rows, table: str, run_id: str | None = None) -> Iterator[tuple[str, Row]]:
    """Rows of one table in the order of the chain, each with the table's name."""
    # Table names are the constants above, never input.
    if run_id is None:
        found = rows.select(f"SELECT * FROM {table} ORDER BY seq")  # noqa: S608
    else:
        column = "id" if table == "runs" else "run_id"
        found = rows.select(f"SELECT * FROM {table} WHERE {column} = :run_id ORDER BY seq", {"run_id": run_id})  # noqa: S608
    for row in found:
        yield table, row
