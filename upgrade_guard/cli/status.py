"""`status`: where the open run and the backups stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from upgrade_guard.cli.fast_commands import QuickCommand
from upgrade_guard.cli.invocation import Front
from upgrade_guard.model.plain import run_answer
from upgrade_guard.model.run import Run, State
from upgrade_guard.runs import backup_status, resources

if TYPE_CHECKING:
    from upgrade_guard.runs.backup_status import BackupStanding


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("status", cls=QuickCommand)(status)


def status(context: typer.Context) -> None:
    """Say where the open run stands, what comes next, and how to go back. Reads only."""
    front = Front.of(context)
    config = front.settings().config
    with resources.reading(config) as journal:
        opened = journal.open_run() if journal is not None else None
        backups = backup_status.gather(config, journal)
        if journal is None or opened is None:
            last = journal.runs(limit=1) if journal is not None else ()
            beside = {
                "last_run": run_answer(last[0]) if last else None,
                "backups": backup_status.answer(backups),
            }
            front.answer(None, lambda: _nothing_open(front, last, backups), beside)
            return
        from upgrade_guard.runs.run_status import standing

        found = standing(config, journal, opened)

    def shown() -> object:
        from rich.console import Group
        from rich.text import Text

        from upgrade_guard.runs.run_status import lines

        return Group(
            lines(found, front.pasteable), *(Text(line) for line in backup_status.lines(backups, front.pasteable))
        )

    front.answer(found.answer() | {"backups": backup_status.answer(backups)}, shown)


def _nothing_open(front: Front, last: tuple[Run, ...], backups: BackupStanding) -> str:
    before = f"\nThe last one, {last[0].id} to {last[0].target}, ended {last[0].outcome}." if last else ""
    if last and last[0].state in (State.ROLLED_BACK, State.RESTORED):
        before += (
            f"\nWhat it left on nodes: {front.pasteable('upgrade-guard backup prune --aside')} (with --yes it goes)"
        )
    about_backups = "".join(f"\n{line}" for line in backup_status.lines(backups, front.pasteable))
    return f"No run is open.{before}{about_backups}\nNext: {front.pasteable('upgrade-guard run VERSION')}"
