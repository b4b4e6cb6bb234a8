"""A look over all of history, in the journal or in an export: does it hold, and if not, where?"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from itertools import chain as one_after_another
from itertools import islice
from types import MappingProxyType

from upgrade_guard.journal import chain
from upgrade_guard.journal.chain import TABLES, by_seq, rows_of
from upgrade_guard.journal.chain_walk import Link, Walk
from upgrade_guard.journal.rows import Row, Rows
from upgrade_guard.journal.triggers import unlike
from upgrade_guard.model.audit import Audit, Breach

MOST = 100
"""Breaches that somebody reads."""


def audited(
    rows: Rows, kept: str, heard: Callable[[int, int], None], elsewhere: Mapping[str, str] = MappingProxyType({})
) -> Audit:
    """All of it, as it is at one moment. `elsewhere` has where each head that was found lies: a row must have it."""
    seq, digest = chain.head(rows)
    walk = Walk(kept=kept, elsewhere=elsewhere, heard=lambda read: heard(read, seq))
    found = one_after_another(
        walk.follow(_links(rows)),
        _numbers(rows),
        _end(walk, seq, digest),
        kept_breaches(walk, kept),
        _elsewhere_breaches(walk, elsewhere),
        (Breach("state", said, table="runs", run=run) for run, said in chain.states(rows)),
        _rules(rows),
        _file(rows),
    )
    return audit_of(walk, found)


def audit_of(walk: Walk, found: Iterator[Breach]) -> Audit:
    """Read to the end, and keep what somebody reads."""
    breaches = tuple(islice(found, MOST))
    more = next(found, None) is not None
    return Audit(walk.rows, walk.seq, walk.digest, breaches, more, walk.gaps, walk.kept_seq)


def kept_breaches(walk: Walk, kept: str) -> Iterator[Breach]:
    """The digest that was kept elsewhere must be one of a row."""
    if kept and walk.kept_seq is None:
        said = f"no row has the head that was kept, {kept}: the end was cut off, or history was written anew"
        yield Breach("head", said)


def _elsewhere_breaches(walk: Walk, elsewhere: Mapping[str, str]) -> Iterator[Breach]:
    for head, where in elsewhere.items():
        if head not in walk.met:
            said = f"no row has the head in {where}, {head}: the end was cut off, or history was written anew since"
            yield Breach("head", said)


def _links(rows: Rows) -> Iterator[Link]:
    for table, row in heapq.merge(*(_whole_numbers(rows, table) for table in TABLES), key=by_seq):
        counted = dict(row)
        run = counted["id" if table == "runs" else "run_id"]
        yield Link(
            table, counted["seq"], run, counted["previous"], counted["digest"], chain.computed(table, counted), counted
        )


def _whole_numbers(rows: Rows, table: str) -> Iterator[tuple[str, Row]]:
    return (item for item in rows_of(rows, table) if isinstance(item[1]["seq"], int))


def _numbers(rows: Rows) -> Iterator[Breach]:
    """SQLite takes anything as a number but where it is the primary key."""
    for row in rows.select("SELECT id, seq FROM runs WHERE typeof(seq) <> 'integer'"):
        said = f"run {row['id']} (runs) was edited: its number in the chain is {row['seq']!r}"
        yield Breach("edited", said, table="runs", run=str(row["id"]))


def _end(walk: Walk, seq: int, digest: str) -> Iterator[Breach]:
    if seq > walk.seq:
        yield Breach("cut-off", f"{chain.missing(walk.seq + 1, seq)} from the end", walk.seq + 1)
    elif (seq, digest) != (walk.seq, walk.digest):
        said = f"the newest row is {walk.seq}, but the chain ends with row {seq} and another digest"
        yield Breach("cut-off", said, walk.seq)


def _rules(rows: Rows) -> Iterator[Breach]:
    gone, changed, strange = unlike(rows)
    for names, what in (
        (gone, "what keeps history from being changed is gone, the triggers"),
        (changed, "what keeps history from being changed was changed, the triggers"),
        (strange, "somebody else made triggers, which can change what is written:"),
    ):
        if names:
            yield Breach("trigger", f"{what} {', '.join(names)}")


def _file(rows: Rows) -> Iterator[Breach]:
    """https://sqlite.org/pragma.html#pragma_integrity_check: also finds rows that an index does not know of."""
    for row in rows.select(f"PRAGMA integrity_check({MOST})"):
        if row["integrity_check"] != "ok":
            yield Breach("file", f"the file is damaged: {row['integrity_check']}")
