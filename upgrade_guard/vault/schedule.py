"""The schedule of backups as text: a systemd service and timer, or a line for cron, and what is remembered of it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from upgrade_guard.errors import StepFailed, UsageProblem

UNIT = "upgrade-guard-backup"
DAILY = "*-*-* 02:00:00"
CRON_DAILY = "0 2 * * *"
GRACE = 7200.0
"""Seconds after a scheduled time within which its backup has to be proven."""
ENVIRONMENT_FILE = "/etc/upgrade-guard/environment"
_UNIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.-]{0,199}")
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_@+=:,./-]+")

_SERVICE = """\
# Written by: upgrade-guard backup schedule install. Removed by: upgrade-guard backup schedule remove
[Unit]
Description=Back up etcd, prove the snapshot and copy it off the control plane (upgrade-guard)
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={command}
User={user}
# Credentials of object stores and the like, one NAME=value a line, readable for that user alone.
EnvironmentFile=-{environment_file}
# The node's own etcd comes first.
Nice=10
IOSchedulingClass=best-effort
IOSchedulingPriority=7
# Only the program itself is told to stop: it finishes its step, records it and ends.
KillMode=mixed
TimeoutStopSec=15min
# What a backup never needs. It does need the network, ssh, the container runtime and every path of its configuration.
UMask=0077
NoNewPrivileges=yes
ProtectSystem=full
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
"""

_TIMER = """\
# Written by: upgrade-guard backup schedule install. Removed by: upgrade-guard backup schedule remove
[Unit]
Description=When etcd is backed up (upgrade-guard)

[Timer]
OnCalendar={calendar}
# One that was missed because the machine was off is made up for at the next boot.
Persistent=true

[Install]
WantedBy=timers.target
"""


@dataclass(frozen=True)
class Schedule:
    """A service and its timer. `longest_pause` is the greatest number of seconds between two of its times."""

    unit: str
    unit_dir: str
    calendar: str
    longest_pause: float
    installed_at: datetime

    @property
    def service_path(self) -> Path:
        """The unit that makes a backup."""
        return Path(self.unit_dir) / f"{self.unit}.service"

    @property
    def timer_path(self) -> Path:
        """The unit that says when."""
        return Path(self.unit_dir) / f"{self.unit}.timer"


def unit_name(text: str) -> str:
    """The name itself. Raises UsageProblem for one that systemd would take for something else."""
    if not _UNIT_NAME.fullmatch(text) or text.endswith((".service", ".timer")):
        raise UsageProblem(
            f"--unit {text}: not a name for a unit",
            hint=f"use letters, digits, '.', ':', '_' and '-', without .service or .timer, such as {UNIT}-prod",
        )
    return text


def longest_pause(elapses: Sequence[datetime]) -> float:
    """The greatest number of seconds between two neighbours. Raises UsageProblem for times that do not come again."""
    pauses = [later - earlier for earlier, later in pairwise(elapses)]
    if not pauses:
        raise UsageProblem(
            "--calendar: it elapses once at most, and a schedule comes again and again",
            hint=f"upgrade-guard backup schedule install --calendar '{DAILY}'",
        )
    return max(pauses).total_seconds()


def service_text(command: Sequence[str], user: str) -> str:
    """The service unit. Raises UsageProblem for words that cannot stand in a unit file."""
    words = " ".join(_systemd_word(word) for word in command)
    return _SERVICE.format(command=words, user=user, environment_file=ENVIRONMENT_FILE)


def timer_text(calendar: str) -> str:
    """The timer unit; `calendar` was understood by systemd-analyze."""
    return _TIMER.format(calendar=_one_line(calendar).replace("%", "%%"))


def cron_line(command: Sequence[str]) -> str:
    """A line for `crontab -e`: every day at two. In a crontab a bare % would end the command."""
    return f"{CRON_DAILY} {shlex.join(_one_line(word) for word in command)}".replace("%", "\\%")


def _systemd_word(word: str) -> str:
    """One word of ExecStart (systemd.service(5), COMMAND LINES): quoted, with specifiers and variables escaped."""
    escaped = _one_line(word).replace("%", "%%").replace("$", "$$")
    if _PLAIN_WORD.fullmatch(word):
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _one_line(word: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in word):
        raise UsageProblem(
            f"{word!r} has a control character and cannot stand in a schedule",
            hint="move the configuration to a path without one",
        )
    return word


def remember(path: Path, schedule: Schedule) -> None:
    """Write down (0600) what was installed: `status` reads it without asking systemd."""
    from upgrade_guard.vault.disk import storage, write_synced  # late: every start of the program imports this module

    with storage("Recording the schedule", path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        written = asdict(schedule) | {"installed_at": schedule.installed_at.isoformat()}
        write_synced(path, (json.dumps(written, indent=2) + "\n").encode())


def remembered(path: Path) -> Schedule | None:
    """What was installed; None when nothing was. Raises StepFailed for a file that cannot be read."""
    try:
        read = json.loads(path.read_text())
        return Schedule(**(read | {"installed_at": datetime.fromisoformat(read["installed_at"])}))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as problem:
        raise StepFailed(
            f"{path} cannot be read: {problem}", hint="write it anew: upgrade-guard backup schedule install"
        ) from problem
