"""How long each stage of a run took, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from upgrade_guard.ui import vocabulary
from upgrade_guard.ui.stages import Stage

_WIDTH = 30
_STYLES = {"done": "green", "failed": "bold red", "waited": "dim", "not finished": "cyan"}


def durations(stages: Sequence[Stage]) -> RenderableType:
    """One line for each stage: how it ended, what it was, how long it took, and when within the run."""
    table = Table.grid(padding=(0, 2))
    for justify in ("right", "left", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    whole = sum(stage.seconds for stage in stages) or 1.0
    before = 0.0
    for stage in stages:
        style = _STYLES.get(stage.verdict, "yellow")
        first, last = round(before / whole * _WIDTH), round((before + stage.seconds) / whole * _WIDTH)
        bar = " " * min(first, _WIDTH - 1) + "#" * max(last - first, 1)
        took = vocabulary.duration(stage.seconds)
        table.add_row(Text(stage.verdict, style=style), Text(stage.label), Text(took), Text(bar, style=style))
        before += stage.seconds
    return table
