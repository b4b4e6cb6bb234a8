"""`backup copy`: one more copy of a bundle at a target."""

from __future__ import annotations

from typing import Annotated

import typer

from upgrade_guard.cli import common
from upgrade_guard.cli.common import close_what_was_killed, took
from upgrade_guard.cli.fast_commands import QuickCommand
from upgrade_guard.cli.invocation import Front
from upgrade_guard.errors import Refused, UsageProblem
from upgrade_guard.model import step_results
from upgrade_guard.model.plain import run_answer
from upgrade_guard.model.run import Kind
from upgrade_guard.runs import preflight, resources, session
from upgrade_guard.runs.session import Choices


def register(commands: typer.Typer) -> None:
    """Add the command to the group."""
    commands.command("copy", cls=QuickCommand)(copy)


def copy(
    context: typer.Context,
    bundle: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The bundle's name: upgrade-guard backup list",
            show_default=False,
        ),
    ],
    *,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="URL", help="Target instead of the configured ones; may be repeated."),
    ] = None,
) -> None:
    """Copy a bundle of this machine to the targets once more and read the copies back. The cluster is not asked."""
    from upgrade_guard.runs.inventory import damage_of, known
    from upgrade_guard.ui import vocabulary
    from upgrade_guard.vault.bundle import Vault
    from upgrade_guard.workflows.copy import CLUSTER

    front = Front.of(context)
    config = front.settings(tuple(to or ())).config
    if not config.vault.offsite:
        raise UsageProblem(
            "no target: none is configured (vault.offsite)",
            hint=f"upgrade-guard backup copy {bundle} --to ssh://backup@HOST/srv/etcd",
        )
    preflight.must_not_leak(config)
    found = Vault(config.vault.path).bundle(bundle)
    with resources.writing(config) as journal:
        journaled = known(journal)
        if damage := damage_of(found, journaled):
            raise Refused(
                f"{bundle} is damaged and is not copied", reasons=damage, hint="upgrade-guard backup list --remote"
            )
        close_what_was_killed(front, journal, Kind.COPY)
        recorded = journaled.recorded.get(bundle)
        facts = journal.facts(recorded.run_id) if recorded else None
        asked = {CLUSTER: facts.of(step_results.CLUSTER)} if facts and facts.has(step_results.CLUSTER) else {}
        run = session.begin(journal, config, bundle, Kind.COPY, asked)
        journal.identify(run.id, cluster=found.manifest.cluster, from_version=found.manifest.kubernetes_version)
        ended = common.drive(front, journal, config, run, Choices(), lambda runner: runner.go_on(run.id))
        copies = journal.copies(run.id)
    lines = [f"Copied {bundle} ({vocabulary.size(found.size)}) in {took(ended)}."]
    for one in copies:
        survives = "survives" if one.off_control_plane else "may not survive"
        lines.append(f"Copy:   {one.location}, read back equal; it {survives} the loss of the control planes")
    front.answer(run_answer(ended) | {"bundle": bundle, "copies": copies}, lambda: "\n".join(lines))
