"""A look over all of history, in the journal or in an export: does it hold, and if not, where, and what was changed?"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain as one_after_another
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple

from upgrade_guard.journal import chain
from upgrade_guard.journal.chain import GENESIS, TABLES, by_seq, computed, missing, rows_of
from upgrade_guard.journal.rows import Row, Rows
from upgrade_guard.journal.triggers import unlike
from upgrade_guard.model.audit import Audit, Breach
from upgrade_guard.model.run import Event, Outcome, State

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


_STATES = tuple(state.value for state in State)
_EXIT_STATUSES = (None, *range(256))
_FEW = tuple(range(10))

# Text from the world cannot be guessed; what an editor would like to look better can.
_CANDIDATES: Mapping[tuple[str, str], Iterable[Any]] = {
    ("steps", "outcome"): tuple(outcome.value for outcome in Outcome),
    ("steps", "state"): _STATES,
    ("steps", "changes_node"): (0, 1),
    ("steps", "detail"): ("",),
    ("transitions", "event"): tuple(event.value for event in Event),
    ("transitions", "from_state"): _STATES,
    ("transitions", "to_state"): _STATES,
    ("transitions", "reasons"): ("[]",),
    ("commands", "exit_status"): _EXIT_STATUSES,
    ("commands", "changes"): (0, 1),
    ("commands", "stderr"): ("",),
    ("proofs", "ok"): (0, 1),
    ("copies", "read_back"): (0, 1),
    ("copies", "off_control_plane"): (0, 1),
    ("runs", "offsite_required"): _FEW,
}


def what_would_hold(table: str, row: Mapping[str, Any], wanted: str) -> str:
    """The column and the value with which the row would give its digest, "" when it is not one of the few tried."""
    for (other, column), values in _CANDIDATES.items():
        if other == table:
            for value in values:
                if computed(table, {**row, column: value}) == wanted:
                    return f"{column} = {'NULL' if value is None else repr(value)}"
    return ""


_EVERY = 5_000


class Link(NamedTuple):
    """A row as a part of the chain. `computed` is the digest that its content gives, "" when it gives none."""

    table: str
    seq: int
    run: str
    previous: str
    digest: str
    computed: str
    row: Mapping[str, Any]

    @property
    def name(self) -> str:
        """For sentences."""
        return f"row {self.seq} ({self.table}, run {self.run})"


class Walk:
    """Follows links from the first one on. Afterwards `rows`, `seq` and `digest` are those of the end.

    A `partial` chain (the rows of one run) may begin anywhere and have gaps, which are counted. `kept` is a digest to
    look out for; `kept_seq` is the row that has it. Of `elsewhere`, digests too, `met` are those that a row has.
    """

    def __init__(
        self,
        *,
        partial: bool = False,
        kept: str = "",
        elsewhere: Collection[str] = (),
        heard: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.rows = 0
        self.seq = 0
        self.digest = GENESIS
        self.gaps = 0
        self.kept_seq: int | None = 0 if kept == GENESIS else None
        self.met: set[str] = {GENESIS} & set(elsewhere)
        self._kept = kept
        self._elsewhere = frozenset(elsewhere)
        self._partial = partial
        self._heard = heard
        self._ends: tuple[str, ...] = (GENESIS,)
        self._before: Link | None = None

    def follow(self, links: Iterable[Link]) -> Iterator[Breach]:
        """One breach for each thing that does not hold."""
        for link in links:
            if link.seq != self.seq + 1 or link.previous not in self._ends or link.computed != link.digest:
                yield from self._breaches(link)
            # Where a number stands twice, the next row may follow either of them.
            self._ends = (*self._ends, link.digest) if link.seq == self.seq and self.rows else (link.digest,)
            self.rows, self.seq, self.digest, self._before = self.rows + 1, link.seq, link.digest, link
            if link.digest == self._kept:
                self.kept_seq = link.seq
            if link.digest in self._elsewhere:
                self.met.add(link.digest)
            if self.rows % _EVERY == 0:
                self._heard(self.rows)

    def _breaches(self, link: Link) -> Iterator[Breach]:
        before = self._before
        if before is not None and link.seq == before.seq:
            what = f"row {link.seq} stands twice, in {before.table} and in {link.table}: one of them was inserted"
            yield _breach("inserted", what, link)
        elif before is not None and link.seq < before.seq:
            yield _breach("inserted", f"{link.name} stands after row {before.seq}: it was put there", link)
        elif link.seq != self.seq + 1:
            if self._partial:
                self.gaps += before is not None
            else:
                yield self._removed(self.seq + 1, link)
        elif link.previous not in self._ends:
            if before is None:
                what = f"{link.name} says that another row came before it: the beginning was removed"
            elif before.computed == before.digest:
                what = f"{before.name} was replaced, digest and all: {link.name} was written after another one"
            else:
                what = f"{link.name} was written after another row {before.seq} than the one that is there"
            yield _breach("replaced", what, before or link)
        if link.computed != link.digest:
            guess = what_would_hold(link.table, link.row, link.digest)
            what = f"{link.name} was edited: its content does not give its digest"
            yield _breach("edited", f"{what}; with {guess} it would" if guess else what, link)

    def _removed(self, first: int, link: Link) -> Breach:
        sentence = missing(first, link.seq - 1)
        stood = "it" if first == link.seq - 1 else "they"
        before = f"between {self._before.name} and" if self._before else "before"
        return Breach("removed", f"{sentence}: {stood} stood {before} {link.name}", seq=first)


def _breach(kind: str, what: str, link: Link) -> Breach:
    return Breach(kind, what, link.seq, link.table, link.run)
