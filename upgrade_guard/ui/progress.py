"""What an operator sees while a run goes on: a live card on a terminal, plain lines with elapsed seconds elsewhere."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from upgrade_guard.model.command import Command, Result
from upgrade_guard.model.run import FINAL, Event, Kind, Outcome, Run, Transition
from upgrade_guard.model.step import Phase, Step
from upgrade_guard.ui import vocabulary
from upgrade_guard.ui.console import Screen
from upgrade_guard.ui.run_card import Card, render


@contextmanager
def counted(screen: Screen, what: str) -> Iterator[Callable[[int, int], None]]:
    """Hands out what is to be told how many are done, of how many. Draws only on a terminal, and leaves nothing."""
    if not screen.live:
        yield lambda _done, _of: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen.story, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


_TELL_EVERY = 10.0
"""Seconds between two lines about one step where they cannot be drawn over each other."""


@dataclass
class _Running:
    """A step at work in its lane, since when, and the last line that was heard of it.

    That is what its changing command printed, and what the step says of itself between commands (how far a copy is).
    What a reading command prints (JSON, a file) is not for people.
    """

    step: Step
    since: float
    thread: int
    commanding: bool = False
    changing: bool = False
    heard: str = ""
    told: float | None = None


class GoingBackText(Protocol):
    """What a rollback would cost, in words."""

    def asked(self) -> str:
        """By the record and the cluster: before a phase there is time to ask it."""

    def on_record(self) -> str:
        """By the record alone: nothing may hold a step up."""


class NoGoingBack:
    """For runs that change no cluster."""

    def asked(self) -> str:
        """Nothing."""
        return ""

    on_record = asked


class Progress:
    """The engine's Watcher and a Transcript in one: it hears of steps and of the commands that they run.

    `card` is where the run stands at the beginning; `read_again` gives the run as recorded after each move,
    `going_back` what a rollback would cost. Use it as a context manager around the run.
    `paused` takes the live card away while a person is asked.
    """

    def __init__(
        self,
        screen: Screen,
        card: Card,
        monotonic: Callable[[], float],
        *,
        read_again: Callable[[], Run] | None = None,
        going_back: GoingBackText | None = None,
    ) -> None:
        self._screen = screen
        self._card = card
        self._monotonic = monotonic
        self._began = monotonic()
        self._read_again = read_again
        self._going_back = going_back or NoGoingBack()
        self._running: dict[str, _Running] = {}
        self._gate_told: tuple[tuple[str, ...], tuple[str, ...]] | None = None
        self._lock = threading.RLock()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            failed = kind is not None and self._card.run.state not in FINAL
            self._card = replace(self._card, running=False, failed=failed)
            self._running.clear()
        self._stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No live display inside the block: a question and a redraw would overwrite each other."""
        was_live = self._live is not None
        self._stop(leave=False)
        self._screen.settle()
        try:
            yield
        finally:
            if was_live:
                self._start()

    # What the engine tells.

    def run_began(self, run: Run, *, resumed: bool) -> None:
        """A process begins or goes on with a run."""
        self._look(run=run, running=True)
        verb = "Going on with" if resumed else "Beginning"
        what = f"to {run.target}" if run.kind is Kind.UPGRADE else vocabulary.subject(run)
        self._say(f"{verb} run {run.id}: {run.cluster or 'the cluster'} {what}, at {run.state.value}")

    def phase_began(self, phase: Phase, steps_done: int, steps_total: int) -> None:
        """The steps of a phase begin; some may be done already."""
        rolling = self._card.run.state in vocabulary.ROLLBACK
        going_back = "" if rolling else self._going_back.asked()
        self._look(going_back=going_back)
        done = f", {steps_done} done already" if steps_done else ""
        self._say(f"{phase.title}: {steps_total} step(s){done}", style="bold")
        if going_back and not self._screen.live and any(step.changes_node for step in phase.steps):
            self._say(f"  going back from here: {going_back}")

    def step_began(self, step: Step, *, in_doubt: bool) -> None:
        """A step was started on the record."""
        if step.changes_node and self._card.run.state not in vocabulary.ROLLBACK:
            self._look(going_back=self._going_back.on_record())
        with self._lock:
            self._running[step.name] = _Running(step, self._monotonic(), threading.get_ident())
        doubt = "in doubt since the last process; looking: " if in_doubt else ""
        if in_doubt or not self._screen.live:
            self._say(f"  {step.name}: {doubt}{step.summary}")

    def step_skipped(self, step: Step) -> None:
        """A step was done by an earlier process."""
        if self._screen.verbose:
            self._say(f"  {step.name}: done already")

    def step_ended(self, step: Step, outcome: Outcome, detail: str, seconds: float) -> None:
        """A step's outcome is on the record."""
        with self._lock:
            self._running.pop(step.name, None)
        style = "green" if outcome is Outcome.SUCCEEDED else "bold red"
        told = f": {detail}" if detail and (outcome is not Outcome.SUCCEEDED or self._screen.verbose) else ""
        self._say(f"  {step.name}: {vocabulary.ENDED[outcome]} in {vocabulary.duration(seconds)}{told}", style=style)

    def moved(self, transition: Transition) -> None:
        """The run reached another state."""
        with self._lock:
            run = self._read_again() if self._read_again else replace(self._card.run, state=transition.to_state)
            history = (*self._card.transitions, transition)
        self._look(run=run, transitions=history)
        self._say(f"Reached: {transition.to_state.value}", style="bold")
        if transition.event is not Event.ROLLBACK_BEGUN:  # `rollback_begins` tells those
            for reason in transition.reasons:
                self._say(f"  because {reason}")

    def gate_judged(self, reasons: Sequence[str], notes: Sequence[str] = ()) -> None:
        """The gate was asked; no reasons means open. The same answer again is nothing new."""
        self._look(gate="closed: " + "; ".join(reasons) if reasons else "open")
        told, self._gate_told = self._gate_told, (tuple(reasons), tuple(notes))
        if told == self._gate_told:
            return
        if reasons:
            self._say("The gate is closed:", style="bold red")
            for reason in reasons:
                self._say(f"  - {reason}", style="red")
        elif notes:
            self._say("The gate is open: the snapshot is proven and whole on this machine.", style="green")
            for note in notes:
                self._say(f"  - {note}", style="yellow")
        else:
            self._say("The gate is open: the snapshot is proven and its copies read back equal.", style="green")

    def rollback_begins(self, reasons: Sequence[str]) -> None:
        """The upgrade failed after the gate, or an operator asked: the cluster is taken back."""
        self._say("Taking the cluster back, because:" if reasons else "Bringing the cluster back.", style="bold yellow")
        for reason in reasons:
            self._say(f"  - {reason}", style="yellow")

    def lane_amended(self, lane: str, reason: str) -> None:
        """One node failed and was put back."""
        self._say(f"{lane} was put back: {reason}", style="bold yellow")

    def stopping(self, reason: str) -> None:
        """An interrupt was asked for; the current step is finished first."""
        with self._lock:
            at_work = ", ".join(self._running)
        first = f"{at_work} is finished and recorded first" if at_work else "no step is under way"
        self._say(f"{reason}: stopping; {first}. Once more stops at once.", style="bold yellow")

    # What the hosts tell.

    def started(self, host: str, command: Command) -> None:
        """A command is about to run."""
        with self._lock:
            for running in self._of_this_thread():
                running.commanding, running.changing = True, command.changes
        if self._screen.verbose:
            self._say(f"    {host} $ {shlex.join(command.shown)}", style="dim")

    def output(self, host: str, text: str) -> None:
        """A piece of its output: the last line of what changes something is shown, all of it when verbose."""
        lines = [line for line in text.splitlines() if line.strip()]
        if not lines:
            return
        own_words = False
        with self._lock:
            for running in self._of_this_thread():
                if running.changing:
                    running.heard = f"{host}: {lines[-1]}"
                elif not running.commanding:
                    running.heard = lines[-1]
                    own_words = own_words or self._is_time_to_tell(running)
        if own_words and not self._screen.live and not self._screen.verbose:
            self._say(f"    {lines[-1]}")
        if self._screen.verbose:
            for line in lines:
                self._say(f"    {host} | {line}", style="dim")

    def finished(self, host: str, command: Command, result: Result, started_at: datetime) -> None:
        """It ended; the step says what that means."""
        del host, command, result, started_at
        with self._lock:
            for running in self._of_this_thread():
                running.commanding = running.changing = False

    def _is_time_to_tell(self, running: _Running) -> bool:
        """The first words of a step, and then some every few seconds: a log is not filled with percentages."""
        now = self._monotonic()
        due = running.told is None or now - running.told >= _TELL_EVERY
        if due:
            running.told = now
        return due

    def _of_this_thread(self) -> list[_Running]:
        return [running for running in self._running.values() if running.thread == threading.get_ident()]

    def card(self) -> Card:
        """What the card shows at this moment."""
        with self._lock:
            now: list[str] = []
            for running in self._running.values():
                seconds = vocabulary.duration(self._monotonic() - running.since)
                now.append(f"{running.step.name}: {running.step.summary} ({seconds})")
                if running.heard:
                    now.append(f"  {vocabulary.one_line(running.heard, 100)}")
            return replace(self._card, now=tuple(now))

    def _look(self, **changes: object) -> None:
        with self._lock:
            self._card = replace(self._card, **changes)  # type: ignore[arg-type]

    def _say(self, text: str, *, style: str | None = None) -> None:
        line = vocabulary.one_line(text) if not text.startswith(" ") else "  " + vocabulary.one_line(text)
        if self._screen.live:
            self._screen.tell(Text(line), style=style)
            return
        elapsed = f"[{self._monotonic() - self._began:7.1f} s] "
        self._screen.story.soft_wrap = True
        self._screen.tell(Text(elapsed + line), style=style)

    def _render(self) -> RenderableType:
        return render(self.card())

    def _start(self) -> None:
        if self._screen.live and self._live is None:
            self._live = Live(
                console=self._screen.story, get_renderable=self._render, refresh_per_second=4, redirect_stdout=False
            )
            self._live.start()

    def _stop(self, *, leave: bool = True) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.transient = not leave
            live.stop()
