"""`backup drill`: does the backup come back, how long does it take, and what is in it?"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from upgrade_guard.cli import common
from upgrade_guard.cli.fast_commands import QuickCommand
from upgrade_guard.cli.invocation import Front
from upgrade_guard.errors import UsageProblem
from upgrade_guard.model.plain import run_answer
from upgrade_guard.model.run import Kind, Run
from upgrade_guard.model.step_results import DRILLED
from upgrade_guard.runs import resources, session
from upgrade_guard.runs.session import Choices


def register(commands: typer.Typer) -> None:
    """Add the command to the group `backup`."""
    commands.command("drill", cls=QuickCommand)(drill)


def drill(
    context: typer.Context,
    bundle: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="The name of a bundle. [default: the newest of the cluster]",
        ),
    ] = None,
    *,
    newest: Annotated[bool, typer.Option("--newest", help="The newest one: what is done without a name.")] = False,
    remote: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Fetch it from this off-site target, decrypted with vault.identity_file."),
    ] = None,
) -> None:
    """Restore a backup into a scratch etcd on this machine, compare it with its manifest, and count what is in it.

    The cluster is not asked and not touched. Exit code 3 when the backup does not come back.
    """
    from upgrade_guard.workflows.drill import subject_of, tidy

    if newest and bundle is not None:
        raise UsageProblem("give --newest or the name of a bundle, not both", hint="upgrade-guard backup drill")
    front = Front.of(context)
    config = front.settings().config
    with resources.looking(config) as site:
        subject = subject_of(site, bundle, remote)
    with resources.writing(config) as journal:
        common.close_what_was_killed(front, journal, Kind.DRILL)
        run = session.begin(journal, config, subject.text, Kind.DRILL)
        journal.identify(run.id, cluster=subject.cluster, from_version="")
        try:
            ended = common.drive(front, journal, config, run, Choices(), lambda runner: runner.go_on(run.id))
        finally:
            tidy(config.state_dir)
        result = dict(journal.facts(run.id).of(DRILLED))
    front.answer(run_answer(ended) | result, lambda: _end(ended, result))


def _end(run: Run, result: dict[str, Any]) -> str:
    from upgrade_guard.ui import vocabulary
    from upgrade_guard.vault.drill import COUNTED

    counts = result["counts"]
    held = ", ".join(f"{name} {counts[name]}" for name in COUNTED)
    took, size = vocabulary.duration(result["restore_seconds"]), vocabulary.size(result["bytes"])
    comes_back = f"Drill {run.id}: {result['bundle']} comes back. Restored and started in {took}: {size}, "
    lines = [
        f"{comes_back}revision {result['revision']}, with the content that its manifest states.",
        f"It holds, by number: {held}.",
    ]
    if not counts["namespaces"]:
        lines.append(
            "It holds no namespace: does the API server of this cluster keep its objects under another prefix?"
        )
    return "\n".join(lines)
