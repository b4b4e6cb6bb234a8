"""Why a run did not go as it should, and what was done about it, told from its record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from upgrade_guard.model.run import CommandRow, Event, Kind, Outcome, State
from upgrade_guard.model.step_results import kept_of_before
from upgrade_guard.ui import vocabulary
from upgrade_guard.ui.stages import Attempt, Stage
from upgrade_guard.ui.tables import Story

_MOST_COMMANDS = 5
_LAST_LINES = 20
_BAD = (Outcome.FAILED, Outcome.UNKNOWN, Outcome.INTERRUPTED)
PATHS = {
    "packages": "Packages only: kubeadm had not run on any control plane, so nothing was lost.",
    "files": "Files and packages: no component of the new version had run, so the data was kept and nothing was lost.",
    "alone": "One control plane: the others served the old version, so etcd kept its data and nothing was lost.",
    "whole": "The whole way: etcd's data, the files and the packages of every control plane went back together.",
}


VERIFIED = {
    "restore/verify/etcd": "etcd is sound on every control plane",
    "restore/verify/nodes": "every node is Ready at the version of the snapshot",
    "restore/verify/canary": "a new pod and a service work on every node",
    "rollback/verify/etcd": "etcd is sound on every control plane",
    "rollback/verify/nodes": "every node is Ready and runs the old version",
    "rollback/verify/workloads": "workloads are as they were before the upgrade",
    "rollback/verify/canary": "a new pod and a service work on every node",
}


@dataclass(frozen=True)
class Failure:
    """An attempt that did not succeed, the commands of it that ended badly, and what became of the step.

    `said` is what the step said, empty where the reasons at the end of its stage say the same.
    """

    stage: str
    attempt: Attempt
    said: str
    commands: tuple[CommandRow, ...]
    afterwards: str


@dataclass(frozen=True)
class WayBack:
    """The rollback, or the restore: which way and why, what was verified, what was kept, and what is lost."""

    path: str
    why: str
    seconds: float
    outcome: str
    verified: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]
    lost_from: datetime | None
    lost_to: datetime | None


def failures(story: Story, stages: tuple[Stage, ...]) -> tuple[Failure, ...]:
    """In the order of time."""
    return tuple(
        Failure(stage.label, attempt, _said(stage, attempt), _commands(story, attempt), _afterwards(story, attempt))
        for stage in stages
        for attempt in stage.attempts
        if attempt.outcome in _BAD or (attempt.ended is None and story.run.finished_at is not None)
    )


def way_back(story: Story, stages: tuple[Stage, ...]) -> WayBack | None:
    """None when the run never took it."""
    begun = [move for move in story.transitions if move.event is Event.ROLLBACK_BEGUN]
    if not begun:
        return None
    results = {row.name: row.result for row in story.steps if row.outcome is Outcome.SUCCEEDED}
    restore = story.run.kind is Kind.RESTORE
    chosen = results.get("rollback/path", {})
    path = str(chosen.get("path", ""))
    whole = path == "whole" and bool(story.snapshots)
    return WayBack(
        f"The cluster was brought back from {story.run.target}." if restore else PATHS.get(path, path),
        str(chosen.get("why", "")),
        max((story.transitions[-1].at - begun[0].at).total_seconds(), 0.0),
        vocabulary.standing(story.run.kind, story.run.state),
        tuple(
            VERIFIED.get(one.name, one.name)
            for stage in stages
            for one in stage.attempts
            if one.name.startswith(("rollback/verify/", "restore/verify/")) and one.outcome is Outcome.SUCCEEDED
        ),
        tuple(dict.fromkeys(kept_of_before(results))),
        story.snapshots[-1].taken_at if whole else None,
        begun[0].at if whole else None,
    )


def _said(stage: Stage, attempt: Attempt) -> str:
    told = any(attempt.detail.startswith(reason) for reason in stage.reasons if reason)
    return "" if told else attempt.detail


def _commands(story: Story, attempt: Attempt) -> tuple[CommandRow, ...]:
    """Those that ended badly; a command that only looks may say no without anything being wrong, so changes first."""
    bad = [
        row
        for row in story.commands
        if (row.step, row.attempt) == (attempt.name, attempt.number) and row.exit_status != 0
    ]
    changing = [row for row in bad if row.changes]
    return tuple((changing or bad)[-_MOST_COMMANDS:])


def _afterwards(story: Story, attempt: Attempt) -> str:
    later = [row for row in story.steps if row.name == attempt.name and row.attempt > attempt.number]
    succeeded = [row for row in later if row.outcome is Outcome.SUCCEEDED]
    if succeeded:
        return f"Attempt {succeeded[0].attempt} succeeded at {vocabulary.moment(succeeded[0].at)}."
    if later:
        return f"It was tried again, {later[-1].attempt} times in all, without success."
    begun = next((move for move in story.transitions if move.event is Event.ROLLBACK_BEGUN), None)
    if begun is not None and begun.seq > attempt.seq and story.run.state is not State.COMPLETED:
        return "The rollback began."
    return "It was not tried again."


def last_lines(text: str) -> str:
    """The end of what a program printed."""
    lines = text.rstrip().splitlines()
    cut = ["..."] if len(lines) > _LAST_LINES else []
    return "\n".join([*cut, *lines[-_LAST_LINES:]])
