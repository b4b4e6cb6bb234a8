from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from upgrade_guard.vault.freshness import Failure, Freshness, ScheduledEnd, span
from upgrade_guard.vault.schedule import DAILY, UNIT, Schedule

NOW = datetime(2026, 11, 22, 14, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
LONG_AGO = NOW - 1000 * HOUR
SCHEDULE = Schedule(UNIT, "/etc/systemd/system", DAILY, 86_400.0, LONG_AGO)
WELL = Freshness(NOW, NOW - 12 * HOUR, None, 0.0, SCHEDULE, timer_is_there=True)
NEW = replace(SCHEDULE, installed_at=NOW - HOUR)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"taken_at": NOW - 26 * HOUR},
        {"taken_at": NOW},
        {"schedule": None, "taken_at": None},
        {"schedule": None, "taken_at": LONG_AGO},
        {"schedule": NEW, "taken_at": None},
        {"schedule": NEW, "taken_at": LONG_AGO},
        {"wanted_age": 48 * 3600.0, "taken_at": NOW - 40 * HOUR},
        {"ended": ScheduledEnd(NOW - 13 * HOUR, "5")},
        {"failure": Failure("r1", NOW - 13 * HOUR, "the disk was full")},  # one since then went well
    ],
)
def test_all_is_well(changes: dict[str, Any]) -> None:
    assert replace(WELL, **changes).problems() == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"taken_at": NOW - 27 * HOUR}, "The newest proven snapshot is 27 h old; it should be at most 26 h."),
        ({"taken_at": None}, "No backup was ever proven; one is expected every 26 h at least."),
        (
            {"wanted_age": 3600.0, "schedule": None},
            "The newest proven snapshot is 12 h old; it should be at most 60 min.",
        ),
        (
            {"wanted_age": 3600.0, "schedule": None, "taken_at": None},
            "No backup was ever proven; one is expected every 60 min at least.",
        ),
        # What an operator asked for counts even where the schedule is new.
        (
            {"wanted_age": 3600.0, "schedule": NEW},
            "The newest proven snapshot is 12 h old; it should be at most 60 min.",
        ),
        ({"taken_at": NOW + HOUR}, "The newest proven snapshot is dated 60 min ahead of this machine's clock."),
        (
            {"failure": Failure("r1", NOW - 2 * HOUR, "the disk was full")},
            "The last backup, run r1, failed 2 h ago: the disk was full",
        ),
        (
            {"failure": Failure("r1", NOW - 2 * HOUR, "no quorum"), "schedule": None, "taken_at": None},
            "The last backup, run r1, failed 2 h ago: no quorum",
        ),
        ({"ended": ScheduledEnd(NOW - 3 * HOUR, "5")}, "The last scheduled backup ended 3 h ago with exit 5."),
        (  # the same failure, told once
            {"failure": Failure("r1", NOW - 2 * HOUR, "no quorum"), "ended": ScheduledEnd(NOW - 2 * HOUR, "4")},
            "The last backup, run r1, failed 2 h ago: no quorum",
        ),
        (
            {"timer_state": "inactive"},
            "The schedule's timer upgrade-guard-backup.timer is inactive: it starts nothing.",
        ),
        (
            {"timer_is_there": False, "timer_state": "inactive"},
            "The schedule's timer /etc/systemd/system/upgrade-guard-backup.timer is gone.",
        ),
    ],
)
def test_one_thing_is_wrong(changes: dict[str, Any], said: str) -> None:
    assert replace(WELL, **changes).problems() == (said,)


def test_every_problem_is_told() -> None:
    wrong = replace(
        WELL, taken_at=NOW - 99 * HOUR, failure=Failure("r1", NOW - HOUR, "no quorum"), timer_is_there=False
    )
    assert len(wrong.problems()) == 3


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (90, "90 s"),
        (150, "2 min"),
        (7200, "2 h"),
        (26 * 3600, "26 h"),
        (12 * 86400, "12 days"),
    ],
)
def test_spans(seconds: float, words: str) -> None:
    assert span(seconds) == words
