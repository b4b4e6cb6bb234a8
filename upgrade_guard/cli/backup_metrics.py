"""`backup metrics`: the figures for Prometheus."""

from __future__ import annotations

from pathlib import Path

import typer

from upgrade_guard.cli.fast_commands import QuickCommand
from upgrade_guard.cli.invocation import Front
from upgrade_guard.runs import resources


def register(commands: typer.Typer) -> None:
    """Add the command to the group."""
    commands.command("metrics", cls=QuickCommand)(metrics)


def metrics(context: typer.Context) -> None:
    """Write the figures for Prometheus to backup.metrics_dir now; without that key print them.

    They are written after every backup, drill and pruning anyway.
    """
    from upgrade_guard.runs import backup_status
    from upgrade_guard.vault.metrics import exposition, write_metrics

    front = Front.of(context)
    config = front.settings().config
    with resources.reading(config) as journal:
        found = backup_status.figures(backup_status.gather(config, journal), journal.head() if journal else "")
    text = exposition(found)
    if not config.backup.metrics_dir:
        front.answer({"path": None, "text": text}, text.rstrip)
        return
    path = write_metrics(Path(config.backup.metrics_dir), found)
    front.answer({"path": str(path), "text": text}, lambda: f"Written: {path}")
