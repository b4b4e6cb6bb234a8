"""`restore`: disaster recovery from a bundle."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from upgrade_guard.cli import common
from upgrade_guard.cli.arguments import (
    ConfirmCluster,
    TakeOver,
    Yes,
)
from upgrade_guard.cli.common import close
from upgrade_guard.cli.endings import answer_restore
from upgrade_guard.cli.fast_commands import QuickCommand
from upgrade_guard.cli.invocation import Front
from upgrade_guard.errors import DecisionNeeded, Refused
from upgrade_guard.model.run import Kind, Run, State
from upgrade_guard.runs import resources, session
from upgrade_guard.runs.session import Choices

if TYPE_CHECKING:
    from upgrade_guard.config import Config
    from upgrade_guard.journal import Journal
    from upgrade_guard.steps.restore_bundle import WantedBundle


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("restore", cls=QuickCommand)(restore)


def restore(
    context: typer.Context,
    snapshot: Annotated[
        str,
        typer.Argument(
            metavar="BUNDLE", help="A bundle: its name, the path of its directory, or the URL of a target and its name."
        ),
    ],
    *,
    confirm_cluster: ConfirmCluster = None,
    yes: Yes = False,
    take_over: TakeOver = False,
) -> None:
    """Bring the cluster back from a bundle: control planes that are down, or that have lost etcd's data.

    The bundle is read and proven first. Then every control plane is stopped, etcd's data is moved aside, the bundle's
    is put in its place with the node files that belong to it, and everything is started and verified. What was written
    since the snapshot is lost, so the cluster's name is asked for before anything is touched.
    """
    from upgrade_guard.steps.restore_bundle import wanted

    front = Front.of(context)
    config = front.settings().config
    what = wanted(snapshot, config.vault.path)
    _refuse_early(front, config, what, confirm_cluster)
    with resources.writing(config) as journal:
        run = _open(front, journal, what) or session.begin(journal, config, what.text, Kind.RESTORE)
        choices = Choices(yes, take_over=take_over, confirm_cluster=confirm_cluster)
        ended = common.drive(front, journal, config, run, choices, lambda runner: runner.go_on(run.id))
        answer_restore(front, journal, ended)


def _refuse_early(front: Front, config: Config, what: WantedBundle, confirmed: str | None) -> None:
    """What can be told before anything is recorded: no such bundle here, or nobody to give the cluster's name."""
    from upgrade_guard.vault.bundle import Vault

    name = config.cluster.name
    if not what.source:
        name = Vault(config.vault.path).bundle(what.name).manifest.cluster
    hint = f"upgrade-guard restore {shlex.quote(what.text)} --confirm-cluster {shlex.quote(name or 'NAME')}"
    if confirmed is None and not front.stdin_is_terminal():
        raise DecisionNeeded(
            "a restore loses what was written since the snapshot, and there is no terminal to ask for the cluster's "
            "name on",
            hint=hint,
        )
    if confirmed is not None and name and confirmed != name:
        raise DecisionNeeded(f"--confirm-cluster says {confirmed!r}, but the cluster is {name!r}", hint=hint)


def _open(front: Front, journal: Journal, what: WantedBundle) -> Run | None:
    """The open restore from the same bundle, to go on with; a run that has only looked gives way. Raises Refused."""
    opened = journal.open_run()
    if opened is None or (opened.kind is Kind.RESTORE and opened.target == what.text):
        return opened
    if opened.state is State.STARTED:
        close(front, journal, opened, f"a restore from {what.text} was asked for instead")
        return None
    hint = "resume it: upgrade-guard resume"
    if opened.kind is Kind.UPGRADE:
        hint += "; upgrade-guard abort or upgrade-guard rollback closes it"
    elif opened.state is State.INSPECTED:
        hint += "; upgrade-guard abort closes it"
    raise Refused(
        f"run {opened.id} ({opened.kind.value} {opened.target}) is open at {opened.state.value}; one run at a time",
        hint=hint,
    )
