"""A run as the stages that it went through, with the attempts at steps in each, and how long all of it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from upgrade_guard.model.run import Event, Kind, Outcome, Run, State, StepRow, Transition, was_asked
from upgrade_guard.model.step_results import QUESTIONS
from upgrade_guard.ui import vocabulary

GOING_BACK = "Take the cluster back"
_WAITING = "Wait for a person"
_UNDONE = {
    Event.ROLLBACK_BEGUN: "failed",
    Event.RUN_FAILED: "failed",
    Event.ROLLBACK_STOPPED: "failed",
    Event.EVIDENCE_EXPIRED: "expired",
    Event.RUN_ABORTED: "given up",
}


@dataclass(frozen=True)
class Attempt:
    """One attempt at a step. `ended` is None while it is under way, or when its process died."""

    name: str
    lane: str
    number: int
    began: datetime
    seq: int
    ended: datetime | None = None
    outcome: Outcome = Outcome.STARTED
    detail: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float | None:
        """How long it took; never below zero, whatever the clock did."""
        return None if self.ended is None else max((self.ended - self.began).total_seconds(), 0.0)


@dataclass(frozen=True)
class Stage:
    """What was done between two moves of the run.

    `verdict` is done, failed, expired, given up, waited or not finished; `reasons` are those of the move at its end.
    """

    label: str
    verdict: str
    began: datetime
    ended: datetime
    attempts: tuple[Attempt, ...]
    reasons: tuple[str, ...] = ()

    @property
    def answered_in(self) -> float:
        """Seconds that a person took to answer: the time between two processes does not count."""
        return sum(attempt.seconds or 0.0 for attempt in self.attempts if attempt.name in QUESTIONS)

    @property
    def seconds(self) -> float:
        """How long the work took, without a person's time to answer; never below zero, whatever the clock did."""
        return max((self.ended - self.began).total_seconds() - self.answered_in, 0.0)


def attempts(steps: Sequence[StepRow]) -> tuple[Attempt, ...]:
    """Each attempt once, in the order in which they began. What was taken back later is not an attempt."""
    found: dict[tuple[str, int], Attempt] = {}
    for row in steps:
        key = (row.name, row.attempt)
        if row.outcome is Outcome.STARTED:
            found[key] = Attempt(row.name, row.lane, row.attempt, row.at, row.seq)
        elif row.outcome is not Outcome.VOIDED and (began := found.get(key)) is not None:
            found[key] = replace(began, ended=row.at, outcome=row.outcome, detail=row.detail, result=row.result)
    return tuple(found.values())


def stages(run: Run, moves: Sequence[Transition], steps: Sequence[StepRow], now: datetime) -> tuple[Stage, ...]:
    """In the order of time. Which stage a step belongs to is told by the journal's order, not by the clock."""
    found: list[Stage] = []
    tried = attempts(steps)
    began, after = run.started_at, 0
    for move in moves:
        within = tuple(one for one in tried if after < one.seq < move.seq)
        label, verdict = _told(run.kind, move)
        # Where nothing was tried and nothing was reached there is nothing to tell, as before a restore goes on.
        if within or verdict or move.event is not Event.ROLLBACK_BEGUN:
            found.append(Stage(label, verdict or "done", began, move.at, within, move.reasons))
        began, after = move.at, move.seq
    if run.finished_at is None:
        within = tuple(one for one in tried if one.seq > after)
        found.append(Stage(_ahead(run.kind, run.state), "not finished", began, now, within))
    return tuple(found)


def _told(kind: Kind, move: Transition) -> tuple[str, str]:
    """What was done up to that move, and how it ended where it did not end well."""
    if move.from_state is State.ROLLBACK_FAILED:
        return _WAITING, "waited"
    if move.event in _UNDONE:
        # A restore begins what a rollback is made of when all is well, and an upgrade when something failed.
        begun = move.event is Event.ROLLBACK_BEGUN
        if begun and was_asked(move.reasons):
            return _ahead(kind, move.from_state), "given up"
        return _ahead(kind, move.from_state), "" if begun and kind is Kind.RESTORE else _UNDONE[move.event]
    if move.from_state in vocabulary.ROLLBACK:
        return _ahead(kind, move.from_state), ""
    return vocabulary.stage_label(move.to_state, kind), ""


def _ahead(kind: Kind, state: State) -> str:
    """What is done in that state."""
    if state in vocabulary.ROLLBACK:
        return vocabulary.stage_label(State.RESTORED, kind) if kind is Kind.RESTORE else GOING_BACK
    following = vocabulary.next_stage(state, kind)
    return vocabulary.stage_label(following, kind) if following else state.value
