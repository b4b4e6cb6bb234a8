"""The commands about backups that stand on their own."""

from __future__ import annotations

from typing import Annotated

import typer

from upgrade_guard.cli import wiring
from upgrade_guard.cli.front import Front
from upgrade_guard.cli.quick import QuickCommand, QuickGroup
from upgrade_guard.cli.wiring import Choices
from upgrade_guard.errors import UsageProblem
from upgrade_guard.model.run import Kind, Run

commands = typer.Typer(
    cls=QuickGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make backups, look at them, and keep what is needed of them.",
)
Offsite = Annotated[
    list[str] | None,
    typer.Option("--offsite", metavar="URL", help="Off-site target instead of the configured ones; may be repeated."),
]
NoOffsite = Annotated[bool, typer.Option("--no-offsite", help="Keep the bundle on this machine only.")]


def register(app: typer.Typer) -> None:
    """Add the group to the program."""
    app.add_typer(commands, name="backup")


@commands.command("create", cls=QuickCommand)
def create(context: typer.Context, *, offsite: Offsite = None, no_offsite: NoOffsite = False) -> None:
    """Take a snapshot, prove that it restores, copy it off the control plane and read it back."""
    from dataclasses import replace

    front = Front.of(context)
    config = front.settings(tuple(offsite or ())).config
    if no_offsite:
        config = replace(config, vault=replace(config.vault, offsite=(), offsite_required=0))
    elif not config.vault.offsite:
        raise UsageProblem(
            "no off-site target (vault.offsite): a backup on this machine alone is lost with it",
            hint="upgrade-guard backup create --offsite ssh://backup@HOST/srv/etcd, or --no-offsite",
        )
    with wiring.writing(config) as journal:
        run = journal.open_run((Kind.BACKUP,)) or wiring.begin(journal, config, "", Kind.BACKUP)
        ended = wiring.drive(front, journal, config, run, Choices(), lambda runner: runner.go_on(run.id))
        snapshot = journal.snapshots(run.id)[-1]
    front.answer(wiring.run_answer(ended) | {"bundle": snapshot.bundle}, lambda: _end(ended, snapshot.bundle))


def _end(run: Run, bundle: str) -> str:
    from upgrade_guard.ui import words

    took = words.duration(((run.finished_at or wiring.now()) - run.started_at).total_seconds())
    return f"Backup {bundle}: {run.outcome} after {took}. {words.standing(run.kind, run.state)}"
