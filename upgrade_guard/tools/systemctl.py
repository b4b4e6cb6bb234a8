"""Units of a node by systemctl, and when a calendar expression elapses by systemd-analyze."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from upgrade_guard.errors import CommandFailed, Refused, UsageProblem
from upgrade_guard.hosts.base import Host, check_name
from upgrade_guard.model.command import Command, Result
from upgrade_guard.tools.commands import CHANGE_TIMEOUT, READ_TIMEOUT, failure, reads, run_checked

_INACTIVE = 3  # systemctl(1): the unit is not active
_NO_SUCH_UNIT = 4


class Systemctl:
    """Units by name: `kubelet`."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def is_active(self, unit: str) -> bool:
        """Does it run now? A unit that restarts in a loop ("activating") does not."""
        return self.state(unit) == "active"

    def state(self, unit: str) -> str:
        """The word of systemd: active, activating, inactive, failed; "unknown" for a unit that is not there."""
        argv = ("systemctl", "is-active", check_name(unit, "unit name"))
        result = run_checked(self._host, argv, accept=(0, _INACTIVE, _NO_SUCH_UNIT))
        words = result.stdout.split()
        if not words:
            raise failure(self._host, argv, result)
        return words[0]

    def restarts(self, unit: str) -> int:
        """How often systemd started it again by itself since somebody started it."""
        count = self.properties(unit, "NRestarts")["NRestarts"]
        return int(count) if count.isdigit() else 0

    def start(self, unit: str) -> None:
        """Start it."""
        self._change("start", unit)

    def stop(self, unit: str) -> None:
        """Stop it. Containers that kubelet started go on running."""
        self._change("stop", unit)

    def restart(self, unit: str) -> None:
        """Stop and start it."""
        self._change("restart", unit)

    def daemon_reload(self) -> None:
        """Read unit files again: needed after a package replaced one."""
        run_checked(self._host, ("systemctl", "daemon-reload"), timeout=CHANGE_TIMEOUT, changes=True)

    def enable_now(self, unit: str) -> None:
        """Start it now and at every boot."""
        self._change("enable", unit, "--now")

    def disable_now(self, unit: str) -> None:
        """Stop it now, and do not start it at boot."""
        self._change("disable", unit, "--now")

    def runs(self) -> bool:
        """Is this machine run by systemd? In a container its programs may be there without it."""
        argv = ("systemctl", "show", "--property=Version")
        return self._host.run(Command(argv, timeout=READ_TIMEOUT)).exit_status == 0

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        """Properties in systemd's own words; "" for one that it does not have, such as a time that never came."""
        argv = ("systemctl", "show", check_name(unit, "unit name"), f"--property={','.join(names)}")
        found = dict(line.split("=", 1) for line in run_checked(self._host, argv).stdout.splitlines() if "=" in line)
        return {name: "" if found.get(name) == "n/a" else found.get(name, "") for name in names}

    def _change(self, verb: str, unit: str, *flags: str) -> Result:
        argv = ("systemctl", verb, *flags, check_name(unit, "unit name"))
        return run_checked(self._host, argv, timeout=CHANGE_TIMEOUT, changes=True)


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
