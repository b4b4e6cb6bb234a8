"""One attempt at a step: look, act, look again. Knows neither journal nor lanes; answers with how it ended."""

from __future__ import annotations

from dataclasses import dataclass

from upgrade_guard.errors import (
    CommandFailed,
    DecisionNeeded,
    GuardError,
    HostUnreachable,
    Interrupted,
    Refused,
    StepFailed,
)
from upgrade_guard.model.run import Outcome
from upgrade_guard.model.step import Done, Facts, NotDone, Seen, Step, Unknown


@dataclass(frozen=True)
class Ending:
    """How an attempt ended: what goes into the journal, and the problem that is raised once it is there."""

    outcome: Outcome
    seen: Done | None = None
    detail: str = ""
    problem: Exception | None = None


def attempt(step: Step, facts: Facts, *, in_doubt: bool) -> Ending:
    """Bring the step about and see that it is so.

    Exit codes are hints and the cluster is the truth: an act that failed while the probe then says Done has
    succeeded, and one that ended well while the probe says otherwise has failed. What nobody can tell is UNKNOWN.
    KeyboardInterrupt passes through, which leaves the step in doubt.
    """
    try:
        return _look_first(step, facts, in_doubt=in_doubt)
    except (Interrupted, DecisionNeeded) as problem:
        # Nobody could be asked, or the answer was no: nothing has failed, the step waits for its answer.
        return Ending(Outcome.INTERRUPTED, detail=problem.message, problem=problem)
    except Exception as bug:  # noqa: BLE001 - raised again by the caller, after the journal has it
        return Ending(Outcome.FAILED, detail=f"{type(bug).__name__}: {bug}", problem=bug)


def _look_first(step: Step, facts: Facts, *, in_doubt: bool) -> Ending:
    try:
        seen = _look(step, facts)
    except (Interrupted, DecisionNeeded):
        raise
    except HostUnreachable as problem:
        # Nothing was done by this attempt; but what an earlier one did is still not known.
        outcome = Outcome.UNKNOWN if in_doubt else Outcome.FAILED
        return Ending(outcome, detail=problem.message, problem=problem)
    except GuardError as problem:
        return Ending(Outcome.FAILED, detail=problem.message, problem=problem)
    match seen:
        case Done():
            return Ending(Outcome.SUCCEEDED, seen=seen)
        case Unknown():
            return _cannot_tell(step, seen.why)
    try:
        step.act(facts)
    except (Interrupted, DecisionNeeded):
        raise
    except Refused as problem:
        # A refusal changed nothing by its definition, so there is nothing to look at.
        return Ending(Outcome.FAILED, detail=problem.message, problem=problem)
    except GuardError as problem:
        return _look_again(step, facts, problem)
    return _look_again(step, facts, None)


def _look_again(step: Step, facts: Facts, problem: GuardError | None) -> Ending:
    """Judge by the probe; `problem` is what the act said."""
    said = "" if problem is None else problem.message
    try:
        seen = _look(step, facts)
    except Interrupted:
        raise
    except HostUnreachable as unreachable:
        return Ending(Outcome.UNKNOWN, detail=_joined(said, unreachable.message), problem=unreachable)
    except GuardError as blind:
        return Ending(Outcome.FAILED, detail=_joined(said, blind.message), problem=_explained(problem, blind))
    match seen:
        case Done():
            return Ending(Outcome.SUCCEEDED, seen=seen, detail=said and f"The cluster shows it done, although: {said}")
        case Unknown() if problem is None or _leaves_doubt(problem):
            return _cannot_tell(step, _joined(said, seen.why))
        case Unknown() | NotDone():
            missing = StepFailed(f"{step.summary}: {seen.why or 'it did not come about'}")
            return Ending(Outcome.FAILED, detail=_joined(said, seen.why), problem=_explained(problem, missing))


def _look(step: Step, facts: Facts) -> Seen:
    """Probe. A probe that ran out of time has not said no: it cannot tell."""
    try:
        return step.probe(facts)
    except CommandFailed as problem:
        if problem.exit_status is None:
            return Unknown(problem.message)
        raise


def _leaves_doubt(problem: GuardError) -> bool:
    """Did the act end without saying what it did?"""
    return isinstance(problem, HostUnreachable) or (isinstance(problem, CommandFailed) and problem.exit_status is None)


def _cannot_tell(step: Step, why: str) -> Ending:
    problem = DecisionNeeded(
        f"{step.summary}: cannot tell whether it was done: {why}",
        hint=f"Look at it by hand ({step.name}), then type `upgrade-guard resume`, which looks again.",
    )
    return Ending(Outcome.UNKNOWN, detail=why, problem=problem)


def _explained(problem: GuardError | None, seen: GuardError) -> GuardError:
    """What the act said comes first; what the probe saw is one more reason."""
    if problem is None:
        return seen
    problem.reasons = (*problem.reasons, seen.message, *seen.reasons)
    return problem


def _joined(*parts: str) -> str:
    return "; then: ".join(part for part in parts if part)
