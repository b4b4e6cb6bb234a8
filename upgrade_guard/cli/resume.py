"""`resume`: go on where the last process stopped."""

from __future__ import annotations

import typer

from upgrade_guard.cli.arguments import (
    ConfirmCluster,
    NoAutoRollback,
    TakeOver,
    Yes,
)
from upgrade_guard.cli.common import must_be_open
from upgrade_guard.cli.endings import go_on
from upgrade_guard.cli.fast_commands import QuickCommand
from upgrade_guard.cli.invocation import Front
from upgrade_guard.runs import resources
from upgrade_guard.runs.session import Choices


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("resume", cls=QuickCommand)(resume)


def resume(
    context: typer.Context,
    *,
    yes: Yes = False,
    confirm_cluster: ConfirmCluster = None,
    no_auto_rollback: NoAutoRollback = False,
    take_over: TakeOver = False,
) -> None:
    """Go on where the last process stopped."""
    front = Front.of(context)
    config = front.settings().config
    if resources.open_run(config) is None:
        front.answer(None, lambda: "No run is open: nothing to do.")
        return
    with resources.writing(config) as journal:
        opened = must_be_open(journal.open_run(), "resume")
        go_on(front, journal, config, opened, Choices(yes, not no_auto_rollback, take_over, confirm_cluster))
