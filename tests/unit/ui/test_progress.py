"""What is said while a run goes on: lines with elapsed seconds, or a live card that steps aside for questions."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console
from unit.ui.test_run_card import moves, run

from upgrade_guard.errors import StepFailed
from upgrade_guard.model.command import Command, Result
from upgrade_guard.model.run import Event, Outcome, State, Transition
from upgrade_guard.model.step import Done, Phase, Step
from upgrade_guard.ui.console import Screen
from upgrade_guard.ui.progress import Progress
from upgrade_guard.ui.run_card import Card

AT = datetime(2025, 3, 1, 2, 0, tzinfo=UTC)
APPLY = Step("control-plane/cp1/apply", "kubeadm upgrade apply", lambda _: Done(), lambda _: None, changes_node=True)


class Seconds:
    """A counter that a test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def screen(*, live: bool = False, quiet: bool = False, verbose: bool = False) -> Screen:
    def console() -> Console:
        return Console(
            file=io.StringIO(), width=100, markup=False, highlight=False, force_terminal=live, color_system=None
        )

    return Screen(console(), console(), quiet, verbose)


def said(screen: Screen) -> list[str]:
    assert isinstance(screen.story.file, io.StringIO)
    return screen.story.file.getvalue().splitlines()


def tell_everything(progress: Progress, seconds: Seconds) -> None:
    """What the engine and the hosts tell in the course of a step."""
    progress.run_began(run(State.PLANNED), resumed=True)
    progress.phase_began(Phase("control-plane", "Control plane", (APPLY,)), 1, 2)
    progress.gate_judged(())
    progress.step_began(APPLY, in_doubt=False)
    seconds.now += 65
    command = Command(("kubeadm", "upgrade", "apply", "v1.28.0"), timeout=900)
    progress.started("cp1", command)
    progress.output("cp1", "[upgrade] one\n[upgrade] \x1b[31mtwo\n")
    progress.finished("cp1", command, Result(0), AT)
    progress.step_ended(APPLY, Outcome.FAILED, "it ended with 1", 65.0)
    progress.rollback_begins(("it ended with 1",))
    progress.moved(Transition(9, "r", Event.ROLLBACK_BEGUN, State.PLANNED, State.ROLLING_BACK, AT, ("it failed",)))
    progress.stopping("SIGTERM")


class Cost:
    """What a rollback would cost, asked of the cluster and told by the record."""

    def asked(self) -> str:
        return "20 revisions; 1 min"

    def on_record(self) -> str:
        return "what was written since"


def test_what_going_back_costs_follows_each_step_that_changes_a_node() -> None:
    """kubeadm is at work: it is not only packages any more."""
    wide = screen(live=True)
    progress = Progress(wide, Card(run(State.PLANNED)), Seconds(), going_back=Cost())
    with progress:
        progress.phase_began(Phase("control-plane", "Control plane", (APPLY,)), 0, 1)
        assert progress.card().going_back == "20 revisions; 1 min"
        progress.step_began(APPLY, in_doubt=False)
        assert progress.card().going_back == "what was written since"


def test_plain_lines_carry_elapsed_seconds() -> None:
    plain, seconds = screen(), Seconds()
    progress = Progress(plain, Card(run(State.PLANNED)), seconds, going_back=Cost())
    with progress:
        tell_everything(progress, seconds)
    assert said(plain) == [
        "[    0.0 s] Going on with run 20250301-abcdef: prod to v1.28.0, at planned",
        "[    0.0 s] Control plane: 2 step(s), 1 done already",
        "[    0.0 s]   going back from here: 20 revisions; 1 min",
        "[    0.0 s] The gate is open: the snapshot is proven and its copies read back equal.",
        "[    0.0 s]   control-plane/cp1/apply: kubeadm upgrade apply",
        "[   65.0 s]   control-plane/cp1/apply: FAILED in 1 min 05 s: it ended with 1",
        "[   65.0 s] Taking the cluster back, because:",
        "[   65.0 s]   - it ended with 1",
        "[   65.0 s] Reached: rolling-back",
        "[   65.0 s] SIGTERM: stopping; no step is under way. Once more stops at once.",
    ]


def test_the_gate_is_told_again_only_when_it_says_something_else() -> None:
    plain, seconds = screen(), Seconds()
    progress = Progress(plain, Card(run(State.PLANNED)), seconds)
    for reasons in ((), (), ("The proof is too old.",), ()):
        progress.gate_judged(reasons)
    opened = "[    0.0 s] The gate is open: the snapshot is proven and its copies read back equal."
    assert said(plain) == [opened, "[    0.0 s] The gate is closed:", "[    0.0 s]   - The proof is too old.", opened]


