"""The stage card: where a run stands, what runs now, what comes next, and what going back would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from upgrade_guard.model.run import FINAL, Kind, Run, State, Transition
from upgrade_guard.ui import vocabulary

_STYLES = {"done": "green", "now": "bold cyan", "next": "cyan", "failed": "bold red", "back": "yellow", "-": "dim"}
_CHANGING = frozenset({State.CONTROL_PLANE_UPGRADED, State.NODES_UPGRADED, State.COMPLETED})


@dataclass(frozen=True)
class Card:
    """Everything the card shows, gathered.

    `now` are lines about what runs, `last` about what failed; `gate` says if it is open, or why not.
    """

    run: Run
    transitions: tuple[Transition, ...] = ()
    now: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    gate: str = ""
    going_back: str = ""
    next_command: str = ""
    running: bool = False
    failed: bool = False

    @property
    def reached(self) -> Mapping[State, datetime]:
        """The stages that hold, and since when."""
        return reached_by(self.transitions, self.run.kind)


def reached_by(transitions: Sequence[Transition], kind: Kind = Kind.UPGRADE) -> dict[State, datetime]:
    """When each stage that still holds was reached: a step back takes back the stages after it."""
    order = [state for state, _ in vocabulary.STAGES_OF[kind]]
    reached: dict[State, datetime] = {}
    for moved in transitions:
        if moved.to_state in reached:
            for later in order[order.index(moved.to_state) + 1 :]:
                reached.pop(later, None)
        elif moved.to_state in order:
            reached[moved.to_state] = moved.at
    return reached


def mark(card: Card, state: State) -> str:
    """One word for a stage: done, now, next, failed, back (taken back by the rollback) or "-"."""
    following = next((stage for stage, _ in vocabulary.STAGES_OF[card.run.kind] if stage not in card.reached), None)
    rolling = card.run.state in vocabulary.ROLLBACK and card.run.kind is Kind.UPGRADE
    if state in card.reached:
        return "back" if rolling and state in _CHANGING else "done"
    if state is not following or card.run.state in FINAL - vocabulary.ROLLBACK:
        return "-"
    if rolling or card.failed or card.run.state is State.ROLLBACK_FAILED:
        return "failed"
    return "now" if card.running else "next"


def next_words(run: Run, *, working: bool = False) -> str:
    """What comes next, in words; after the stage that is under way, where a process is `working` on the run."""
    if run.state in FINAL:
        return "nothing: this run is closed"
    if run.state in vocabulary.ROLLBACK:
        if run.kind is Kind.RESTORE:
            return "the restore goes on until the cluster works"
        return "the rollback goes on until the cluster matches its baseline"
    following = vocabulary.next_stage(run.state, run.kind)
    if working and following is not None:
        following = vocabulary.next_stage(following, run.kind)
        return vocabulary.stage_label(following, run.kind) if following else "nothing: this is the last stage"
    return vocabulary.stage_label(following, run.kind) if following else "nothing"


def render(card: Card) -> RenderableType:
    """The card for a console of any width; data from the world is shown as plain text."""
    run = card.run
    heading = Text()
    subject = vocabulary.one_line(vocabulary.subject(run))
    heading.append(
        f"Upgrade {subject}" if run.kind is Kind.UPGRADE else subject[:1].upper() + subject[1:], style="bold"
    )
    heading.append(
        f"   cluster {vocabulary.one_line(run.cluster) or 'not yet asked'}   run {vocabulary.one_line(run.id)}"
    )
    stages = Table.grid(padding=(0, 2))
    stages.add_column(width=8, justify="right")
    stages.add_column()
    stages.add_column(style="dim")
    for state, label in vocabulary.STAGES_OF[run.kind]:
        word = mark(card, state)
        at = card.reached.get(state)
        stages.add_row(Text(word, style=_STYLES[word]), Text(label), vocabulary.moment(at)[11:] if at else "")
    if run.state in vocabulary.ROLLBACK and run.kind is Kind.UPGRADE:
        word = {State.ROLLED_BACK: "done", State.ROLLBACK_FAILED: "failed"}.get(run.state, "now")
        stages.add_row(Text(word, style=_STYLES[word]), Text("Take the cluster back"), "")
    return Group(heading, Text(), stages, Text(), *(_line(*line) for line in lines_below(card)))


def lines_below(card: Card) -> tuple[tuple[str, str], ...]:
    """Label and text of each line under the stages; those with nothing to say are left out."""
    lines = [("State", f"{card.run.state.value}. {vocabulary.standing(card.run.kind, card.run.state)}")]
    for label, texts in (("Now", card.now), ("Last", card.last)):
        lines += [(label if number == 0 else "", text) for number, text in enumerate(texts)]
    lines += [("Next", next_words(card.run, working=card.running))]
    ahead = card.run.state not in vocabulary.ROLLBACK | FINAL
    lines += [("Gate", card.gate)] if card.gate and ahead else []
    lines += [("Back", card.going_back)] if card.going_back and ahead else []
    lines += [("Type", card.next_command)] if card.next_command else []
    return tuple(lines)


def _line(label: str, text: str) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=8, justify="right", style="bold")
    grid.add_column(overflow="fold")
    grid.add_row(label, Text(vocabulary.one_line(text)))
    return grid
