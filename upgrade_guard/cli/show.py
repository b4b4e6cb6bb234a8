"""`show` and `graph`: one run in the order of time, and the states that runs go through."""

from __future__ import annotations

import typer

from upgrade_guard.cli.arguments import (
    RunName,
)
from upgrade_guard.cli.fast_commands import QuickCommand
from upgrade_guard.cli.invocation import Front
from upgrade_guard.model.plain import run_answer
from upgrade_guard.runs import resources


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("show", cls=QuickCommand)(show)
    app.command("graph", cls=QuickCommand)(graph)


def show(
    context: typer.Context,
    run: RunName = None,
) -> None:
    """Tell one attempt: moves, steps, commands and evidence, in the order of time."""
    from upgrade_guard.runs.run_status import story_to_tell
    from upgrade_guard.ui.stages import stages

    front = Front.of(context)
    config = front.settings().config
    with resources.reading(config) as journal:
        story = story_to_tell(config, journal, run)
    now = resources.now()

    def shown() -> object:
        from upgrade_guard.ui import tables

        return tables.timeline(story, now, verbose=front.verbose)

    answer = run_answer(story.run) | {
        "operator": story.run.operator,
        "host": story.run.host,
        "tool_version": story.run.tool_version,
        "settings": story.run.settings,
        "nodes": story.nodes,
        "stages": [
            {
                "label": stage.label,
                "verdict": stage.verdict,
                "began": stage.began,
                "ended": stage.ended,
                "seconds": stage.seconds,
            }
            for stage in stages(story.run, story.transitions, story.steps, now)
        ],
        "transitions": story.transitions,
        "steps": story.steps,
        "commands": story.commands,
        "approvals": story.approvals,
        "snapshots": story.snapshots,
        "proofs": story.proofs,
        "copies": story.copies,
        "edited": story.edited,
        "log": str(config.log_path(story.run.id)),
    }
    front.answer(answer, shown)


def graph(context: typer.Context) -> None:
    """Print the state machine as a mermaid diagram."""
    from upgrade_guard.engine.states import mermaid

    text = mermaid()
    Front.of(context).answer({"mermaid": text}, text.rstrip)
