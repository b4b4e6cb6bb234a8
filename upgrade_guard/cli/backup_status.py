"""`backup status`: are backups as they should be?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from upgrade_guard.cli.fast_commands import QuickCommand
from upgrade_guard.cli.invocation import Front
from upgrade_guard.errors import GuardError, Refused
from upgrade_guard.runs import resources

if TYPE_CHECKING:
    from upgrade_guard.config import Config
    from upgrade_guard.runs.backup_status import BackupStanding
    from upgrade_guard.vault.scheduling import TimerStanding


def register(commands: typer.Typer) -> None:
    """Add the command to the group."""
    commands.command("status", cls=QuickCommand)(status)


def status(context: typer.Context) -> None:
    """Say how old the last proven backup is and when the last drill was. Reads only.

    Exit code 3 when a backup is overdue (backup.max_age, or the schedule), when the last one failed, or when the
    schedule's timer does not run.
    """
    from upgrade_guard.runs import backup_status

    front = Front.of(context)
    config = front.settings().config
    timer = _timer(config)
    with resources.reading(config) as journal:
        found = backup_status.gather(config, journal, timer)
    front.answer(backup_status.answer(found, timer), lambda: _told(front, found, timer))
    if found.problems:
        raise Refused(
            "the backup health check failed",
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
        with resources.this_machine() as (host, clock):
            return look(schedule, host, clock)
    except GuardError:
        return None  # what is on record and in the journal has to do


def _told(front: Front, found: BackupStanding, timer: TimerStanding | None) -> str:
    from upgrade_guard.runs import backup_status
    from upgrade_guard.ui import vocabulary

    lines = list(backup_status.lines(found, front.pasteable))[: 2 if not found.is_silent else 0]
    if found.proven is not None:
        snapshot = found.proven.snapshot
        lines.insert(
            1,
            f"  taken {vocabulary.moment(snapshot.taken_at)}, {vocabulary.size(snapshot.size)}, "
            f"revision {snapshot.revision}, "
            f"{found.proven.copies} off-site cop{'y' if found.proven.copies == 1 else 'ies'} read back equal",
        )
    schedule = found.freshness.schedule
    if schedule is None:
        lines.append(f"Schedule: none; install one: {front.pasteable('upgrade-guard backup schedule install')}")
    else:
        ahead = f", next {timer.next_at}" if timer and timer.next_at else ""
        lines.append(f"Schedule: {schedule.calendar} ({schedule.timer_path.name}){ahead}")
    return "\n".join(lines)
