"""Are backups as fresh as they should be? Pure: judged over what the journal and the schedule's record say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from upgrade_guard.vault.schedule import GRACE, Schedule

_CLOCK_TOLERANCE = 300.0  # seconds by which a snapshot may be dated ahead of this machine's clock


@dataclass(frozen=True)
class Failure:
    """A backup that did not end well, and why."""

    run_id: str
    at: datetime
    why: str


@dataclass(frozen=True)
class ScheduledEnd:
    """How the last start by the timer ended, as systemd saw it: also one that could not even begin a run."""

    at: datetime
    exit_status: str


@dataclass(frozen=True)
class Freshness:
    """What is known at one moment. `wanted_age` is backup.max_age in seconds, 0 when it is not set.

    `taken_at` is when the newest proven snapshot was taken; `failure` the newest failed backup. `timer_is_there` says
    whether the timer's file still is, `timer_state` what systemd calls it. `ended` is the last start that failed.
    """

    now: datetime
    taken_at: datetime | None
    failure: Failure | None
    wanted_age: float
    schedule: Schedule | None
    timer_is_there: bool
    timer_state: str = "active"
    ended: ScheduledEnd | None = None

    @property
    def age(self) -> float | None:
        """Seconds since the newest proven snapshot was taken; None when there is none."""
        return None if self.taken_at is None else (self.now - self.taken_at).total_seconds()

    @property
    def max_age(self) -> float | None:
        """The greatest age that is expected, in seconds: as configured, else by the schedule; None: nothing is."""
        if self.wanted_age:
            return self.wanted_age
        return None if self.schedule is None else self.schedule.longest_pause + GRACE

    def problems(self) -> tuple[str, ...]:
        """Everything that is wrong, a sentence each; none means well."""
        return (*self._overdue(), *self._failed(), *self._ended(), *self._gone())

    def _overdue(self) -> tuple[str, ...]:
        age, most = self.age, self.max_age
        if age is not None and age < -_CLOCK_TOLERANCE:
            return (f"The newest proven snapshot is dated {span(-age)} ahead of this machine's clock.",)
        if most is None:
            return ()
        # What was only scheduled just now is not yet late; an age that an operator asked for is meant as it is.
        waited = age
        if not self.wanted_age and self.schedule is not None:
            since = (self.now - self.schedule.installed_at).total_seconds()
            waited = since if age is None else min(age, since)
        if waited is not None and waited <= most:
            return ()
        if age is None:
            return (f"No backup was ever proven; one is expected every {span(most)} at least.",)
        return (f"The newest proven snapshot is {span(age)} old; it should be at most {span(most)}.",)

    def _failed(self) -> tuple[str, ...]:
        failure = self.failure
        if failure is None or (self.taken_at is not None and self.taken_at >= failure.at):
            return ()
        ago = span((self.now - failure.at).total_seconds())
        return (f"The last backup, run {failure.run_id}, failed {ago} ago: {failure.why}",)

    def _ended(self) -> tuple[str, ...]:
        ended = self.ended
        if ended is None or self._failed() or (self.taken_at is not None and self.taken_at >= ended.at):
            return ()
        ago = span((self.now - ended.at).total_seconds())
        return (f"The last scheduled backup ended {ago} ago with exit {ended.exit_status}.",)

    def _gone(self) -> tuple[str, ...]:
        if self.schedule is None:
            return ()
        if not self.timer_is_there:
            return (f"The schedule's timer {self.schedule.timer_path} is gone.",)
        if self.timer_state != "active":
            return (f"The schedule's timer {self.schedule.timer_path.name} is {self.timer_state}: it starts nothing.",)
        return ()


def span(seconds: float) -> str:
    """A time as people say it of backups: `40 s`, `45 min`, `26 h`, `12 days`."""
    for length, least, name in ((86400, 3, "days"), (3600, 2, "h"), (60, 2, "min")):
        if seconds >= least * length:
            return f"{seconds / length:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"
