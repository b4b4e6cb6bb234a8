"""Installing, looking at and removing the timer on this machine."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from upgrade_guard.errors import Refused, StepFailed, UsageProblem
from upgrade_guard.hosts.base import Host
from upgrade_guard.model.clock import Clock
from upgrade_guard.tools.systemctl import Systemctl, SystemdAnalyze
from upgrade_guard.vault.disk import storage, write_synced
from upgrade_guard.vault.schedule import Schedule, longest_pause, remember, remembered, service_text, timer_text

UNIT_DIR = Path("/etc/systemd/system")
READ_BY_SYSTEMD = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system")
"""Where a running systemd looks (systemd.unit(5)); units that are written elsewhere start nothing."""
_ELAPSES = 14  # times that are looked at for the longest pause: two weeks of days


@dataclass(frozen=True)
class TimerStanding:
    """What systemd says of the timer and of the last start of its service; "" and None for what never was.

    `active` and the times of the timer are systemd's own words, in this machine's time zone.
    """

    active: str
    next_at: str
    last_at: str
    last_result: str = ""
    last_exit_status: str = ""
    last_ended_at: datetime | None = None


def planned(*, calendar: str, unit: str, unit_dir: Path, host: Host, clock: Clock) -> Schedule:
    """The schedule that would be. `host` is this machine.

    Raises UsageProblem for a calendar that systemd does not understand or that does not come again, Refused without it.
    """
    pause = longest_pause(SystemdAnalyze(host).next_elapses(calendar, _ELAPSES))
    return Schedule(unit, str(unit_dir), calendar, pause, clock.now())


def write_units(schedule: Schedule, command: Sequence[str], user: str) -> None:
    """Write service and timer; systemd is not told. Raises UsageProblem for a path that cannot stand in a unit."""
    units = {schedule.service_path: service_text(command, user), schedule.timer_path: timer_text(schedule.calendar)}
    for path, text in units.items():
        with _changing(path):
            write_synced(path, text.encode(), mode=0o644)


def install(schedule: Schedule, command: Sequence[str], *, user: str, record: Path, host: Host) -> None:
    """Write the units, tell systemd, and remember it in `record`. One that was installed before is replaced.

    Raises Refused where no systemd runs, StepFailed when a file cannot be written or systemd refuses.
    """
    systemctl = Systemctl(host)
    if not systemctl.runs():
        raise Refused(
            "no systemd runs this machine, so there is nothing that would start a timer",
            hint="let cron do it: upgrade-guard backup schedule install --cron",
        )
    before = remembered(record)
    if before is not None and before.timer_path != schedule.timer_path:
        remove(before, record=record, host=host)
    write_units(schedule, command, user)
    remember(record, schedule)  # before systemd is told: a timer that nobody knows of would be missed by nobody
    systemctl.daemon_reload()
    systemctl.enable_now(schedule.timer_path.name)


def remove(schedule: Schedule, *, record: Path, host: Host) -> tuple[Path, ...]:
    """Stop the timer, remove its files and the record; the files that were there. A backup that runs is let be."""
    there = tuple(path for path in (schedule.timer_path, schedule.service_path) if path.exists())
    systemctl = Systemctl(host)
    told = systemctl.runs()
    if told and schedule.timer_path in there:
        systemctl.disable_now(schedule.timer_path.name)
    wanted_by = Path(schedule.unit_dir) / "timers.target.wants" / schedule.timer_path.name
    for path in (*there, *((wanted_by,) if wanted_by.is_symlink() else ())):
        with _changing(path):
            path.unlink()
    if told:
        systemctl.daemon_reload()
    with _changing(record):
        record.unlink(missing_ok=True)
    return there


def look(schedule: Schedule, host: Host, clock: Clock) -> TimerStanding:
    """Ask systemd. Raises CommandFailed where none runs."""
    systemctl = Systemctl(host)
    timer = systemctl.properties(schedule.timer_path.name, "ActiveState", "NextElapseUSecRealtime", "LastTriggerUSec")
    service = systemctl.properties(
        schedule.service_path.name, "Result", "ExecMainStatus", "ExecMainExitTimestampMonotonic"
    )
    standing = TimerStanding(timer["ActiveState"], timer["NextElapseUSecRealtime"], timer["LastTriggerUSec"])
    microseconds = service["ExecMainExitTimestampMonotonic"]
    if not microseconds.isdecimal() or int(microseconds) == 0:
        return standing
    return replace(
        standing,
        last_result=service["Result"],
        last_exit_status=service["ExecMainStatus"],
        last_ended_at=clock.now() - timedelta(seconds=clock.monotonic() - int(microseconds) / 1e6),
    )


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[None]:
    try:
        with storage("Changing the schedule", path):
            yield
    except StepFailed as failed:
        if isinstance(failed.__cause__, FileNotFoundError):
            raise UsageProblem(
                f"{failed.message}: there is no directory {path.parent}",
                hint=f"make it first: mkdir --parents {shlex.quote(str(path.parent))}",
            ) from failed
        if not isinstance(failed.__cause__, PermissionError):
            raise
        raise UsageProblem(
            f"{failed.message}: only root may change the timers of this machine",
            hint="type it as root, or let cron do it: upgrade-guard backup schedule install --cron",
        ) from failed
