"""`plan`: what an upgrade would do."""

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
    app.command("plan", cls=QuickCommand)(plan)


def plan(context: typer.Context, version: TargetVersion = None) -> None:
    """Show the path, the steps per node and the findings. Changes nothing."""
    from upgrade_guard.runs.preview import preview
    from upgrade_guard.steps.control_plane_back import node_of

    front = Front.of(context)
    with resources.looking(front.settings().config) as site:
        ahead = preview(site, target_of(site, version))
    answer = {
        "cluster": ahead.cluster,
        "path": [ahead.cluster.version, str(ahead.target)],
        "phases": [
            {
                "name": phase.name,
                "title": phase.title,
                "steps": [
                    {
                        "name": step.name,
                        "summary": step.summary,
                        "node": node_of(step.lane),
                        "changes_node": step.changes_node,
                    }
                    for step in phase.steps
                ],
            }
            for phase in ahead.phases
        ],
        "findings": ahead.findings,
    }

    def shown() -> object:
        from upgrade_guard.ui.tables import preview as table

        return table(ahead.cluster, str(ahead.target), ahead.phases, ahead.findings, verbose=front.verbose)

    front.answer(answer, shown)
    preflight.refuse_blocking(ahead.findings)
