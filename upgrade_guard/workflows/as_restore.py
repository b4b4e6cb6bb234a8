"""The steps of a rollback under the names of a restore: what they do is the same, what they are for is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from upgrade_guard.model.step import Facts, Phase, Step

T = TypeVar("T")
THEIRS, OURS = "rollback", "restore"


def as_restore(*phases: Phase) -> tuple[Phase, ...]:
    """`rollback/cp1/swap` becomes `restore/cp1/swap`, in the journal and in what one step reads of another."""
    return tuple(
        replace(phase, name=_ours(phase.name, "-"), steps=tuple(_step(step) for step in phase.steps))
        for phase in phases
    )


def _step(step: Step) -> Step:
    return replace(
        step, name=_ours(step.name, "/"), probe=_with_their_names(step.probe), act=_with_their_names(step.act)
    )


def _ours(name: str, mark: str) -> str:
    first, found, rest = name.partition(mark)
    return f"{OURS}{found}{rest}" if first == THEIRS else name


def _theirs(name: str) -> str:
    first, found, rest = name.partition("/")
    return f"{THEIRS}{found}{rest}" if first == OURS else name


def _with_their_names(look: Callable[[Facts], T]) -> Callable[[Facts], T]:
    def renamed(facts: Facts) -> T:
        results = {_theirs(name): result for name, result in facts.results.items()}
        started = frozenset(_theirs(name) for name in facts.started)
        return look(Facts(facts.run_id, {**results, **facts.results}, started | facts.started))

    return renamed
