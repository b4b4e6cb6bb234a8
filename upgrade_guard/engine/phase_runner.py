"""The way through one phase: its lanes side by side, every step started on the record and concluded, its event with the
last one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

from upgrade_guard.engine.attempt import Ending, attempt
from upgrade_guard.engine.evidence_check import GateClosed, Gatekeeper
from upgrade_guard.engine.run_context import Equipment
from upgrade_guard.engine.states import advance, is_guarded
from upgrade_guard.errors import GuardError, Interrupted, Refused
from upgrade_guard.model.run import Move, Outcome, Run
from upgrade_guard.model.step import Phase, Step


class StepProblem(Exception):
    """A step ended with a problem that an operator can cure; the journal has it."""

    def __init__(self, step: Step, problem: GuardError) -> None:
        super().__init__(problem.message)
        self.step = step
        self.problem = problem


class StepsFailed(Exception):
    """Steps of this phase ended with problems, one for each lane at most, the first one first."""

    def __init__(self, problems: tuple[StepProblem, ...]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


class Passage:
    """One phase of one run, walked by one process. `gatekeeper` is None where nothing is gated (the ways back)."""

    def __init__(self, equipment: Equipment, run: Run, phase: Phase, gatekeeper: Gatekeeper | None) -> None:
        self._equipment = equipment
        self._run = run
        self._phase = phase
        self._gatekeeper = gatekeeper
        self._concluding = threading.Lock()
        self._left: set[str] = set()

    def walk(self) -> None:
        """Walk it to its end.

        Raises StepsFailed, GateClosed, Interrupted, what the journal raises, and bugs as they are. A phase whose steps
        have all succeeded is not entered again; otherwise the steps that hold only for a moment are done again.
        """
        steps = self._phase.steps
        facts = self._equipment.journal.facts(self._run.id)
        if all(facts.has(step.name) for step in steps):
            ahead: tuple[Step, ...] = ()
        else:
            ahead = tuple(step for step in steps if not (step.lasting and facts.has(step.name)))
        self._left = {step.name for step in ahead}
        self._equipment.tell(lambda watcher: watcher.phase_began(self._phase, len(steps) - len(ahead), len(steps)))
        for step in steps:
            if step.name not in self._left:
                self._skip(step)
        if ahead:
            _raise_the_gravest(walk_lanes(ahead, self._phase.at_once, self._take, self._halts))
            return
        move = self._move()
        if move is not None:
            self._equipment.move(self._run, move)

    def _halts(self, problem: BaseException) -> bool:
        return not (isinstance(problem, StepProblem) and self._phase.goes_on(problem.problem))

    def _skip(self, step: Step) -> None:
        self._equipment.tell(lambda watcher: watcher.step_skipped(step))

    def _take(self, step: Step) -> None:
        """One step: start it on the record, attempt it, conclude it."""
        equipment = self._equipment
        equipment.interruption.check()
        latest = equipment.journal.latest(self._run.id, step.name)
        in_doubt = latest is not None and latest.outcome in (Outcome.STARTED, Outcome.UNKNOWN)
        number = self._start(step)
        equipment.tell(lambda watcher: watcher.step_began(step, in_doubt=in_doubt))
        began = equipment.clock.monotonic()
        with equipment.interruption.during(step.name):
            with equipment.attribution(self._run.id, step.name, number):
                ending = attempt(step, equipment.journal.facts(self._run.id), in_doubt=in_doubt)
            held_up, moved = self._conclude(step, number, ending)
        seconds = equipment.clock.monotonic() - began
        equipment.tell(lambda watcher: watcher.step_ended(step, ending.outcome, ending.detail, seconds))
        if moved:
            transition = equipment.journal.transitions(self._run.id)[-1]
            equipment.tell(lambda watcher: watcher.moved(transition))
        if held_up is not None:
            raise held_up
        if isinstance(ending.problem, GuardError) and not isinstance(ending.problem, Interrupted):
            raise StepProblem(step, ending.problem) from ending.problem
        if ending.problem is not None:
            raise ending.problem

    def _start(self, step: Step) -> int:
        if step.changes_node:
            self._equipment.before_change(step, self._equipment.journal.facts(self._run.id))
        gatekeeper = self._gatekeeper if step.changes_node else None
        if gatekeeper is not None:
            gatekeeper.admit()
        try:
            return self._equipment.journal.start(self._run.id, step)
        except Refused:
            # The journal's own guard looks at every start: the proof may have grown too old since the gate was judged.
            if gatekeeper is not None:
                gatekeeper.judge()
            raise

    def _conclude(self, step: Step, number: int, ending: Ending) -> tuple[Exception | None, bool]:
        """Record the outcome, and with a phase's last step the new state: what held that up, and whether it moved."""
        held_up: Exception | None = None
        move: Move | None = None
        with self._concluding:
            if ending.outcome is Outcome.SUCCEEDED:
                self._left.discard(step.name)
                try:
                    move = None if self._left else self._move()
                except (GateClosed, GuardError) as problem:
                    held_up = problem  # what the step achieved still stands
            try:
                self._record(step, number, ending, move)
            except Refused as refusal:
                if move is None:
                    raise
                held_up, move = refusal, None
                self._record(step, number, ending, None)
        return held_up, move is not None

    def _record(self, step: Step, number: int, ending: Ending, move: Move | None) -> None:
        seen = ending.seen
        self._equipment.journal.conclude(
            self._run.id,
            step.name,
            number,
            ending.outcome,
            result=None if seen is None else seen.result,
            detail=ending.detail,
            records=() if seen is None else seen.records,
            move=move,
        )

    def _move(self) -> Move | None:
        """The move that ends the phase, the gate judged where the event asks for it. Raises GateClosed."""
        event = self._phase.event
        if event is None:
            return None
        evidence = (
            self._gatekeeper.judge() if self._gatekeeper is not None and is_guarded(self._run.kind, event) else None
        )
        return Move(event, advance(self._run.kind, self._run.state, event, evidence))


