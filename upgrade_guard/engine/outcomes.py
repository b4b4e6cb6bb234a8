"""What the operator can type next, and the errors in which a run ends."""

from __future__ import annotations

from collections.abc import Iterable

from upgrade_guard.engine.evidence_check import GateClosed
from upgrade_guard.engine.gate import only_age
from upgrade_guard.engine.phase_runner import StepProblem
from upgrade_guard.engine.states import allowed
from upgrade_guard.errors import (
    DecisionNeeded,
    GuardError,
    HostUnreachable,
    Refused,
    RollbackFailed,
    RolledBack,
    StepFailed,
    UsageProblem,
)
from upgrade_guard.model.run import FINAL, OF_THE_CLUSTER, Event, Kind, Run, State, was_asked
from upgrade_guard.model.step import Phase

AGAIN = {
    Kind.BACKUP: "upgrade-guard backup create",
    Kind.DRILL: "upgrade-guard backup drill",
    Kind.COPY: "upgrade-guard backup copy BUNDLE",
    Kind.PRUNE: "upgrade-guard backup prune",
}
"""What to type to try again, for the kinds that leave nothing half-way."""


def in_words_of(kind: Kind, hint: str) -> str:
    """The hint of a step, which does not know in what kind of run it is."""
    return hint.replace("upgrade-guard resume", AGAIN.get(kind, "upgrade-guard resume"))


def choices(kind: Kind, state: State) -> str:
    """One line: how to go on, and how to go back."""
    if kind not in OF_THE_CLUSTER:
        return f"Type `{AGAIN[kind]}` to try again."
    if state in (State.ROLLING_BACK, State.ROLLBACK_FAILED):
        return f"Type `upgrade-guard resume` to go on with the {_way_back(kind)}."
    back = []
    if kind is Kind.UPGRADE and Event.ROLLBACK_BEGUN in allowed(kind, state):
        back.append("`upgrade-guard rollback` to take everything back")
    if Event.RUN_ABORTED in allowed(kind, state):
        back.append("`upgrade-guard abort` to close the run while the control plane is untouched")
    return "Type " + ", or ".join(("`upgrade-guard resume` to try again", *back)) + "."


def calls_for_rollback(problem: GuardError) -> bool:
    """Is it a failure? Doubt, an unreachable node and an unanswered question are not, and never roll back."""
    return isinstance(problem, StepFailed | Refused) and not isinstance(problem, HostUnreachable)


def reasons_of(problems: Iterable[StepProblem]) -> tuple[str, ...]:
    """Every message and every reason, each once, in order."""
    told: list[str] = []
    for failure in problems:
        told += [failure.problem.message, *failure.problem.reasons]
    return tuple(dict.fromkeys(told))


def as_it_is(problems: tuple[StepProblem, ...], run: Run) -> GuardError:
    """The first problem, with a way on when it names none, and with what other lanes said."""
    first = problems[0].problem
    first.hint = first.hint or choices(run.kind, run.state)
    first.reasons = tuple(dict.fromkeys((*first.reasons, *reasons_of(problems[1:]))))
    return first


def ended(run: Run) -> UsageProblem:
    """The run is over."""
    return UsageProblem(
        f"Run {run.id} has ended: {run.state.value}.", hint="Type `upgrade-guard history` to see past runs."
    )


def lane_failed(run: Run, phase: Phase, problems: tuple[StepProblem, ...], put_back: tuple[str, ...]) -> DecisionNeeded:
    """One node failed and the others stand: a person decides."""
    lanes = tuple(dict.fromkeys(failure.step.lane for failure in problems))
    names = ", ".join(lane or "the cluster" for lane in lanes)
    back = f" Put back: {', '.join(put_back)}." if put_back else ""
    return DecisionNeeded(
        f"{phase.title}: {names} failed: {problems[0].problem.message.rstrip('.')}.{back}",
        hint=choices(run.kind, run.state),
        reasons=reasons_of(problems),
    )


def stopped_without_rollback(run: Run, phase: Phase, problems: tuple[StepProblem, ...]) -> DecisionNeeded:
    """It failed after something was changed, and the operator wants to be asked before a rollback."""
    return DecisionNeeded(
        f"{phase.title} failed: {problems[0].problem.message}",
        hint=choices(run.kind, run.state),
        reasons=reasons_of(problems),
    )


def paused(
    run: Run, phase: Phase, problems: tuple[StepProblem, ...], why: str, put_back: tuple[str, ...] = ()
) -> DecisionNeeded:
    """It failed, and no more is taken back by itself than these lanes; `why` says why not."""
    taken = f"Only {' and '.join(put_back)} went back" if put_back else "Nothing was taken back"
    said = f"{phase.title}: {problems[0].problem.message.rstrip('.')}. {taken}: {why}."
    return _left_to_a_person(run, said, problems)


