"""The journal as the other rooms see it: frozen values in and out."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from upgrade_guard.errors import JournalProblem
from upgrade_guard.journal.problems import cured, edited, newer, unwritable
from upgrade_guard.journal.queries import Answers
from upgrade_guard.journal.rows import ReadOnlyRows, Rows
from upgrade_guard.journal.values import SpoiltValueError, StrangeValueError
from upgrade_guard.journal.versions import Age, age
from upgrade_guard.model.run import (
    ApprovalRecord,
    CommandRow,
    Kind,
    Move,
    Outcome,
    Record,
    Run,
    State,
    Transition,
)
from upgrade_guard.model.step import Step

if TYPE_CHECKING:
    from upgrade_guard.journal.store import Store
    from upgrade_guard.journal.transaction import Transaction


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Journal(Answers):
    """Everything that happened, in one file. Threads may share it: one lock goes around each transaction.

    Each write is one transaction that is on the disk when the call returns. Every call may raise JournalProblem (full
    disk, locked, damaged, a value from a newer version), with nothing of it recorded.
    """

    def __init__(self, path: Path, now: Callable[[], datetime], store: Store | None, looker: ReadOnlyRows) -> None:
        self._path = path
        self._now = now
        self._store = store
        self._looker = looker
        self._lock = threading.RLock()

    @classmethod
    def open(cls, path: Path, now: Callable[[], datetime] = _utc_now) -> Journal:
        """Open for writing. Makes the directory (0700) and the file (0600); copies an older journal and migrates it.

        Raises JournalProblem: newer version, not a journal, network file system, no permission, full disk.
        """
        from upgrade_guard.journal.store import Store

        store = Store(path, now)
        try:
            return cls(path, now, store, ReadOnlyRows(path))
        except sqlite3.Error as error:
            store.close()
            raise cured(error, path) from error

    @classmethod
    def read(cls, path: Path, now: Callable[[], datetime] = _utc_now) -> Journal | None:
        """Open to look; None when there is no journal. Makes and migrates nothing; works beside a writer and after one.

        Raises JournalProblem: newer or older version, not a journal, no permission.
        """
        try:
            if path.stat().st_size == 0:
                return None  # its maker died, or is about to write the tables
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unwritable(path, error) from error
        try:
            looker = ReadOnlyRows(path)
            try:
                found = age(looker, path)
            except BaseException:
                looker.close()
                raise
        except sqlite3.Error as error:
            raise cured(error, path) from error
        if found is Age.EMPTY:
            looker.close()
            return None
        if found is Age.OLDER:
            looker.close()
            raise JournalProblem(
                f"{path} was written by an older version of upgrade-guard, and looking at it changes nothing",
                hint="bring it up to date with a command that writes, such as `upgrade-guard resume`",
            )
        return cls(path, now, None, looker)

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            # The writer leaves last: then SQLite puts its log into the file, which becomes the whole journal.
            self._looker.close()
            if self._store is not None:
                self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def begin(
        self,
        *,
        run_id: str,
        cluster: str,
        from_version: str,
        target: str,
        offsite_required: int,
        snapshot_max_age: float,
        settings: Mapping[str, Any],
        operator: str,
        host: str,
        tool_version: str,
        kind: Kind = Kind.UPGRADE,
    ) -> Run:
        """A new run in state STARTED. `snapshot_max_age` is in seconds. What it begins with never changes, but for
        `cluster` and `from_version`, which may be empty until `identify`. Raises UsageProblem when the id is taken.
        """
        run = Run(
            id=run_id,
            cluster=cluster,
            from_version=from_version,
            target=target,
            state=State.STARTED,
            outcome="",
            started_at=self._now(),
            finished_at=None,
            offsite_required=offsite_required,
            snapshot_max_age=snapshot_max_age,
            settings=settings,
            operator=operator,
            host=host,
            tool_version=tool_version,
            kind=kind,
        )
        with self._writing() as transaction:
            transaction.begin(run)
        return self.run(run_id)

    def identify(self, run_id: str, *, cluster: str, from_version: str) -> None:
        """Record which cluster it is, once it was inspected."""
        with self._writing() as transaction:
            transaction.identify(run_id, cluster, from_version)

    def start(self, run_id: str, step: Step) -> int:
        """Record that a step is about to begin; the number of this attempt, from 1.

        Raises Refused when the step changes a node and the rows do not hold what the gate asks for.
        """
        with self._writing() as transaction:
            return transaction.start(run_id, step, self._now())

    def conclude(
        self,
        run_id: str,
        step_name: str,
        attempt: int,
        outcome: Outcome,
        *,
        result: Mapping[str, Any] | None = None,
        detail: str = "",
        records: Sequence[Record] = (),
        move: Move | None = None,
    ) -> None:
        """Record how an attempt ended, the evidence it left and the new state, all or nothing.

        Raises Refused when the gate is closed for the move, ValueError when that attempt is not under way.
        """
        at = self._now()
        with self._writing() as transaction:
            transaction.conclude(
                run_id, step_name, attempt, outcome, at, result=result or {}, detail=detail, records=records
            )
            if move is not None:
                transaction.move(run_id, move, at)

    def move(self, run_id: str, move: Move) -> Transition:
        """Record a transition, and take the steps back that it voids. Raises Refused when the gate is closed for it."""
        with self._writing() as transaction:
            return transaction.move(run_id, move, self._now())

    def void(self, run_id: str, step_names: Iterable[str], why: str) -> None:
        """Take steps back: they no longer count as done."""
        with self._writing() as transaction:
            transaction.void(run_id, step_names, why, self._now())

    def note(self, row: CommandRow) -> None:
        """Record a command that ran; its `seq` is given here."""
        with self._writing() as transaction:
            transaction.note(row, self._now())

    def approve(self, run_id: str, approval: ApprovalRecord) -> None:
        """Record who said yes to what."""
        with self._writing() as transaction:
            transaction.approve(run_id, approval, self._now())

    @contextmanager
    def _rows(self) -> Iterator[Rows]:
        with self._lock:
            try:
                with self._looker.one_moment():
                    yield self._looker
            except sqlite3.Error as error:
                raise cured(error, self._path) from error
            except StrangeValueError as error:
                raise newer(self._path, str(error)) from error
            except SpoiltValueError as error:
                raise edited(self._path, str(error)) from error

    @contextmanager
    def _writing(self) -> Iterator[Transaction]:
        if self._store is None:
            raise RuntimeError(f"{self._path} was opened to look at, not to write")
        with self._lock, self._store.writing() as transaction:
            yield transaction
