"""Installing, looking at and removing the timer on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from upgrade_guard.errors import StepFailed, UsageProblem
from upgrade_guard.hosts.base import Host
from upgrade_guard.model.clock import Clock
from upgrade_guard.tools.systemctl import Systemctl
from upgrade_guard.tools.systemd_analyze import SystemdAnalyze
from upgrade_guard.vault.disk import storage, write_synced
from upgrade_guard.vault.schedule import Schedule, longest_pause, remember, remembered, service_text, timer_text

UNIT_DIR = Path("/etc/systemd/system")
READ_BY_SYSTEMD = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system")
"""Where a running systemd looks (systemd.unit(5)); units that are written elsewhere are for a package."""
_ELAPSES = 14  # times that are looked at for the longest pause: two weeks of days


@dataclass(frozen=True)
class TimerStanding:
    """What systemd says of the timer and of the last start of its service, in its own words ("" for never)."""

    active: str
    next_at: str
    last_at: str
    last_result: str
    last_exit_status: str


def install(
    command: Sequence[str],
    *,
    user: str,
    calendar: str,
    unit: str,
    unit_dir: Path,
    enable: bool,
    record: Path,
    host: Host,
    clock: Clock,
) -> Schedule:
    """Write service and timer, tell systemd, and remember it in `record`. Again with other values replaces them.

    `host` is this machine. Without `enable` systemd is not told: the units are for a package. Raises UsageProblem for a
    calendar or path that cannot be, Refused without systemd, StepFailed when a file cannot be written or systemd
    refuses.
    """
    pause = longest_pause(SystemdAnalyze(host).next_elapses(calendar, _ELAPSES))
    schedule = Schedule(unit, str(unit_dir), calendar, pause, clock.now(), enable)
    before = remembered(record)
    if before is not None and before.timer_path != schedule.timer_path:
        remove(before, record=record, host=host)
    units = {schedule.service_path: service_text(command, user), schedule.timer_path: timer_text(calendar)}
    for path, text in units.items():
        with _changing(path):
            write_synced(path, text.encode(), mode=0o644)
    remember(record, schedule)  # before systemd is told: a timer that nobody knows of would be missed by nobody
    if schedule.enabled:
        systemctl = Systemctl(host)
        systemctl.daemon_reload()
        systemctl.enable_now(schedule.timer_path.name)
    return schedule


def remove(schedule: Schedule, *, record: Path, host: Host) -> tuple[Path, ...]:
    """Stop the timer, remove its files and the record; the files that were there. A backup that runs is let be."""
    there = tuple(path for path in (schedule.timer_path, schedule.service_path) if path.exists())
    systemctl = Systemctl(host)
    if schedule.enabled and schedule.timer_path in there:
        systemctl.disable_now(schedule.timer_path.name)
    for path in there:
        with _changing(path):
            path.unlink()
    if schedule.enabled:
        systemctl.daemon_reload()
    with _changing(record):
        record.unlink(missing_ok=True)
    return there


def look(schedule: Schedule, host: Host) -> TimerStanding:
    """Ask systemd. Raises CommandFailed where none runs."""
    systemctl = Systemctl(host)
    timer = systemctl.properties(schedule.timer_path.name, "ActiveState", "NextElapseUSecRealtime", "LastTriggerUSec")
    service = systemctl.properties(schedule.service_path.name, "Result", "ExecMainStatus", "ExecMainExitTimestamp")
    ran = bool(service["ExecMainExitTimestamp"])
    return TimerStanding(
        timer["ActiveState"],
        timer["NextElapseUSecRealtime"],
        timer["LastTriggerUSec"],
        service["Result"] if ran else "",
        service["ExecMainStatus"] if ran else "",
    )


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[None]:
    try:
        with storage("Changing the schedule", path):
            yield
    except StepFailed as failed:
        if not isinstance(failed.__cause__, PermissionError):
            raise
        raise UsageProblem(
            f"{failed.message}: only root may change the timers of this machine",
            hint="type it as root, or let cron do it: upgrade-guard backup schedule install --cron",
        ) from failed
