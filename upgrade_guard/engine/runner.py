"""Takes a run from where the journal says it stands to its end: up through the gate, or all the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from upgrade_guard.engine import outcomes
from upgrade_guard.engine.evidence_check import GateClosed, Gatekeeper
from upgrade_guard.engine.gate import only_age
from upgrade_guard.engine.interruption import Interruption
from upgrade_guard.engine.node_recovery import Amending
from upgrade_guard.engine.phase_runner import Passage, StepProblem, StepsFailed
from upgrade_guard.engine.record import (
    answer_step,
    changed_a_node,
    names_of,
    not_in_plan,
    succeeded_since_inspection,
    under_way,
)
from upgrade_guard.engine.run_context import Attribution, BeforeChange, Equipment, unattributed, unwatched
from upgrade_guard.engine.states import advance, allowed
from upgrade_guard.engine.watcher import OneAtATime, Watcher
from upgrade_guard.engine.workflow import Workflow
from upgrade_guard.errors import DecisionNeeded, EvidenceLost, GuardError, HostUnreachable
from upgrade_guard.model.clock import Clock
from upgrade_guard.model.codec import to_json
from upgrade_guard.model.run import FINAL, Event, Kind, Move, Outcome, Run, State
from upgrade_guard.model.step import Answer, Phase

if TYPE_CHECKING:
    from upgrade_guard.journal.journal import Journal

_GATED = (State.COPIED, State.PLANNED)

_LOST_HOSTS = 5
"""How often one process goes on with a way back after a host could not be reached."""


class _WalkAgain(Exception):
    """A way back met a host that cannot be reached; what is ahead is asked for again."""


class Runner:
    """Runs steps, believes the cluster, records outcomes, and takes the way back when the upgrade fails.

    One Runner for one process and one run. The caller holds the run lock and has installed the interruption.
    """

    def __init__(
        self,
        journal: Journal,
        workflow: Workflow,
        watcher: Watcher,
        clock: Clock,
        interruption: Interruption,
        attribution: Attribution = unattributed,
        before_change: BeforeChange = unwatched,
        *,
        auto_rollback: bool = True,
    ) -> None:
        self._journal = journal
        self._workflow = workflow
        self._tell = OneAtATime(watcher)
        self._equipment = Equipment(journal, workflow, self._tell, clock, interruption, attribution, before_change)
        self._auto_rollback = auto_rollback
        self._retaken = False
        interruption.listen(lambda reason: self._tell(lambda watcher: watcher.stopping(reason)))

    def go_on(self, run_id: str) -> Run:
        """Go on until the run has ended well, and return it.

        Raises Refused (a check, the gate, or a plan that changed), StepFailed, DecisionNeeded, Interrupted, RolledBack
        when the upgrade failed and the cluster is back, RollbackFailed, and bugs as they are.
        """
        run = self._take_up(run_id)
        if run.state in FINAL:
            raise outcomes.ended(run)
        gatekeeper = Gatekeeper(self._equipment, run.id)
        while run.state not in FINAL:
            if run.state in (State.ROLLING_BACK, State.ROLLBACK_FAILED):
                if run.kind is Kind.RESTORE:
                    return self._roll_back(run, ())  # the way back is what such a run is for
                self._take_everything_back(run, ())
            try:
                self._reach_the_next_state(run, gatekeeper)
            except GateClosed as closed:
                self._turn_away(run, closed)
                gatekeeper = Gatekeeper(self._equipment, run.id)
            run = self._journal.run(run.id)
        return run

    def roll_back(self, run_id: str, reasons: tuple[str, ...]) -> Run:
        """Begin the rollback, or go on with it; return the run once it is rolled back.

        Raises Refused where there is nothing to roll back, RollbackFailed, DecisionNeeded, Interrupted.
        """
        run = self._take_up(run_id)
        if run.kind is not Kind.UPGRADE:
            raise outcomes.cannot_roll_back(run)
        return self._roll_back(run, reasons)

    def abort(self, run_id: str) -> Run:
        """Put packages back and close a run whose control plane is untouched. Raises Refused, or what a step raises."""
        run = self._take_up(run_id)
        facts = self._journal.facts(run.id)
        touched = run.state not in FINAL and self._workflow.control_plane_touched(facts)
        if touched or Event.RUN_ABORTED not in allowed(run.kind, run.state):
            raise outcomes.cannot_abort(run, touched=touched)
        phases = self._workflow.aborting(facts)
        if run.state in _GATED and any(step.changes_node for phase in phases for step in phase.steps):
            # In these states the journal lets no node be changed without fresh evidence; a run that is being closed
            # needs none, so it first goes back to where none is asked for.
            run = self._move(run, Event.EVIDENCE_EXPIRED, ("The run is being closed.",))
        for phase in phases:
            try:
                Passage(self._equipment, run, phase, None).walk()
            except StepsFailed as failed:
                raise outcomes.as_it_is(failed.problems, run) from failed.problems[0].problem
        run = self._journal.run(run.id)
        return run if run.state is State.ABORTED else self._move(run, Event.RUN_ABORTED, ())

    def _take_up(self, run_id: str) -> Run:
        run = self._journal.run(run_id)
        resumed = run.state is not State.STARTED or bool(self._journal.facts(run.id).started)
        self._tell(lambda watcher: watcher.run_began(run, resumed=resumed))
        return run

    def _reach_the_next_state(self, run: Run, gatekeeper: Gatekeeper) -> None:
        amending = Amending(self._equipment, run)

        def walk(phase: Phase) -> None:
            amending.finish(phase)
            try:
                Passage(self._equipment, run, phase, gatekeeper).walk()
            except StepsFailed as failed:
                self._answer(run, phase, failed.problems, amending)

        self._walk_all(run, walk)

    def _walk_all(self, run: Run, walk: Callable[[Phase], None]) -> None:
        """Walk phases until one carries the event; where none does, ask again with what they found."""
        walked: list[tuple[str, ...]] = []
        while True:
            phases = self._ahead(run)
            ahead = [phase for phase in phases if names_of((phase,)) not in walked]
            if not ahead:
                raise RuntimeError(f"the workflow gives no way on from {run.state.value}")
            for phase in ahead:
                walk(phase)
                walked.append(names_of((phase,)))
                if phase.decides:
                    break
            else:
                if phases[-1].event is not None:
                    return

    def _ahead(self, run: Run) -> tuple[Phase, ...]:
        """What the workflow gives for this state, held against what the journal already knows of it."""
        facts = self._journal.facts(run.id)
        phases = self._workflow.ahead(run.state, facts)
        if not phases or any(phase.event is not None for phase in phases[:-1]):
            raise RuntimeError(f"the workflow must give phases for {run.state.value}, an event only with the last one")
        gone = not_in_plan(run, self._journal.steps(run.id), names_of(phases))
        if not gone:
            return phases
        if self._was_aborting(run, gone) or self._were_given_up(run, gone):
            return self._ahead(run)
        raise outcomes.plan_changed(run, gone)

    def _turn_away(self, run: Run, closed: GateClosed) -> None:
        """Give the evidence up where a new snapshot can be had; return when nothing but its age was wrong."""
        touched = not closed.evidence.age_matters or Event.EVIDENCE_EXPIRED not in allowed(run.kind, run.state)
        if not touched and not closed.edited:
            self._give_evidence_up(run, closed.reasons)
            if only_age(closed.evidence) and not self._retaken:
                self._retaken = True  # once in a process: a limit shorter than the taking would never end
                return
        raise outcomes.gate_closed(closed, touched=touched) from None

    def _answer(self, run: Run, phase: Phase, problems: tuple[StepProblem, ...], amending: Amending) -> NoReturn:
        """Answer a failure: leave it, close the run, put a node back, ask, or take everything back."""
        cause = problems[0].problem
        if any(isinstance(failure.problem, EvidenceLost) for failure in problems) and self._can_retake(run):
            self._give_evidence_up(run, outcomes.reasons_of(problems))
            raise outcomes.as_it_is(problems, run) from cause
        if Event.RUN_FAILED in allowed(run.kind, run.state) and not isinstance(cause, DecisionNeeded):
            self._move(run, Event.RUN_FAILED, outcomes.reasons_of(problems))
            raise outcomes.as_it_is(problems, run) from cause
        failures = tuple(failure for failure in problems if outcomes.calls_for_rollback(failure.problem))
        changed = changed_a_node(self._journal.steps(run.id))
        if not (failures and changed and Event.ROLLBACK_BEGUN in allowed(run.kind, run.state)):
            raise outcomes.as_it_is(problems, run) from cause
        self._equipment.interruption.check(outcomes.reasons_of(problems))
        if phase.amends is not None and not phase.weighs:
            put_back = amending.put_back(phase, failures)
            raise outcomes.lane_failed(run, phase, problems, put_back) from cause
        try:
            answer = self._workflow.answer(
                tuple((failure.step.name, failure.problem) for failure in failures), self._journal.facts(run.id)
            )
        except GuardError as blind:
            raise outcomes.cannot_answer(run, phase, problems, blind) from cause
        reasons = outcomes.reasons_of(problems)
        self._write_down(run, phase, answer, tuple(failure.step.name for failure in failures))
        if not answer.everything_back:
            put_back = amending.put_back(phase, failures) if answer.lanes_back else ()
            raise outcomes.paused(run, phase, problems, answer.why, put_back) from cause
        if not self._auto_rollback:
            raise outcomes.stopped_without_rollback(run, phase, problems) from cause
        self._take_everything_back(run, (*reasons, *((answer.why,) if answer.why not in reasons else ())))

    def _write_down(self, run: Run, phase: Phase, answer: Answer, failed: tuple[str, ...]) -> None:
        """Which answer was given to these failures, and why: a step of its own, which no plan has."""
        step = answer_step(phase.name)
        number = self._journal.start(run.id, step)
        self._journal.conclude(
            run.id, step.name, number, Outcome.SUCCEEDED, result={**to_json(answer), "to": list(failed)}
        )

    def _can_retake(self, run: Run) -> bool:
        early = run.state is State.INSPECTED or Event.EVIDENCE_EXPIRED in allowed(run.kind, run.state)
        return early and not self._workflow.control_plane_touched(self._journal.facts(run.id))

    def _give_evidence_up(self, run: Run, reasons: tuple[str, ...]) -> None:
        """Back to inspected, everything since then to be done again."""
        names = succeeded_since_inspection(self._journal.steps(run.id))
        if run.state is State.INSPECTED:
            if names:
                self._journal.void(run.id, names, "; ".join(reasons))
            return
        self._move(run, Event.EVIDENCE_EXPIRED, reasons, names)

    def _was_aborting(self, run: Run, gone: tuple[str, ...]) -> bool:
        """Are these the steps of an abort that was begun? Then packages went back, and all since then is done again."""
        if Event.RUN_ABORTED not in allowed(run.kind, run.state):
            return False
        rows = self._journal.steps(run.id)
        begun = under_way(rows, names_of(self._workflow.aborting(self._journal.facts(run.id))))
        if not set(gone) <= set(begun):
            return False
        names = tuple(dict.fromkeys((*succeeded_since_inspection(rows), *begun)))
        self._journal.void(run.id, names, "The run was being closed and is resumed instead.")
        return True

    def _were_given_up(self, run: Run, gone: tuple[str, ...]) -> bool:
        """Are these steps on nodes that a person gave up? Then they are no part of the plan any more."""
        if not set(gone) <= set(self._workflow.given_up_steps(self._journal.facts(run.id))):
            return False
        self._journal.void(run.id, gone, "Their node was given up.")
        return True

    def _take_everything_back(self, run: Run, reasons: tuple[str, ...]) -> NoReturn:
        """Roll back and raise RolledBack with the reasons of the failure."""
        run = self._roll_back(run, reasons)
        raise outcomes.rolled_back(run, self._why_rolled_back(run))

    def _roll_back(self, run: Run, reasons: tuple[str, ...]) -> Run:
        if run.state is not State.ROLLING_BACK:
            if Event.ROLLBACK_BEGUN not in allowed(run.kind, run.state):
                raise outcomes.cannot_roll_back(run)
            run = self._move(run, Event.ROLLBACK_BEGUN, reasons)
        why = self._why_rolled_back(run)
        self._tell(lambda watcher: watcher.rollback_begins(reasons or why))

        def walk(phase: Phase) -> None:
            try:
                Passage(self._equipment, run, phase, None).walk()
            except StepsFailed as failed:
                cause = failed.problems[0].problem
                if isinstance(cause, DecisionNeeded):
                    raise outcomes.as_it_is(failed.problems, run) from cause
                if (
                    any(isinstance(problem.problem, HostUnreachable) for problem in failed.problems)
                    and again
                    and again.pop()
                ):
                    self._decide_anew(run)
                    raise _WalkAgain from cause
                if phase.pauses:
                    raise outcomes.nodes_left(run, phase, failed.problems) from cause
                self._move(run, Event.ROLLBACK_STOPPED, outcomes.reasons_of(failed.problems))
                raise outcomes.rollback_failed(run, failed.problems, why) from cause

        # A host that is lost on the way back is left for later, or asked again; not for ever in one process.
        again = [True] * _LOST_HOSTS
        self._decide_anew(run)
        while True:
            try:
                self._walk_all(run, walk)
            except _WalkAgain:
                continue
            return self._journal.run(run.id)

    def _decide_anew(self, run: Run) -> None:
        """Void what was decided on the way back and is not true any more."""
        outdated = self._workflow.outdated(self._journal.facts(run.id))
        if outdated:
            self._journal.void(run.id, outdated, "A machine was lost or came back since.")

    def _why_rolled_back(self, run: Run) -> tuple[str, ...]:
        """The reasons with which the rollback first began."""
        for transition in self._journal.transitions(run.id):
            if transition.event is Event.ROLLBACK_BEGUN:
                return transition.reasons
        return ()

    def _move(self, run: Run, event: Event, reasons: tuple[str, ...], voids: tuple[str, ...] = ()) -> Run:
        self._equipment.move(run, Move(event, advance(run.kind, run.state, event), reasons, voids))
        return self._journal.run(run.id)
