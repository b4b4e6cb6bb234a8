"""The commands that only look: status, plan, check, history, show, graph."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upgrade_guard.cli import backup_standing, wiring
from upgrade_guard.cli.front import Front
from upgrade_guard.cli.quick import QuickCommand
from upgrade_guard.errors import UsageProblem
from upgrade_guard.model.run import OF_THE_CLUSTER, Kind, State
from upgrade_guard.model.version import Version

if TYPE_CHECKING:
    from upgrade_guard.cli.backup_standing import BackupStanding
    from upgrade_guard.journal import Journal
    from upgrade_guard.phases.site import Site

Target = Annotated[
    str | None,
    typer.Argument(
        metavar="VERSION",
        help="The version, such as v1.28.0. [default: the next minor]",
    ),
]

RunName = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="The run's id, or its beginning. [default: the newest]",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("status", cls=QuickCommand)(status)
    app.command("plan", cls=QuickCommand)(plan)
    app.command("check", cls=QuickCommand)(check)
    app.command("history", cls=QuickCommand)(history)
    app.command("show", cls=QuickCommand)(show)
    app.command("graph", cls=QuickCommand)(graph)


def status(context: typer.Context) -> None:
    """Say where the open run stands, what comes next, and how to go back. Reads only."""
    front = Front.of(context)
    config = front.settings().config
    with wiring.reading(config) as journal:
        opened = journal.open_run() if journal is not None else None
        backups = backup_standing.gather(config, journal)
        if journal is None or opened is None:
            front.answer(None, lambda: _nothing_open(front, journal, backups))
            return
        from upgrade_guard.cli.standing import standing

        found = standing(config, journal, opened)

    def shown() -> object:
        from rich.console import Group
        from rich.text import Text

        from upgrade_guard.cli.standing import lines

        return Group(
            lines(found, front.pasteable), *(Text(line) for line in backup_standing.lines(backups, front.pasteable))
        )

    front.answer(found.answer() | {"backups": backup_standing.answer(backups)}, shown)


def _nothing_open(front: Front, journal: Journal | None, backups: BackupStanding) -> str:
    last = journal.runs(limit=1) if journal is not None else ()
    before = f"\nThe last one, {last[0].id} to {last[0].target}, ended {last[0].outcome}." if last else ""
    if last and last[0].state in (State.ROLLED_BACK, State.RESTORED):
        before += (
            f"\nWhat it left on nodes: {front.pasteable('upgrade-guard backup prune --aside')} (with --yes it goes)"
        )
    about_backups = "".join(f"\n{line}" for line in backup_standing.lines(backups, front.pasteable))
    return f"No run is open.{before}{about_backups}\nNext: {front.pasteable('upgrade-guard run VERSION')}"


def plan(context: typer.Context, version: Target = None) -> None:
    """Show the path, the steps per node and the findings. Changes nothing."""
    from upgrade_guard.phases.one_plane import node_of
    from upgrade_guard.phases.preview import preview

    front = Front.of(context)
    with wiring.looking(front.settings().config) as site:
        ahead = preview(site, _target(site, version))
    answer = {
        "cluster": ahead.cluster,
        "path": [ahead.cluster.version, str(ahead.target)],
        "phases": [
            {
                "name": phase.name,
                "title": phase.title,
                "steps": [
                    {
                        "name": step.name,
                        "summary": step.summary,
                        "node": node_of(step.lane),
                        "changes_node": step.changes_node,
                    }
                    for step in phase.steps
                ],
            }
            for phase in ahead.phases
        ],
        "findings": ahead.findings,
    }

    def shown() -> object:
        from upgrade_guard.ui.tables import preview as table

        return table(ahead.cluster, str(ahead.target), ahead.phases, ahead.findings, verbose=front.verbose)

    front.answer(answer, shown)
    wiring.refuse_blocking(ahead.findings)


def check(context: typer.Context, version: Target = None) -> None:
    """Run the preflight alone. Changes nothing; exit code 3 when something stands in the way."""
    from upgrade_guard.phases.preview import findings

    front = Front.of(context)
    with wiring.looking(front.settings().config) as site:
        target = _target(site, version)
        found = findings(site, target)

    def shown() -> object:
        from upgrade_guard.ui import tables

        return tables.findings(found, verbose=front.verbose)

    front.answer({"target": str(target), "findings": found}, shown)
    wiring.refuse_blocking(found)


def _target(site: Site, version: str | None) -> Version:
    from upgrade_guard.phases.preview import refuse_no_way

    if version is None:
        return wiring.next_minor(site)
    target = wiring.version_of(version)
    refuse_no_way(site, target)
    return target


def history(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 50,
    cluster: Annotated[str | None, typer.Option(help="Only this cluster.")] = None,
    target: Annotated[str | None, typer.Option(help="Only this version, or bundle of a drill or restore.")] = None,
    outcome: Annotated[
        str | None,
        typer.Option(help="Only completed, aborted, rolled-back, rollback-failed, restored, failed or open."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Only since then: a day such as 2025-03-01, or 36h or 7d.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="Only upgrade, restore, backup, drill, copy or prune; or all. [default: upgrade and restore]"
        ),
    ] = None,
) -> None:
    """List past attempts: target, outcome, duration, snapshot."""
    front = Front.of(context)
    wanted: dict[str, Any] = {
        "limit": limit,
        "cluster": cluster,
        # What a drill or a restore is about is a bundle, which is no version.
        "target": str(wiring.version_of(target)) if target and kind in (None, "upgrade") else target,
        "outcome": _outcome(outcome),
        "since": _since(since),
        "kinds": _kinds(kind),
    }
    with wiring.reading(front.settings().config) as journal:
        runs = journal.runs(**wanted) if journal is not None else ()
        found = [(run, journal.snapshots(run.id)) for run in runs] if journal is not None else []

    def shown() -> object:
        from upgrade_guard.ui import tables

        more = front.pasteable(f"upgrade-guard history --limit {limit * 10}") if len(found) == limit else ""
        return tables.history(found, wiring.now(), more)

    answer = [
        wiring.run_answer(run)
        | {
            "duration": max((run.finished_at - run.started_at).total_seconds(), 0.0) if run.finished_at else None,
            "snapshot": snapshots[-1].bundle if snapshots else None,
        }
        for run, snapshots in found
    ]
    front.answer(answer, shown)


def _outcome(text: str | None) -> str | None:
    known = ("completed", "aborted", "rolled-back", "rollback-failed", "restored", "failed", "open")
    if text is not None and text not in known:
        raise UsageProblem(f"--outcome {text}: not an outcome", hint="give one of: " + ", ".join(known))
    return "" if text == "open" else text


def _kinds(text: str | None) -> tuple[Kind, ...]:
    if text is None:
        return OF_THE_CLUSTER
    if text == "all":
        return tuple(Kind)
    try:
        return (Kind(text),)
    except ValueError:
        known = ", ".join([*(kind.value for kind in Kind), "all"])
        raise UsageProblem(f"--kind {text}: not a kind of run", hint=f"give one of: {known}") from None


def _since(text: str | None) -> datetime | None:
    """A day, a moment, or so long ago. Raises UsageProblem."""
    if text is None:
        return None
    from upgrade_guard.config.kinds import duration

    try:
        return wiring.now() - timedelta(seconds=duration(text))
    except (ValueError, OverflowError):
        pass
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise UsageProblem(
            f"--since {text}: neither a date nor a time such as 36h",
            hint="upgrade-guard history --since 7d, or --since 2025-03-01",
        ) from None
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def show(
    context: typer.Context,
    run: RunName = None,
) -> None:
    """Tell one attempt: moves, steps, commands and evidence, in the order of time."""
    from upgrade_guard.cli.standing import story_to_tell
    from upgrade_guard.ui.stages import stages

    front = Front.of(context)
    config = front.settings().config
    with wiring.reading(config) as journal:
        story = story_to_tell(config, journal, run)
    now = wiring.now()

    def shown() -> object:
        from upgrade_guard.ui import tables

        return tables.timeline(story, now, verbose=front.verbose)

    answer = wiring.run_answer(story.run) | {
        "operator": story.run.operator,
        "host": story.run.host,
        "tool_version": story.run.tool_version,
        "settings": story.run.settings,
        "nodes": story.nodes,
        "stages": [
            {
                "label": stage.label,
                "verdict": stage.verdict,
                "began": stage.began,
                "ended": stage.ended,
                "seconds": stage.seconds,
            }
            for stage in stages(story.run, story.transitions, story.steps, now)
        ],
        "transitions": story.transitions,
        "steps": story.steps,
        "commands": story.commands,
        "approvals": story.approvals,
        "snapshots": story.snapshots,
        "proofs": story.proofs,
        "copies": story.copies,
        "edited": story.edited,
        "log": str(config.log_path(story.run.id)),
    }
    front.answer(answer, shown)


def graph(context: typer.Context) -> None:
    """Print the state machine as a mermaid diagram."""
    from upgrade_guard.engine.machine import mermaid

    text = mermaid()
    Front.of(context).answer({"mermaid": text}, text.rstrip)
