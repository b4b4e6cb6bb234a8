"""`backup status` and `backup metrics`: for people and monitoring who ask whether backups are as they should be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from upgrade_guard.cli import wiring
from upgrade_guard.cli.front import Front
from upgrade_guard.cli.quick import QuickCommand
from upgrade_guard.errors import GuardError, Refused

if TYPE_CHECKING:
    from upgrade_guard.cli.backup_standing import BackupStanding
    from upgrade_guard.config import Config
    from upgrade_guard.vault.scheduling import TimerStanding


def register(commands: typer.Typer) -> None:
    """Add the commands to the group `backup`."""
    commands.command("status", cls=QuickCommand)(status)
    commands.command("metrics", cls=QuickCommand)(metrics)


def status(context: typer.Context) -> None:
    """Say how old the last proven backup is and when the last drill was. Reads only.

    Exit code 3 when a backup is overdue (backup.max_age, or the schedule), when the last one failed, or when the
    schedule's timer does not run.
    """
    from upgrade_guard.cli import backup_standing

    front = Front.of(context)
    config = front.settings().config
    timer = _timer(config)
    with wiring.reading(config) as journal:
        found = backup_standing.gather(config, journal, timer)
    front.answer(backup_standing.answer(found, timer), lambda: _told(front, found, timer))
    if found.problems:
        raise Refused(
            "backups are not as they should be",
            reasons=found.problems,
            hint="see why: upgrade-guard history --kind backup; make one now: upgrade-guard backup create",
        )


def _timer(config: Config) -> TimerStanding | None:
    """What systemd says of the schedule; None without a schedule or where no systemd answers."""
    from upgrade_guard.vault.schedule import remembered
    from upgrade_guard.vault.scheduling import look

    try:
        schedule = remembered(config.schedule_path)
        if schedule is None:
            return None
        with wiring.this_machine() as (host, clock):
            return look(schedule, host, clock)
    except GuardError:
        return None  # what is on record and in the journal has to do


def _told(front: Front, found: BackupStanding, timer: TimerStanding | None) -> str:
    from upgrade_guard.cli import backup_standing
    from upgrade_guard.ui import words

    lines = list(backup_standing.lines(found, front.pasteable))[: 2 if not found.is_silent else 0]
    if found.proven is not None:
        snapshot = found.proven.snapshot
        lines.insert(
            1,
            f"  taken {words.moment(snapshot.taken_at)}, {words.size(snapshot.size)}, revision {snapshot.revision}, "
            f"{found.proven.copies} off-site cop{'y' if found.proven.copies == 1 else 'ies'} read back equal",
        )
    schedule = found.freshness.schedule
    if schedule is None:
        lines.append(f"Schedule: none; install one: {front.pasteable('upgrade-guard backup schedule install')}")
    else:
        ahead = f", next {timer.next_at}" if timer and timer.next_at else ""
        lines.append(f"Schedule: {schedule.calendar} ({schedule.timer_path.name}){ahead}")
    return "\n".join(lines)


def metrics(context: typer.Context) -> None:
    """Write the figures for Prometheus to backup.metrics_dir now; without that key print them.

    They are written after every backup, drill and pruning anyway.
    """
    from upgrade_guard.cli import backup_standing
    from upgrade_guard.vault.metrics import exposition, write_metrics

    front = Front.of(context)
    config = front.settings().config
    with wiring.reading(config) as journal:
        found = backup_standing.figures(backup_standing.gather(config, journal), journal.head() if journal else "")
    text = exposition(found)
    if not config.backup.metrics_dir:
        front.answer({"path": None, "text": text}, text.rstrip)
        return
    path = write_metrics(Path(config.backup.metrics_dir), found)
    front.answer({"path": str(path), "text": text}, lambda: f"Written: {path}")
