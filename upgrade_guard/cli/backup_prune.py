"""`backup prune`: remove what is no longer kept, or say what would go."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upgrade_guard.cli import common
from upgrade_guard.cli.common import close_what_was_killed, took
from upgrade_guard.cli.fast_commands import QuickCommand
from upgrade_guard.cli.invocation import Front
from upgrade_guard.errors import StepFailed, UsageProblem
from upgrade_guard.model.plain import run_answer
from upgrade_guard.model.run import ApprovalRecord, Kind, Run
from upgrade_guard.runs import resources, session
from upgrade_guard.runs.session import Choices

if TYPE_CHECKING:
    from upgrade_guard.config import Config
    from upgrade_guard.journal import Journal
    from upgrade_guard.runs.prune_plan import Plan


def register(commands: typer.Typer) -> None:
    """Add the command to the group."""
    commands.command("prune", cls=QuickCommand)(prune)


def prune(
    context: typer.Context,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this, only say what would go.")] = False,
    local: Annotated[bool, typer.Option("--local", help="Only on this machine.")] = False,
    target: Annotated[
        list[str] | None, typer.Option("--target", metavar="URL", help="Only at this target; may be repeated.")
    ] = None,
    aside: Annotated[
        bool,
        typer.Option("--aside", help="Also what finished upgrades, rollbacks and restores left on nodes."),
    ] = False,
) -> None:
    """Remove bundles and copies that are no longer kept. Without --yes, say what would go and why the others stay."""
    from upgrade_guard.runs.prune_plan import decide

    front = Front.of(context)
    if local and target:
        raise UsageProblem("--local and --target exclude each other", hint="upgrade-guard backup prune --help")
    config = front.settings().config
    urls = () if local else tuple(target) if target else config.vault.offsite
    here = not target
    asked = (
        *(("--local",) if local else ()),
        *(word for url in target or () for word in ("--target", url)),
        *(("--aside",) if aside else ()),
    )
    if not yes:
        with resources.reading(config) as journal, resources.looking(config) as site:
            plan = decide(config, site, journal, here=here, urls=urls, aside=aside)
        front.answer(_plan_answer(plan), lambda: _dry(front, plan, asked))
        _complain(plan)
        return
    with resources.writing(config) as journal:
        close_what_was_killed(front, journal, Kind.PRUNE)
        with resources.looking(config) as site:
            plan = decide(config, site, journal, here=here, urls=urls, aside=aside)
        if not plan.removals:
            front.answer(_plan_answer(plan), lambda: _dry(front, plan, asked))
            _complain(plan)
            return
        ended = _remove(front, journal, config, plan)
        freed = sum(one.size for one in plan.removals)
        count = len(plan.removals)
    from upgrade_guard.ui import vocabulary

    front.answer(
        run_answer(ended) | _plan_answer(plan),
        lambda: (
            f"Removed {count}, {vocabulary.size(freed)}, in {took(ended)}. "
            f"Each is on record: {front.pasteable(f'upgrade-guard show {ended.id}')}"
        ),
    )
    _complain(plan)


def _remove(front: Front, journal: Journal, config: Config, plan: Plan) -> Run:
    from upgrade_guard.model.codec import to_json
    from upgrade_guard.workflows.prune import PRUNE

    run = session.begin(journal, config, "", Kind.PRUNE, {PRUNE: [to_json(one) for one in plan.removals]})
    journal.identify(run.id, cluster=config.cluster.name or plan.cluster, from_version="")
    names = ", ".join(one.name for one in plan.removals)
    journal.approve(run.id, ApprovalRecord(f"Remove {names}", resources.operator(), "--yes", "yes", resources.now()))
    return common.drive(front, journal, config, run, Choices(), lambda runner: runner.go_on(run.id))


def _plan_answer(plan: Plan) -> dict[str, Any]:
    return {
        "removals": [{"place": one.place, "name": one.name, "size": one.size} for one in plan.removals],
        "kept": [{"place": place, "name": name, "because": because} for place, name, because in plan.kept],
        "aside": [
            {"node": one.node, "path": one.path, "run": one.run_id, "since": one.since, "goes": one.goes}
            for one in plan.aside
        ],
        "problems": plan.problems,
    }


def _dry(front: Front, plan: Plan, asked: tuple[str, ...]) -> str:
    from upgrade_guard.ui import vocabulary

    lines = [f"keep    {name} ({place}): {'; '.join(because)}" for place, name, because in plan.kept]
    lines += [f"remove  {one.name} ({one.place}), {vocabulary.size(one.size)}" for one in plan.removals]
    for one in plan.aside:
        if not one.goes:
            since = vocabulary.moment(one.since)
            lines.append(f"aside   {one.path} on {one.node}, {one.how} by run {one.run_id}, ended {since}: {one.why}")
    if not plan.removals:
        lines.append("Nothing is to be removed.")
    else:
        freed = vocabulary.size(sum(one.size for one in plan.removals))
        lines.append(f"Nothing was removed; {len(plan.removals)} would go, {freed}.")
        lines.append(f"Next: {front.pasteable(shlex.join(('upgrade-guard', 'backup', 'prune', '--yes', *asked)))}")
    return "\n".join(lines)


def _complain(plan: Plan) -> None:
    """What could not be looked at was left alone; that must not look like success."""
    if plan.problems:
        raise StepFailed(
            "not every place could be looked at; what is there was left alone",
            reasons=plan.problems,
            hint="cure that, then: upgrade-guard backup prune",
        )
