"""Rows at the end of the chain, and what is recorded together, inside a transaction. Loads SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Float, TextClause, text
from sqlalchemy.engine import Connection, Dialect

from upgrade_guard.errors import UsageProblem
from upgrade_guard.journal import chain, history
from upgrade_guard.journal.encoding import instant_text, plain_text
from upgrade_guard.journal.entries import command_entry, record_entry
from upgrade_guard.journal.models import HistoryEntry, RunEntry, StepEntry, TransitionEntry
from upgrade_guard.journal.problems import no_such_run
from upgrade_guard.journal.rows import Row
from upgrade_guard.journal.values import OUTCOMES
from upgrade_guard.model.run import (
    FINAL,
    ApprovalRecord,
    CommandRow,
    Move,
    Outcome,
    Record,
    Run,
    State,
    StepRow,
    Transition,
)
from upgrade_guard.model.step import Step

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


class Transaction:
    """The writes that a transaction is made of; the store commits all of them or none."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows = ConnectionRows(connection)

    def begin(self, run: Run) -> None:
        """Record a run's beginning. Raises UsageProblem when its id is taken."""
        if self._state(run.id) is not None:
            raise UsageProblem(
                f"there is a run {run.id!r} in the journal already", hint="look at it: `upgrade-guard history`"
            )
        append(
            self._connection,
            RunEntry(
                id=run.id,
                started_at=run.started_at,
                cluster=run.cluster,
                from_version=run.from_version,
                target=run.target,
                state=run.state,
                outcome=run.outcome,
                finished_at=run.finished_at,
                offsite_required=run.offsite_required,
                snapshot_max_age=run.snapshot_max_age,
                settings=dict(run.settings),
                operator=run.operator,
                host=run.host,
                tool_version=run.tool_version,
                kind=run.kind,
            ),
        )

    def start(self, run_id: str, step: Step, at: datetime) -> int:
        """Record the intent; the number of this attempt, from 1."""
        before = self._latest(run_id, step.name)
        attempt = 1 if before is None else before.attempt + 1
        append(
            self._connection,
            StepEntry(
                run_id=run_id,
                at=at,
                name=step.name,
                lane=step.lane,
                attempt=attempt,
                state=self._reached(run_id),
                outcome=Outcome.STARTED,
                changes_node=step.changes_node,
                result={},
                detail="",
            ),
        )
        return attempt

    def conclude(
        self,
        run_id: str,
        step_name: str,
        attempt: int,
        outcome: Outcome,
        at: datetime,
        *,
        result: Mapping[str, Any],
        detail: str,
        records: Sequence[Record],
    ) -> None:
        """Record how an attempt ended, with the evidence it left. Raises ValueError when it is not under way."""
        before = self._latest(run_id, step_name)
        if before is None or before.attempt != attempt or before.outcome is not Outcome.STARTED:
            raise ValueError(f"attempt {attempt} of {step_name} is not under way in run {run_id}")
        self._append_step(before, self._reached(run_id), outcome, at, result=result, detail=detail)
        for record in records:
            append(self._connection, record_entry(run_id, record, at))

    def move(self, run_id: str, move: Move, at: datetime) -> Transition:
        """Record the transition, take the voided steps back, and set the run's state."""
        from_state = self._reached(run_id)
        self.void(run_id, move.voids, "; ".join(move.reasons) or move.event.value, at)
        seq = append(
            self._connection,
            TransitionEntry(
                run_id=run_id,
                at=at,
                event=move.event,
                from_state=from_state,
                to_state=move.to_state,
                reasons=tuple(move.reasons),
            ),
        )
        self._connection.execute(
            statement("UPDATE runs SET state = :state, outcome = :outcome, finished_at = :finished_at WHERE id = :id"),
            {
                "id": run_id,
                "state": move.to_state.value,
                "outcome": OUTCOMES.get(move.to_state, ""),
                "finished_at": instant_text(at) if move.to_state in FINAL else None,
            },
        )
        return Transition(
            seq=seq,
            run_id=run_id,
            event=move.event,
            from_state=from_state,
            to_state=move.to_state,
            at=at,
            reasons=tuple(move.reasons),
        )

    def void(self, run_id: str, step_names: Iterable[str], why: str, at: datetime) -> None:
        """Take back what steps achieved. A step that never started, or is voided already, has nothing to take back."""
        for name in step_names:
            before = self._latest(run_id, name)
            if before is not None and before.outcome is not Outcome.VOIDED:
                state = self._reached(run_id)
                self._append_step(before, state, Outcome.VOIDED, at, result={}, detail=why)

    def identify(self, run_id: str, cluster: str, from_version: str) -> None:
        """Set what only a look at the cluster can tell."""
        self._reached(run_id)
        self._connection.execute(
            statement("UPDATE runs SET cluster = :cluster, from_version = :from_version WHERE id = :id"),
            {"id": run_id, "cluster": plain_text(cluster), "from_version": plain_text(from_version)},
        )

    def note(self, row: CommandRow, at: datetime) -> None:
        """Record a command that ran."""
        self._reached(row.run_id)
        append(self._connection, command_entry(row, at))

    def approve(self, run_id: str, approval: ApprovalRecord, at: datetime) -> None:
        """Record who said yes."""
        self._reached(run_id)
        append(self._connection, record_entry(run_id, approval, at))

    def _append_step(
        self,
        before: StepRow,
        state: State,
        outcome: Outcome,
        at: datetime,
        *,
        result: Mapping[str, Any],
        detail: str,
    ) -> None:
        append(
            self._connection,
            StepEntry(
                run_id=before.run_id,
                at=at,
                name=before.name,
                lane=before.lane,
                attempt=before.attempt,
                state=state,
                outcome=outcome,
                changes_node=before.changes_node,
                result=dict(result),
                detail=detail,
            ),
        )

    def _reached(self, run_id: str) -> State:
        state = self._state(run_id)
        if state is None:
            raise no_such_run(run_id)
        return state

    def _state(self, run_id: str) -> State | None:
        return history.state(self._rows, run_id)

    def _latest(self, run_id: str, step_name: str) -> StepRow | None:
        return history.latest(self._rows, run_id, step_name)
