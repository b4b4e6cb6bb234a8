"""How backups stand, from the journal and the schedule's record: for `status`, `backup status` and monitoring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from upgrade_guard.errors import GuardError
from upgrade_guard.model.plain import run_answer
from upgrade_guard.model.run import Kind, ProvenSnapshot, Run
from upgrade_guard.model.step_results import DRILLED
from upgrade_guard.runs import resources
from upgrade_guard.vault.freshness import Failure, Freshness, ScheduledEnd, span
from upgrade_guard.vault.schedule import Schedule, remembered

if TYPE_CHECKING:
    from upgrade_guard.config import Config
    from upgrade_guard.journal import Journal
    from upgrade_guard.vault.metrics import Figures
    from upgrade_guard.vault.scheduling import TimerStanding

_A_FEW = 20  # newest runs of one kind that are looked at for the one that ended


@dataclass(frozen=True)
class LastDrill:
    """The newest drill that ended, and what the newest one that passed measured."""

    at: datetime
    ok: bool
    passed_at: datetime | None
    bundle: str
    restore_seconds: float | None


@dataclass(frozen=True)
class BackupStanding:
    """Everything that is known of this cluster's backups without asking a cluster, a target or systemd."""

    cluster: str
    freshness: Freshness
    proven: ProvenSnapshot | None
    last: Run | None
    failed_at: datetime | None
    drill: LastDrill | None
    pruned_at: datetime | None
    trouble: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that is wrong, a sentence each; none means well."""
        return (*self.trouble, *self.freshness.problems())

    @property
    def is_silent(self) -> bool:
        """Is there nothing to tell: no backup ever, and none expected?"""
        return not (self.proven or self.last or self.drill or self.freshness.max_age or self.trouble)


def gather(config: Config, journal: Journal | None, timer: TimerStanding | None = None) -> BackupStanding:
    """Look; nothing is made, and nobody is asked. `timer` is what systemd said of the schedule where it was."""
    from upgrade_guard.journal import RunLock

    schedule, trouble = _schedule(config)
    cluster = config.cluster.name
    proven = journal.newest_proven(cluster) if journal is not None else None
    backups = _runs(journal, Kind.BACKUP, cluster)
    if backups and not backups[0].outcome and RunLock.holder(config.lock_path) is not None:
        backups = backups[1:]  # somebody is at work, on this one for all that is known
    failed = [run for run in backups if run.outcome == "failed"]
    prunings = [run for run in _runs(journal, Kind.PRUNE, cluster) if run.outcome == "completed"]
    freshness = Freshness(
        now=resources.now(),
        taken_at=proven.snapshot.taken_at if proven else None,
        failure=_failure(journal, backups[0]) if journal is not None and backups else None,
        wanted_age=config.backup.max_age,
        schedule=schedule,
        timer_is_there=schedule is None or schedule.timer_path.exists(),
        timer_state=timer.active if timer else "active",
        ended=_scheduled_end(timer),
    )
    return BackupStanding(
        cluster=cluster or (proven.run.cluster if proven else backups[0].cluster if backups else ""),
        freshness=freshness,
        proven=proven,
        last=backups[0] if backups else None,
        failed_at=failed[0].finished_at if failed else None,
        drill=_drill(journal, cluster),
        pruned_at=prunings[0].finished_at if prunings else None,
        trouble=trouble,
    )


def _schedule(config: Config) -> tuple[Schedule | None, tuple[str, ...]]:
    """The record of the schedule; one that cannot be read is a problem of backups and not of who looks."""
    try:
        return remembered(config.schedule_path), ()
    except GuardError as problem:
        return None, (f"{problem.message}.",)


def _scheduled_end(timer: TimerStanding | None) -> ScheduledEnd | None:
    if timer is None or timer.last_ended_at is None or timer.last_result == "success":
        return None
    return ScheduledEnd(timer.last_ended_at, timer.last_exit_status)


def _runs(journal: Journal | None, kind: Kind, cluster: str) -> tuple[Run, ...]:
    """Newest first. A run that failed before it knew its cluster has no name, and counts as this one's."""
    if journal is None:
        return ()
    found = journal.runs(kinds=(kind,), limit=_A_FEW)
    return tuple(run for run in found if not cluster or run.cluster in ("", cluster))


def _failure(journal: Journal, run: Run) -> Failure | None:
    """Did this backup not end well: failed, or killed and not resumed?"""
    if run.outcome not in ("", "failed"):
        return None
    moved = journal.transitions(run.id)
    at = moved[-1].at if moved else run.started_at
    if run.outcome == "failed":
        return Failure(run.id, at, "; ".join(moved[-1].reasons) or "it gave no reason")
    return Failure(run.id, at, f"its process ended at {run.state.value}, and nobody went on with it")


