"""`check`: may an upgrade begin?"""

from __future__ import annotations

import typer

from upgrade_guard.cli.arguments import (
    TargetVersion,
)
from upgrade_guard.cli.common import target_of
from upgrade_guard.cli.fast_commands import QuickCommand
from upgrade_guard.cli.invocation import Front
from upgrade_guard.runs import preflight, resources


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("check", cls=QuickCommand)(check)


def check(context: typer.Context, version: TargetVersion = None) -> None:
    """Run the preflight alone. Changes nothing; exit code 3 when something stands in the way."""
    from upgrade_guard.runs.preview import findings

    front = Front.of(context)
    with resources.looking(front.settings().config) as site:
        target = target_of(site, version)
        found = findings(site, target)

    def shown() -> object:
        from upgrade_guard.ui import tables

        return tables.findings(found, verbose=front.verbose)

    front.answer({"target": str(target), "findings": found}, shown)
    preflight.refuse_blocking(found)
