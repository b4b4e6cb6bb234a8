"""The commands that keep what is needed: copy, prune."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upgrade_guard.cli import wiring
from upgrade_guard.cli.front import Front
from upgrade_guard.cli.quick import QuickCommand
from upgrade_guard.cli.wiring import Choices
from upgrade_guard.errors import Refused, StepFailed, UsageProblem
from upgrade_guard.model.run import ApprovalRecord, Event, Kind, Move, Run, State

if TYPE_CHECKING:
    from upgrade_guard.cli.pruning import Plan
    from upgrade_guard.config import Config
    from upgrade_guard.journal import Journal


def register(commands: typer.Typer) -> None:
    """Add the commands to the group."""
    commands.command("copy", cls=QuickCommand)(copy)
    commands.command("prune", cls=QuickCommand)(prune)


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
    from upgrade_guard.cli.stock import damage_of, known
    from upgrade_guard.phases.copy_workflow import CLUSTER
    from upgrade_guard.ui import words
    from upgrade_guard.vault.bundle import Vault

    front = Front.of(context)
    config = front.settings(tuple(to or ())).config
    if not config.vault.offsite:
        raise UsageProblem(
            "no target: none is configured (vault.offsite)",
            hint=f"upgrade-guard backup copy {bundle} --to ssh://backup@HOST/srv/etcd",
        )
    wiring.must_not_leak(config)
    found = Vault(config.vault.path).bundle(bundle)
    with wiring.writing(config) as journal:
        journaled = known(journal)
        if damage := damage_of(found, journaled):
            raise Refused(
                f"{bundle} is damaged and is not copied", reasons=damage, hint="upgrade-guard backup list --remote"
            )
        _close_what_was_killed(front, journal, Kind.COPY)
        recorded = journaled.recorded.get(bundle)
        facts = journal.facts(recorded.run_id) if recorded else None
        asked = {CLUSTER: facts.of("inspect/cluster")} if facts and facts.has("inspect/cluster") else {}
        run = wiring.begin(journal, config, bundle, Kind.COPY, asked)
        journal.identify(run.id, cluster=found.manifest.cluster, from_version=found.manifest.kubernetes_version)
        ended = wiring.drive(front, journal, config, run, Choices(), lambda runner: runner.go_on(run.id))
        copies = journal.copies(run.id)
    took = _took(ended)
    lines = [f"Copied {bundle} ({words.size(found.size)}) in {took}."]
    for one in copies:
        survives = "survives" if one.off_control_plane else "may not survive"
        lines.append(f"Copy:   {one.location}, read back equal; it {survives} the loss of the control planes")
    front.answer(wiring.run_answer(ended) | {"bundle": bundle, "copies": copies}, lambda: "\n".join(lines))


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
    from upgrade_guard.cli.pruning import decide

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
        with wiring.reading(config) as journal, wiring.looking(config) as site:
            plan = decide(config, site, journal, here=here, urls=urls, aside=aside)
        front.answer(_plan_answer(plan), lambda: _dry(front, plan, asked))
        _complain(plan)
        return
    with wiring.writing(config) as journal:
        _close_what_was_killed(front, journal, Kind.PRUNE)
        with wiring.looking(config) as site:
            plan = decide(config, site, journal, here=here, urls=urls, aside=aside)
        if not plan.removals:
            front.answer(_plan_answer(plan), lambda: _dry(front, plan, asked))
            _complain(plan)
            return
        ended = _remove(front, journal, config, plan)
        freed = sum(one.size for one in plan.removals)
        count = len(plan.removals)
    from upgrade_guard.ui import words

    front.answer(
        wiring.run_answer(ended) | _plan_answer(plan),
        lambda: (
            f"Removed {count}, {words.size(freed)}, in {_took(ended)}. "
            f"Each is on record: {front.pasteable(f'upgrade-guard show {ended.id}')}"
        ),
    )
    _complain(plan)


def _remove(front: Front, journal: Journal, config: Config, plan: Plan) -> Run:
    from upgrade_guard.model.codec import to_json
    from upgrade_guard.phases.prune_workflow import PRUNE

    run = wiring.begin(journal, config, "", Kind.PRUNE, {PRUNE: [to_json(one) for one in plan.removals]})
    journal.identify(run.id, cluster=config.cluster.name or plan.cluster, from_version="")
    names = ", ".join(one.name for one in plan.removals)
    journal.approve(run.id, ApprovalRecord(f"Remove {names}", wiring.operator(), "--yes", "yes", wiring.now()))
    return wiring.drive(front, journal, config, run, Choices(), lambda runner: runner.go_on(run.id))


def _close_what_was_killed(front: Front, journal: Journal, kind: Kind) -> None:
    """Neither leaves anything that the next one does not finish: it is closed, and this one begins anew."""
    while (killed := journal.open_run((kind,))) is not None:
        journal.move(killed.id, Move(Event.RUN_ABORTED, State.ABORTED, ("its process ended before it was finished",)))
        front.screen.tell(f"Run {killed.id} ({kind.value}) had not been finished and is closed.")


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
    from upgrade_guard.ui import words

    lines = [f"keep    {name} ({place}): {'; '.join(because)}" for place, name, because in plan.kept]
    lines += [f"remove  {one.name} ({one.place}), {words.size(one.size)}" for one in plan.removals]
    for one in plan.aside:
        if not one.goes:
            since = words.moment(one.since)
            lines.append(f"aside   {one.path} on {one.node}, {one.how} by run {one.run_id}, ended {since}: {one.why}")
    if not plan.removals:
        lines.append("Nothing is to be removed.")
    else:
        freed = words.size(sum(one.size for one in plan.removals))
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


def _took(run: Run) -> str:
    from upgrade_guard.ui import words

    return words.duration(((run.finished_at or wiring.now()) - run.started_at).total_seconds())
