"""`rollback`: take the open run's way back now."""

from __future__ import annotations

import typer

from upgrade_guard.cli import common
from upgrade_guard.cli.arguments import (
    ConfirmCluster,
    Everything,
    NoAutoRollback,
    TakeOver,
    Without,
    Yes,
)
from upgrade_guard.cli.common import may, must_be_open
from upgrade_guard.cli.endings import answer_upgrade
from upgrade_guard.cli.fast_commands import QuickCommand
from upgrade_guard.cli.invocation import Front
from upgrade_guard.errors import Refused
from upgrade_guard.model.run import Event, Kind, State, asked_by
from upgrade_guard.runs import approvals, resources
from upgrade_guard.runs.rollback_cost import going_back
from upgrade_guard.runs.session import Choices

_ROLLING = (State.ROLLING_BACK, State.ROLLBACK_FAILED)


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("rollback", cls=QuickCommand)(rollback)


def rollback(
    context: typer.Context,
    *,
    yes: Yes = False,
    confirm_cluster: ConfirmCluster = None,
    no_auto_rollback: NoAutoRollback = False,
    take_over: TakeOver = False,
    without: Without = None,
    everything: Everything = False,
) -> None:
    """Take the open run's rollback path now."""
    front = Front.of(context)
    config = front.settings().config
    must_be_open(resources.open_run(config), "roll back")
    with resources.writing(config) as journal:
        opened = must_be_open(journal.open_run(), "roll back")
        if opened.kind is Kind.RESTORE:
            raise Refused(
                f"run {opened.id} is a restore, and a restore cannot be rolled back",
                hint="resume it: upgrade-guard resume",
            )
        given_up = tuple(dict.fromkeys(without or ()))
        if given_up:
            with resources.looking(config) as site:
                approvals.refuse_to_give_up(site, journal, opened.id, given_up)
        if opened.state not in _ROLLING and may(opened, Event.ROLLBACK_BEGUN):
            with resources.looking(config) as site:
                cost = going_back(site, journal, opened.id)
            asking = common.prompts(front)
            subject = f"Roll back cluster {opened.cluster} to {opened.from_version}: {cost.text}"
            if cost.revisions == 0:
                approval = asking.confirm(
                    f"{subject}. Go on?", flag="--yes" if yes else "", hint="upgrade-guard rollback --yes"
                )
            else:
                hint = f"upgrade-guard rollback --confirm-cluster {opened.cluster}"
                approval = asking.confirm_cluster(opened.cluster, subject, given=confirm_cluster, hint=hint)
            journal.approve(opened.id, approval)
        reasons = (asked_by(resources.operator()),)
        choices = Choices(yes, not no_auto_rollback, take_over, without=given_up, everything=everything)
        ended = common.drive(
            front, journal, config, opened, choices, lambda runner: runner.roll_back(opened.id, reasons)
        )
        for name in given_up:
            front.screen.tell(
                f"{name} was given up. Its node object stays: kubectl delete node {name}. Before that machine joins "
                "again: kubeadm reset there, and never start it as it is.",
                style="yellow",
            )
        answer_upgrade(front, ended, {})
