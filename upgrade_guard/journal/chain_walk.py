"""The chain, followed row by row: what was edited, replaced, removed or inserted. Uses constant memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from upgrade_guard.journal.chain import GENESIS, missing
from upgrade_guard.journal.tamper_guess import what_would_hold
from upgrade_guard.model.audit import Breach

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
