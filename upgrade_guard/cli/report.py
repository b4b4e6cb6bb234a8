"""`report`: one run as one HTML file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from upgrade_guard import __version__
from upgrade_guard.cli.arguments import RunName
from upgrade_guard.cli.fast_commands import QuickCommand
from upgrade_guard.cli.invocation import Front
from upgrade_guard.errors import UsageProblem
from upgrade_guard.runs import resources


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("report", cls=QuickCommand)(report)


def report(
    context: typer.Context,
    run: RunName = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FILE", help="Where to write it; - is stdout. [default: upgrade-RUN.html here]"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE when it exists.")] = False,
) -> None:
    """Write one attempt as one HTML file to read, mail or print: what happened, why, and how to go back."""
    from upgrade_guard.cli.private_file import write_private
    from upgrade_guard.runs.run_status import story_to_tell
    from upgrade_guard.ui.report import render, report_of

    front = Front.of(context)
    if front.json and str(output) == "-":
        raise UsageProblem("--json answers on stdout, where the report would go", hint="upgrade-guard report --json")
    config = front.settings().config
    with resources.reading(config) as journal:
        story = story_to_tell(config, journal, run)
    page = render(report_of(story, at=resources.now(), version=__version__, pasteable=front.pasteable))
    if str(output) == "-":
        sys.stdout.write(page)
        return
    path = output or Path(f"{story.run.kind.value}-{story.run.id}.html")
    write_private(path, (page,), force=force)
    told = f"Written: {path}\nIt names nodes, addresses and commands: mail it only to those who may know them."
    front.answer(
        {"path": str(path), "run": story.run.id, "bytes": len(page.encode()), "head": story.head}, lambda: told
    )
