"""`history`: past runs, and which of them are asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from upgrade_guard.cli import common
from upgrade_guard.cli.fast_commands import QuickCommand
from upgrade_guard.cli.invocation import Front
from upgrade_guard.errors import UsageProblem
from upgrade_guard.model.plain import run_answer
from upgrade_guard.model.run import OF_THE_CLUSTER, Kind
from upgrade_guard.runs import resources


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("history", cls=QuickCommand)(history)


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
        "target": str(common.version_of(target)) if target and kind in (None, "upgrade") else target,
        "outcome": _outcome(outcome),
        "since": _since(since),
        "kinds": _kinds(kind),
    }
    with resources.reading(front.settings().config) as journal:
        runs = journal.runs(**wanted) if journal is not None else ()
        found = [(run, journal.snapshots(run.id)) for run in runs] if journal is not None else []

    def shown() -> object:
        from upgrade_guard.ui import tables

        more = front.pasteable(f"upgrade-guard history --limit {limit * 10}") if len(found) == limit else ""
        return tables.history(found, resources.now(), more)

    answer = [
        run_answer(run)
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
        return resources.now() - timedelta(seconds=duration(text))
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