def test_verbose_shows_commands_and_their_output_escaped() -> None:
    plain, seconds = screen(verbose=True), Seconds()
    progress = Progress(plain, Card(run(State.PLANNED)), seconds)
    tell_everything(progress, seconds)
    assert "[   65.0 s]   cp1 $ kubeadm upgrade apply v1.28.0" in said(plain)
    assert "[   65.0 s]   cp1 | [upgrade] \\x1b[31mtwo" in said(plain)


def test_quiet_says_nothing() -> None:
    silent, seconds = screen(quiet=True), Seconds()
    progress = Progress(silent, Card(run(State.PLANNED)), seconds)
    with progress:
        tell_everything(progress, seconds)
    assert said(silent) == []


def test_a_closed_gate_shows_every_reason() -> None:
    plain = screen()
    Progress(plain, Card(run(State.COPIED)), Seconds()).gate_judged(("No snapshot.", "No copy."))
    assert said(plain) == [
        "[    0.0 s] The gate is closed:",
        "[    0.0 s]   - No snapshot.",
        "[    0.0 s]   - No copy.",
    ]


def test_a_step_in_doubt_is_named_so() -> None:
    plain = screen()
    Progress(plain, Card(run(State.PLANNED)), Seconds()).step_began(APPLY, in_doubt=True)
    assert "in doubt since the last process; looking: kubeadm upgrade apply" in said(plain)[0]


def test_the_card_knows_what_runs_for_how_long_and_what_it_last_said() -> None:
    seconds = Seconds()
    progress = Progress(screen(), Card(run(State.PLANNED), moves(State.STARTED, State.INSPECTED)), seconds)
    progress.step_began(APPLY, in_doubt=False)
    progress.started("cp1", Command(("kubeadm", "upgrade", "apply"), timeout=900, changes=True))
    progress.output("cp1", "[upgrade] waiting\n")
    progress.started("cp1", Command(("kubectl", "get", "nodes", "-o", "json"), timeout=30))
    progress.output("cp1", "}\n")
    seconds.now += 12
    assert progress.card().now == (
        "control-plane/cp1/apply: kubeadm upgrade apply (12 s)",
        "  cp1: [upgrade] waiting",
    )
    progress.step_ended(APPLY, Outcome.SUCCEEDED, "", 12.0)
    assert progress.card().now == ()


def test_a_move_reads_the_run_again() -> None:
    recorded = run(State.INSPECTED)
    progress = Progress(screen(), Card(run(State.STARTED)), Seconds(), read_again=lambda: recorded)
    progress.moved(Transition(1, "r", Event.CLUSTER_INSPECTED, State.STARTED, State.INSPECTED, AT))
    assert progress.card().run is recorded
    assert progress.card().reached == {State.INSPECTED: AT}


def test_the_live_card_steps_aside_for_a_question() -> None:
    live = screen(live=True)
    progress = Progress(live, Card(run(State.COPIED)), Seconds())
    hide, show = "\x1b[?25l", "\x1b[?25h"

    def cursor() -> str:
        assert isinstance(live.story.file, io.StringIO)
        written = live.story.file.getvalue()
        return "hidden" if written.rfind(hide) > written.rfind(show) else "shown"

    with progress:
        assert cursor() == "hidden"
        with progress.paused():
            assert cursor() == "shown"
        assert cursor() == "hidden"
    assert cursor() == "shown"
    assert "Plan, and your approval" in "\n".join(said(live))


def test_the_last_card_of_a_failed_process_says_where_it_failed() -> None:
    progress = Progress(screen(), Card(run(State.COPIED)), Seconds())
    with pytest.raises(StepFailed), progress:
        raise StepFailed("no")
    card = progress.card()
    assert (card.running, card.failed) == (False, True)


def test_the_card_is_a_watcher_and_a_transcript() -> None:
    from upgrade_guard.engine.watcher import Watcher
    from upgrade_guard.hosts.base import Transcript

    progress: Any = Progress(screen(), Card(run(State.COPIED)), Seconds())
    for protocol in (Watcher, Transcript):
        for name in (name for name in vars(protocol) if not name.startswith("_")):
            assert callable(getattr(progress, name)), name
