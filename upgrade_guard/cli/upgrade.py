"""The commands that move a run: run, resume, rollback, abort."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from upgrade_guard.cli import wiring
from upgrade_guard.cli.cost import going_back
from upgrade_guard.cli.front import Front
from upgrade_guard.cli.quick import QuickCommand
from upgrade_guard.cli.wiring import Choices
from upgrade_guard.errors import DecisionNeeded, Refused
from upgrade_guard.model.run import Event, Kind, Move, Run, State
from upgrade_guard.model.version import Version

if TYPE_CHECKING:
    from upgrade_guard.config import Config
    from upgrade_guard.journal import Journal

Yes = Annotated[bool, typer.Option("--yes", help="Approve what an operator normally approves.")]
NoAutoRollback = Annotated[
    bool, typer.Option("--no-auto-rollback", help="Stop and ask when the upgrade fails, instead of rolling back.")
]
ConfirmCluster = Annotated[
    str | None,
    typer.Option("--confirm-cluster", metavar="NAME", help="The cluster's name, when going back loses writes."),
]
Offsite = Annotated[
    list[str] | None,
    typer.Option("--offsite", metavar="URL", help="Off-site target instead of the configured ones; may be repeated."),
]
TakeOver = Annotated[
    bool, typer.Option("--take-over", help="Take the lock of the cluster over from a run that will not go on.")
]
Without = Annotated[
    list[str] | None,
    typer.Option(
        "--without", metavar="NODE", help="Give up for good a node whose machine does not answer; may be repeated."
    ),
]
Everything = Annotated[
    bool,
    typer.Option("--everything", help="Take etcd's data back too where one control plane alone would go back."),
]
_ROLLING = (State.ROLLING_BACK, State.ROLLBACK_FAILED)


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("run", cls=QuickCommand)(run)
    app.command("resume", cls=QuickCommand)(resume)
    app.command("rollback", cls=QuickCommand)(rollback)
    app.command("abort", cls=QuickCommand)(abort)


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
    target = None if version is None else wiring.version_of(version)
    config = front.settings(offsite).config
    if wiring.open_run(config) is None:
        wiring.must_have_offsite(config)
    with wiring.writing(config) as journal:
        opened = _still_wanted(front, journal, target)
        if opened is not None:
            _may_resume(front, opened, version, choices)
            _go_on(front, journal, config, opened, choices)
            return
        if target is None:
            target = wiring.version_of(_chosen(front, config))
        elif wiring.already_there(config, target):
            front.answer(None, lambda: f"Every node runs {target} already: nothing to do.")
            return
        _go_on(front, journal, config, wiring.begin(journal, config, str(target)), choices)


def resume(
    context: typer.Context,
    *,
    yes: Yes = False,
    confirm_cluster: ConfirmCluster = None,
    no_auto_rollback: NoAutoRollback = False,
    take_over: TakeOver = False,
) -> None:
    """Go on where the last process stopped."""
    front = Front.of(context)
    config = front.settings().config
    if wiring.open_run(config) is None:
        front.answer(None, lambda: "No run is open: nothing to do.")
        return
    with wiring.writing(config) as journal:
        opened = _must_be_open(journal.open_run(), "resume")
        _go_on(front, journal, config, opened, Choices(yes, not no_auto_rollback, take_over, confirm_cluster))


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
    _must_be_open(wiring.open_run(config), "roll back")
    with wiring.writing(config) as journal:
        opened = _must_be_open(journal.open_run(), "roll back")
        if opened.kind is Kind.RESTORE:
            raise Refused(
                f"run {opened.id} is a restore, which is itself the way back: there is no other",
                hint="upgrade-guard resume goes on with it",
            )
        given_up = tuple(dict.fromkeys(without or ()))
        if given_up:
            with wiring.looking(config) as site:
                wiring.refuse_to_give_up(site, journal, opened.id, given_up)
        if opened.state not in _ROLLING and _may(opened, Event.ROLLBACK_BEGUN):
            with wiring.looking(config) as site:
                cost = going_back(site, journal, opened.id)
            asking = wiring.prompts(front)
            subject = f"Roll back cluster {opened.cluster} to {opened.from_version}: {cost.text}"
            if cost.revisions == 0:
                approval = asking.confirm(
                    f"{subject}. Go on?", flag="--yes" if yes else "", hint="upgrade-guard rollback --yes"
                )
            else:
                hint = f"upgrade-guard rollback --confirm-cluster {opened.cluster}"
                approval = asking.confirm_cluster(opened.cluster, subject, given=confirm_cluster, hint=hint)
            journal.approve(opened.id, approval)
        reasons = (f"{wiring.operator()} asked for it",)
        choices = Choices(yes, not no_auto_rollback, take_over, without=given_up, everything=everything)
        ended = wiring.drive(
            front, journal, config, opened, choices, lambda runner: runner.roll_back(opened.id, reasons)
        )
        for name in given_up:
            front.screen.tell(
                f"{name} was given up. Its node object stays: kubectl delete node {name}. Before that machine joins "
                "again: kubeadm reset there, and never start it as it is.",
                style="yellow",
            )
        _answer(front, ended, {})


def abort(context: typer.Context, *, yes: Yes = False, take_over: TakeOver = False) -> None:
    """Close a run whose control plane is untouched; packages go back."""
    front = Front.of(context)
    config = front.settings().config
    _must_be_open(wiring.open_run(config), "abort")
    with wiring.writing(config) as journal:
        opened = _must_be_open(journal.open_run(), "abort")
        if _may(opened, Event.RUN_ABORTED):
            approval = wiring.prompts(front).confirm(
                f"Close run {opened.id} ({opened.target}) at {opened.state.value}?",
                flag="--yes" if yes else "",
                hint="upgrade-guard abort --yes",
            )
            journal.approve(opened.id, approval)
        choices = Choices(yes, take_over=take_over)
        ended = wiring.drive(front, journal, config, opened, choices, lambda runner: runner.abort(opened.id))
        _answer(front, ended, {})


def _go_on(front: Front, journal: Journal, config: Config, run: Run, choices: Choices) -> None:
    ended = wiring.drive(front, journal, config, run, choices, lambda runner: runner.go_on(run.id))
    if ended.kind is Kind.RESTORE:
        from upgrade_guard.cli import restore

        restore.answer(front, journal, ended)
        return
    _answer(front, ended, _not_upgraded(journal, ended))


def _not_upgraded(journal: Journal, run: Run) -> dict[str, str]:
    """The nodes that a completed upgrade left as they were, with the reason."""
    from upgrade_guard.phases.inspect import cluster

    return dict(cluster(journal.facts(run.id)).left_out) if run.state is State.COMPLETED else {}


def _answer(front: Front, run: Run, not_upgraded: Mapping[str, str]) -> None:
    from upgrade_guard.ui import words

    took = words.duration(((run.finished_at or wiring.now()) - run.started_at).total_seconds())
    ended = run.outcome or run.state.value
    text = f"Run {run.id}: {ended} after {took}. {words.standing(run.kind, run.state)}"
    for node, why in not_upgraded.items():
        text += f"\n{node} was not upgraded: {why}"
    if not front.passing:
        text += f"\nNext: {front.pasteable(f'upgrade-guard show {run.id}')}"
    front.answer(wiring.run_answer(run) | {"not_upgraded": not_upgraded}, lambda: text)


def _may(run: Run, event: Event) -> bool:
    from upgrade_guard.engine.machine import allowed

    return event in allowed(run.kind, run.state)


def _must_be_open(opened: Run | None, verb: str) -> Run:
    if opened is None:
        raise Refused(f"no run is open, so there is nothing to {verb}", hint="upgrade-guard history")
    return opened


def _still_wanted(front: Front, journal: Journal, target: Version | None) -> Run | None:
    """The open run; one that has only looked is closed where another version is asked for now."""
    opened = journal.open_run()
    if opened is None or opened.state is not State.STARTED or target is None or opened.target == str(target):
        return opened
    close(front, journal, opened, f"{target} was asked for instead")
    return None


def close(front: Front, journal: Journal, opened: Run, reason: str) -> None:
    """Close a run that has only looked, because another is asked for."""
    journal.move(opened.id, Move(Event.RUN_ABORTED, State.ABORTED, (reason,)))
    front.screen.tell(f"Run {opened.id} to {opened.target} had changed nothing and is closed.")


def _may_resume(front: Front, opened: Run, version: str | None, choices: Choices) -> None:
    """Going on with the open run must be wanted: its own target, and a yes."""
    if opened.kind is Kind.RESTORE:
        raise Refused(
            f"restore {opened.id} from {opened.target} is open at {opened.state.value}; one run at a time",
            hint="upgrade-guard resume goes on with it",
        )
    if version is not None and str(wiring.version_of(version)) != opened.target:
        raise Refused(
            f"run {opened.id} to {opened.target} is open at {opened.state.value}; one upgrade at a time",
            hint="upgrade-guard resume goes on with it; upgrade-guard abort or upgrade-guard rollback closes it",
        )
    wiring.prompts(front).confirm(
        f"Run {opened.id} to {opened.target} is open at {opened.state.value}. Resume it?",
        flag="--yes" if choices.yes else "",
        hint="upgrade-guard resume",
    )


def _chosen(front: Front, config: Config) -> str:
    with wiring.looking(config) as site:
        offered = wiring.allowed_targets(site)
    if not front.stdin_is_terminal():
        raise DecisionNeeded(
            "which version? Name it, there is no terminal to ask on",
            hint=f"upgrade-guard run {offered[0][0]}",
            reasons=tuple(f"{version}: {why}" for version, why in offered),
        )
    return wiring.prompts(front).choose("Upgrade to which version?", offered, hint="upgrade-guard run VERSION")