def _raise_the_gravest(problems: tuple[BaseException, ...]) -> None:
    """A bug before a closed gate, that before what the journal said, that before an interrupt, steps' problems last."""
    failed = tuple(problem for problem in problems if isinstance(problem, StepProblem))
    others = [problem for problem in problems if not isinstance(problem, StepProblem)]
    for kind in (_is_bug, _is_closed_gate, _is_not_interrupt):
        for problem in others:
            if kind(problem):
                raise problem
    for problem in others:
        if isinstance(problem, Interrupted):
            problem.reasons = (*problem.reasons, *(str(failure) for failure in failed))
        raise problem
    if failed:
        raise StepsFailed(failed)


def _is_bug(problem: BaseException) -> bool:
    return not isinstance(problem, GateClosed | GuardError)


def _is_closed_gate(problem: BaseException) -> bool:
    return isinstance(problem, GateClosed)


def _is_not_interrupt(problem: BaseException) -> bool:
    return not isinstance(problem, Interrupted)


def halts_all(_: BaseException) -> bool:
    """Whatever it is, nothing more begins."""
    return True


def walk_lanes(
    steps: Iterable[Step],
    at_once: int,
    walk: Callable[[Step], None],
    halts: Callable[[BaseException], bool] = halts_all,
) -> tuple[BaseException, ...]:
    """Walk every step; return what was raised, in the order in which it happened.

    After a problem its lane ends; where it `halts`, no further step starts in any lane, and steps that are under way
    are finished. One lane, or one at a time, runs in the calling thread, in the order given.
    """
    ordered = tuple(steps)
    lanes: dict[str, deque[Step]] = {}
    for step in ordered:
        lanes.setdefault(step.lane, deque()).append(step)
    if at_once <= 1 or len(lanes) <= 1:
        return _walk_here(ordered, walk, halts)
    return _walk_in_threads(deque(lanes.values()), min(at_once, len(lanes)), walk, halts)


def _walk_here(
    steps: tuple[Step, ...], walk: Callable[[Step], None], halts: Callable[[BaseException], bool]
) -> tuple[BaseException, ...]:
    problems: list[BaseException] = []
    ended: set[str] = set()
    for step in steps:
        if step.lane in ended:
            continue
        try:
            walk(step)
        except Exception as problem:  # noqa: BLE001 - the caller raises it, or answers it
            problems.append(problem)
            ended.add(step.lane)
            if halts(problem):
                break
    return tuple(problems)


def _walk_in_threads(
    waiting: deque[deque[Step]],
    workers: int,
    walk: Callable[[Step], None],
    halts: Callable[[BaseException], bool],
) -> tuple[BaseException, ...]:
    problems: list[BaseException] = []
    halted = threading.Event()

    def work() -> None:
        while not halted.is_set():
            try:
                lane = waiting.popleft()
            except IndexError:
                return
            while lane and not halted.is_set():
                try:
                    walk(lane.popleft())
                except BaseException as problem:  # noqa: BLE001 - a thread has nobody above it; the caller raises it
                    problems.append(problem)
                    lane.clear()
                    if halts(problem):
                        halted.set()

    # Daemons: a second interrupt leaves at once and waits for no node that hangs. The journal then says in doubt.
    threads = [threading.Thread(target=work, name=f"lane-{number}", daemon=True) for number in range(1, workers + 1)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        halted.set()
    return tuple(problems)
