"""What the rows of a run's steps say: which succeeded since when, whether a node was ever changed."""

from __future__ import annotations

from collections.abc import Iterable

from upgrade_guard.model.run import Outcome, Run, State, StepRow
from upgrade_guard.model.step import Done, Phase, Step

_ANSWER = "answer/"


def latest_rows(rows: Iterable[StepRow]) -> dict[str, StepRow]:
    """The newest row of each step; `rows` are oldest first."""
    return {row.name: row for row in rows}


def changed_a_node(rows: Iterable[StepRow]) -> bool:
    """Did a step that changes a node ever start, whatever came of it?"""
    return any(row.changes_node and row.outcome is Outcome.STARTED for row in rows)


def succeeded_since_inspection(rows: Iterable[StepRow]) -> tuple[str, ...]:
    """Steps whose success rests on evidence: everything that succeeded after the cluster was inspected."""
    return tuple(
        row.name
        for row in latest_rows(rows).values()
        if row.outcome is Outcome.SUCCEEDED and row.state is not State.STARTED
    )


def under_way(rows: Iterable[StepRow], names: Iterable[str]) -> tuple[str, ...]:
    """Those of these steps that were started and not taken back since."""
    latest = latest_rows(rows)
    return tuple(name for name in names if name in latest and latest[name].outcome is not Outcome.VOIDED)


def lanes_of(phase: Phase) -> tuple[str, ...]:
    """The lanes of a phase, in the order of its steps."""
    return tuple(dict.fromkeys(step.lane for step in phase.steps))


def names_of(phases: Iterable[Phase]) -> tuple[str, ...]:
    """Every step of these phases, and every step that puts one of their lanes back."""
    names: list[str] = []
    for phase in phases:
        names += [step.name for step in phase.steps]
        if phase.amends is not None:
            names += [step.name for lane in lanes_of(phase) for step in phase.amends(lane)]
    return tuple(names)


def answer_step(phase: str) -> Step:
    """The step that has the answer to a failure in that phase."""
    return Step(f"{_ANSWER}{phase}", "answer the failure", lambda _: Done(), lambda _: None)


def not_in_plan(run: Run, rows: Iterable[StepRow], known: Iterable[str]) -> tuple[str, ...]:
    """Steps that were started in the run's state, stand in the journal, and are not among those known for it."""
    names = frozenset(known)
    return tuple(
        row.name
        for row in latest_rows(rows).values()
        if row.state is run.state
        and row.outcome is not Outcome.VOIDED
        and row.name not in names
        and not row.name.startswith(_ANSWER)
    )
