"""How far a long look has come, for somebody who waits at a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from upgrade_guard.ui.console import Screen


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