def cannot_answer(run: Run, phase: Phase, problems: tuple[StepProblem, ...], blind: GuardError) -> GuardError:
    """It failed, and what is right to answer cannot be seen now: nothing is decided until it can."""
    kind = HostUnreachable if isinstance(blind, HostUnreachable) else StepFailed
    return kind(
        f"{phase.title}: {problems[0].problem.message.rstrip('.')}; nothing is decided yet: {blind.message}",
        hint=choices(run.kind, run.state),
        reasons=tuple(dict.fromkeys((*reasons_of(problems), *blind.reasons))),
    )


def nodes_left(run: Run, phase: Phase, problems: tuple[StepProblem, ...]) -> DecisionNeeded:
    """The control plane is back and serves; these nodes are not back yet."""
    lanes = ", ".join(dict.fromkeys(failure.step.lane for failure in problems))
    message = problems[0].problem.message
    said = f"{phase.title}: the control plane is back, and these nodes are not: {lanes}: {message}"
    return _left_to_a_person(run, said, problems)


def _left_to_a_person(run: Run, said: str, problems: tuple[StepProblem, ...]) -> DecisionNeeded:
    """With the cure of the first problem, and the ways on whatever it is."""
    ways_on = choices(run.kind, run.state)
    return DecisionNeeded(
        said,
        hint=problems[0].problem.hint or ways_on,
        reasons=tuple(dict.fromkeys((*reasons_of(problems), ways_on))),
    )


def gate_closed(closed: GateClosed, *, touched: bool) -> Refused:
    """The gate stays closed; once the control plane was `touched` only a rollback leads back."""
    if touched:
        return Refused(
            "The gate is closed, and the control plane has begun to change.",
            hint="Type `upgrade-guard rollback`; if the bundle is damaged, fetch its off-site copy first.",
            reasons=closed.reasons,
        )
    hint = "Type `upgrade-guard resume` to take a new snapshot."
    if closed.edited:
        hint = "Type `upgrade-guard abort` and begin again: a run whose journal was edited cannot be resumed."
    elif only_age(closed.evidence):
        hint = "Type `upgrade-guard resume` to take a new snapshot, or begin again with a longer snapshot_max_age."
    return Refused(
        "The gate is closed: no node is changed without a proven snapshot.", hint=hint, reasons=closed.reasons
    )


def plan_changed(run: Run, gone: tuple[str, ...]) -> Refused:
    """The plan of a run is frozen: a version that does not know a step that was started does not go on."""
    version = f"upgrade-guard {run.tool_version}" if run.tool_version else "the version of upgrade-guard"
    return Refused(
        "The plan changed since this run began: steps of the journal are not known here.",
        hint=f"Go on with {version}, which began this run: `upgrade-guard resume`.",
        reasons=tuple(f"{name} was started while {run.state.value} and is not part of it now." for name in gone),
    )


def cannot_abort(run: Run, *, touched: bool) -> Refused:
    """Only a rollback leads back."""
    if run.state in FINAL:
        return Refused(f"Run {run.id} has ended: {run.state.value}.", hint="Type `upgrade-guard history`.")
    if run.kind is Kind.RESTORE:
        return Refused(f"Restore {run.id} has begun to change the cluster.", hint=choices(run.kind, run.state))
    why = "the control plane has begun to change" if touched else f"the run is {run.state.value}"
    return Refused(
        f"Run {run.id} cannot be closed as it is: {why}.", hint="Type `upgrade-guard rollback` to take everything back."
    )


def cannot_roll_back(run: Run) -> Refused:
    """Nothing is there to take back, or it is over."""
    if run.kind is Kind.RESTORE and run.state not in FINAL:
        return Refused(
            f"Run {run.id} is a restore, and a restore cannot be rolled back.",
            hint=choices(run.kind, run.state),
        )
    if run.state in FINAL:
        return Refused(f"Run {run.id} has ended: {run.state.value}.", hint="Type `upgrade-guard history`.")
    return Refused(
        f"Run {run.id} is {run.state.value}: no node was changed, so there is nothing to roll back.",
        hint="Type `upgrade-guard abort` to close the run.",
    )


def rolled_back(run: Run, reasons: tuple[str, ...]) -> RolledBack:
    """The end that an upgrade comes to when it failed, or a person took it back, and the cluster is whole again."""
    why = f"The upgrade to {run.target} was taken back" if was_asked(reasons) else f"The upgrade to {run.target} failed"
    return RolledBack(
        f"{why}; the cluster was rolled back to {run.from_version} and verified.",
        hint=f"Type `upgrade-guard show {run.id}` to see what happened.",
        reasons=reasons,
    )


def rollback_failed(run: Run, problems: tuple[StepProblem, ...], reasons: tuple[str, ...]) -> RollbackFailed:
    """The way back is blocked; it can be resumed."""
    return RollbackFailed(
        f"The {_way_back(run.kind)} failed: {problems[0].problem.message}",
        hint=choices(run.kind, State.ROLLBACK_FAILED),
        reasons=tuple(dict.fromkeys((*reasons_of(problems), *reasons))),
    )


def _way_back(kind: Kind) -> str:
    return "restore" if kind is Kind.RESTORE else "rollback"
