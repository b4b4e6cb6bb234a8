"""`run`: an upgrade, guided from its beginning; an open one is resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from upgrade_guard.cli import common
from upgrade_guard.cli.arguments import (
    NoAutoRollback,
    Offsite,
    TakeOver,
    Yes,
)
from upgrade_guard.cli.common import close
from upgrade_guard.cli.endings import go_on
from upgrade_guard.cli.fast_commands import QuickCommand
from upgrade_guard.cli.invocation import Front
from upgrade_guard.errors import DecisionNeeded, Refused
from upgrade_guard.model.run import Kind, Run, State
from upgrade_guard.model.version import Version
from upgrade_guard.runs import preflight, resources, session
from upgrade_guard.runs.session import Choices

if TYPE_CHECKING:
    from upgrade_guard.config import Config
    from upgrade_guard.journal import Journal


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("run", cls=QuickCommand)(run)


def run(
    context: typer.Context,
    version: Annotated[
        str | None,
        typer.Argument(
            metavar="VERSION",
            help="The version to reach, such as v1.28.0; without it you are asked.",
        ),
    ] = None,
    *,
    yes: Yes = False,
    no_auto_rollback: NoAutoRollback = False,
    offsite: Offsite = None,
    take_over: TakeOver = False,
) -> None:
    """Upgrade the cluster, guided; offers to resume when a run is open."""
    front = Front.of(context)
    start(front, version, Choices(yes, not no_auto_rollback, take_over), tuple(offsite or ()))


def start(front: Front, version: str | None, choices: Choices, offsite: tuple[str, ...] = ()) -> None:
    """What `run` does, for `lab run` too."""
    target = None if version is None else common.version_of(version)
    config = front.settings(offsite).config
    if resources.open_run(config) is None:
        preflight.must_have_offsite(config)
    with resources.writing(config) as journal:
        opened = _still_wanted(front, journal, target)
        if opened is not None:
            _may_resume(front, opened, version, choices)
            go_on(front, journal, config, opened, choices)
            return
        if target is None:
            target = common.version_of(_chosen(front, config))
        elif preflight.already_there(config, target):
            front.answer(None, lambda: f"Every node runs {target} already: nothing to do.")
            return
        go_on(front, journal, config, session.begin(journal, config, str(target)), choices)


def _still_wanted(front: Front, journal: Journal, target: Version | None) -> Run | None:
    """The open run; one that has only looked is closed where another version is asked for now."""
    opened = journal.open_run()
    if opened is None or opened.state is not State.STARTED or target is None or opened.target == str(target):
        return opened
    close(front, journal, opened, f"{target} was asked for instead")
    return None


def _may_resume(front: Front, opened: Run, version: str | None, choices: Choices) -> None:
    """Going on with the open run must be wanted: its own target, and a yes."""
    if opened.kind is Kind.RESTORE:
        raise Refused(
            f"restore {opened.id} from {opened.target} is open at {opened.state.value}; one run at a time",
            hint="resume it: upgrade-guard resume",
        )
    if version is not None and str(common.version_of(version)) != opened.target:
        raise Refused(
            f"run {opened.id} to {opened.target} is open at {opened.state.value}; one upgrade at a time",
            hint="resume it: upgrade-guard resume; upgrade-guard abort or upgrade-guard rollback closes it",
        )
    common.prompts(front).confirm(
        f"Run {opened.id} to {opened.target} is open at {opened.state.value}. Resume it?",
        flag="--yes" if choices.yes else "",
        hint="upgrade-guard resume",
    )


def _chosen(front: Front, config: Config) -> str:
    with resources.looking(config) as site:
        offered = preflight.allowed_targets(site)
    if not front.stdin_is_terminal():
        raise DecisionNeeded(
            "no version was given, and there is no terminal to ask for it on",
            hint=f"upgrade-guard run {offered[0][0]}",
            reasons=tuple(f"{version}: {why}" for version, why in offered),
        )
    return common.prompts(front).choose("Upgrade to which version?", offered, hint="upgrade-guard run VERSION")
