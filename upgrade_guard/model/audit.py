"""What a look over the whole of history found, as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Breach:
    """Something in history does not hold. `what` is a sentence for people.

    `kind` is for scripts: edited, replaced, removed, inserted, cut-off, state, head, trigger, file or line. `seq`,
    `table` and `run` say where, as far as that can be known: of a row that is gone only its number is.
    """

    kind: str
    what: str
    seq: int | None = None
    table: str = ""
    run: str = ""


@dataclass(frozen=True)
class Audit:
    """The whole of a chain, looked at once.

    `rows` were read; `head` is the digest of the newest, with its `seq`. `breaches` are at most as many as somebody
    reads; `more` says that there were others. `gaps` counts places where rows of other runs lie between, whose links
    cannot be followed: only an export of one run has them. `kept` is the `seq` of the row whose digest was kept
    elsewhere, None when none was given or no row has it.
    """

    rows: int
    seq: int
    head: str
    breaches: tuple[Breach, ...] = ()
    more: bool = False
    gaps: int = 0
    kept: int | None = None

    @property
    def whole(self) -> bool:
        """Does all of it hold?"""
        return not self.breaches
