"""`abort`: close a run whose control plane is untouched."""

from __future__ import annotations

import typer

from upgrade_guard.cli import common
from upgrade_guard.cli.arguments import (
    TakeOver,
    Yes,
)
from upgrade_guard.cli.common import may, must_be_open
from upgrade_guard.cli.endings import answer_upgrade
from upgrade_guard.cli.fast_commands import QuickCommand
from upgrade_guard.cli.invocation import Front
from upgrade_guard.model.run import Event
from upgrade_guard.runs import resources
from upgrade_guard.runs.session import Choices


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("abort", cls=QuickCommand)(abort)


def abort(context: typer.Context, *, yes: Yes = False, take_over: TakeOver = False) -> None:
    """Close a run whose control plane is untouched; packages go back."""
    front = Front.of(context)
    config = front.settings().config
    must_be_open(resources.open_run(config), "abort")
    with resources.writing(config) as journal:
        opened = must_be_open(journal.open_run(), "abort")
        if may(opened, Event.RUN_ABORTED):
            approval = common.prompts(front).confirm(
                f"Close run {opened.id} ({opened.target}) at {opened.state.value}?",
                flag="--yes" if yes else "",
                hint="upgrade-guard abort --yes",
            )
            journal.approve(opened.id, approval)
        choices = Choices(yes, take_over=take_over)
        ended = common.drive(front, journal, config, opened, choices, lambda runner: runner.abort(opened.id))
        answer_upgrade(front, ended, {})
