"""systemd-analyze: when a calendar expression elapses."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from upgrade_guard.errors import CommandFailed, Refused, UsageProblem
from upgrade_guard.hosts.base import Host
from upgrade_guard.tools.commands import reads, run_checked

_TIME = re.compile(
    r"^ *(?:Next elapse|Iter(?:ation|\.) #\d+): \w{3} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC$", re.MULTILINE
)
_NOT_FOUND = 127  # what env exits with for a program that is not there


class SystemdAnalyze:
    """Questions that need no running systemd."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def next_elapses(self, calendar: str, times: int) -> tuple[datetime, ...]:
        """The next times of a calendar expression (systemd.time(7)), fewer when it ends before.

        Raises UsageProblem for one that systemd does not understand, Refused where there is no systemd.
        """
        argv = ("env", "TZ=UTC", "systemd-analyze", "calendar", f"--iterations={times}", "--", calendar)
        try:
            return parse_elapses(run_checked(self._host, argv).stdout)
        except CommandFailed as failed:
            if failed.exit_status == _NOT_FOUND:
                raise Refused(
                    f"systemd-analyze is not on {self._host.name}: there is no systemd to run a timer",
                    hint="let cron do it: upgrade-guard backup schedule install --cron",
                ) from failed
            said = failed.stderr.strip().splitlines()
            raise UsageProblem(
                f"{calendar!r} is not a calendar expression: {said[0] if said else failed.message}",
                hint="write it as in systemd.time(7), such as '*-*-* 02:00:00' or 'Sun 04:30'",
            ) from failed


@reads("systemd-analyze calendar")
def parse_elapses(text: str) -> tuple[datetime, ...]:
    """The times, in UTC; none for an expression whose last time is past."""
    if "Normalized form:" not in text:
        raise ValueError("no calendar expression")
    return tuple(datetime.fromisoformat(found).replace(tzinfo=UTC) for found in _TIME.findall(text))