def _drill(journal: Journal | None, cluster: str) -> LastDrill | None:
    drills = [run for run in _runs(journal, Kind.DRILL, cluster) if run.outcome in ("completed", "failed")]
    if journal is None or not drills:
        return None
    passed = next((run for run in drills if run.outcome == "completed"), None)
    result = journal.facts(passed.id).of(DRILLED) if passed else {}
    return LastDrill(
        at=drills[0].finished_at or drills[0].started_at,
        ok=drills[0].outcome == "completed",
        passed_at=passed.finished_at if passed else None,
        bundle=drills[0].target.rpartition("/")[2],
        restore_seconds=result.get("restore_seconds"),
    )


def lines(found: BackupStanding, pasteable: Callable[[str], str]) -> tuple[str, ...]:
    """For a person: the newest proven snapshot, what is expected, the last drill; then everything that is wrong."""
    if found.is_silent:
        return ()
    fresh = found.freshness
    told = []
    if found.proven is None or fresh.age is None:
        told.append(f"Last proven backup: never; make one: {pasteable('upgrade-guard backup create')}")
    else:
        expected = "" if fresh.max_age is None else f" (at most {span(fresh.max_age)} are expected)"
        told.append(f"Last proven backup: {span(fresh.age)} ago{expected}, {found.proven.snapshot.bundle}")
    told.append(f"Last drill: {_drill_words(found, pasteable)}")
    return (*told, *(f"Backups: {problem}" for problem in found.problems))


def _drill_words(found: BackupStanding, pasteable: Callable[[str], str]) -> str:
    from upgrade_guard.ui import vocabulary

    drill = found.drill
    if drill is None:
        return f"never; try the newest bundle: {pasteable('upgrade-guard backup drill')}"
    ago = f"{span((found.freshness.now - drill.at).total_seconds())} ago"
    if not drill.ok:
        return f"{ago}, FAILED: {drill.bundle}"
    return f"{ago}, restored and started in {vocabulary.duration(drill.restore_seconds or 0.0)}: {drill.bundle}"


def answer(found: BackupStanding, timer: TimerStanding | None = None) -> dict[str, Any]:
    """The JSON answer of `backup status`. Ages and limits are in seconds, sizes in bytes."""
    fresh, proven = found.freshness, found.proven
    return {
        "cluster": found.cluster,
        "problems": found.problems,
        "max_age": fresh.max_age,
        "last_proven": None
        if proven is None
        else {
            "bundle": proven.snapshot.bundle,
            "run": proven.run.id,
            "taken_at": proven.snapshot.taken_at,
            "age": fresh.age,
            "size": proven.snapshot.size,
            "revision": proven.snapshot.revision,
            "copies": proven.copies,
            "restore_seconds": round(proven.proof.restore_seconds, 3),
        },
        "last_run": None if found.last is None else run_answer(found.last),
        "last_failure": fresh.failure,
        "last_drill": found.drill,
        "last_pruned_at": found.pruned_at,
        "schedule": fresh.schedule,
        "timer": timer,
    }


def figures(found: BackupStanding, head: str) -> Figures:
    """The same for Prometheus, with the head of history."""
    from upgrade_guard.vault.metrics import Figures

    fresh, proven, drill = found.freshness, found.proven, found.drill
    kept_at = proven.kept_at if proven else None
    return Figures(
        cluster=found.cluster,
        taken_at=fresh.taken_at,
        size=proven.snapshot.size if proven else None,
        revision=proven.snapshot.revision if proven else None,
        copies=proven.copies if proven else None,
        proof_restore_seconds=round(proven.proof.restore_seconds, 3) if proven else None,
        duration=(kept_at - proven.run.started_at).total_seconds() if proven and kept_at else None,
        max_age=fresh.max_age,
        failed_at=found.failed_at,
        last_ok=None if found.last is None else fresh.failure is None,
        drilled_at=drill.at if drill else None,
        drill_ok=drill.ok if drill else None,
        drill_restore_seconds=drill.restore_seconds if drill else None,
        pruned_at=found.pruned_at,
        history_head=head,
    )


def tell_monitoring(config: Config, journal: Journal) -> str:
    """Write the metrics where they are wanted. A problem is a sentence and never one of the run that just ended."""
    if not config.backup.metrics_dir:
        return ""
    from pathlib import Path

    from upgrade_guard.vault.metrics import write_metrics

    try:
        write_metrics(Path(config.backup.metrics_dir), figures(gather(config, journal), journal.head()))
    except GuardError as problem:
        return f"Monitoring was not told: {problem.message}"
    return ""
