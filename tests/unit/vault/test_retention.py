"""What goes and what stays: by age and number, and never the last good one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from upgrade_guard.vault.retention import Held, retained

NOW = datetime(2026, 3, 31, 2, 0, tzinfo=UTC)


def held(name: str, days: float, *, proven: bool = True, recorded: bool = True) -> Held:
    """A bundle that was taken so many days ago."""
    return Held(name, NOW - timedelta(days=days), 1 << 20, proven, recorded)


def judged(*place: Held, damaged: tuple[str, ...] = (), **settings: Any) -> Mapping[str, tuple[str, ...]]:
    """The reasons for which each is kept."""
    options: dict[str, Any] = {"now": NOW, "keep_days": 7, "keep_last": 3, "needed": {}} | settings

    def damage(name: str) -> tuple[str, ...]:
        return ("its SHA-256 is another",) if name in damaged else ()

    return {one.held.name: one.kept_because for one in retained(place, damage=damage, **options)}


def gone(*place: Held, **settings: Any) -> set[str]:
    return {name for name, reasons in judged(*place, **settings).items() if not reasons}


DAILY = tuple(held(f"day-{days}", days) for days in range(12))


def test_young_ones_and_the_newest_ones_are_kept() -> None:
    assert gone(*DAILY) == {f"day-{days}" for days in range(7, 12)}
    assert gone(*DAILY, keep_days=1) == {f"day-{days}" for days in range(3, 12)}
    assert gone(*DAILY, keep_days=1, keep_last=1) == {f"day-{days}" for days in range(1, 12)}


def test_each_reason_is_said() -> None:
    reasons = judged(held("new", 0), held("half", 0.5), held("older", 5), held("old", 9), held("oldest", 99))
    assert reasons == {
        "new": ("younger than 7 days", "one of the 3 newest proven"),
        "half": ("younger than 7 days", "one of the 3 newest proven"),
        "older": ("younger than 7 days", "one of the 3 newest proven"),
        "old": (),
        "oldest": (),
    }
    assert judged(held("new", 0), keep_days=1, keep_last=1)["new"] == ("younger than 1 day", "the newest proven")
    assert judged(held("new", 9), held("old", 9.5), keep_last=2)["old"] == ("one of the 2 newest proven",)


@pytest.mark.parametrize(
    ("seconds", "reason"), [(60, "younger than 7 days"), (61, "dated ahead of this machine's clock")]
)
def test_a_clock_that_was_set_back_a_little_makes_nothing_the_future(seconds: int, reason: str) -> None:
    assert reason in judged(held("new", -seconds / 86400))["new"]


def test_old_ones_stay_while_no_newer_ones_are_made() -> None:
    old = tuple(held(f"old-{days}", days) for days in range(100, 105))
    assert gone(*old) == {"old-103", "old-104"}


def test_only_proven_ones_count_for_the_number() -> None:
    failures = tuple(held(f"failed-{days}", days, proven=False) for days in range(8, 14))
    good = tuple(held(f"good-{days}", days) for days in range(20, 24))
    assert gone(*failures, *good) == {one.name for one in failures} | {"good-23"}


def test_without_a_proven_one_the_newest_are_the_best_there_is() -> None:
    place = tuple(held(f"b-{days}", days, proven=False) for days in range(10, 15))
    assert gone(*place) == {"b-13", "b-14"}
    assert judged(*place)["b-10"] == ("one of the 3 newest, and none here is proven",)


def test_the_last_proven_one_that_is_whole_is_never_removed() -> None:
    reasons = judged(*DAILY, keep_days=1, keep_last=1, damaged=("day-0", "day-1"))
    assert reasons["day-2"] == ("the newest proven one that is whole",)
    assert {name for name, why in reasons.items() if not why} == {"day-1", *(f"day-{days}" for days in range(3, 12))}


def test_nothing_is_removed_while_no_proven_one_is_whole() -> None:
    everything = tuple(one.name for one in DAILY)
    reasons = judged(*DAILY, damaged=everything)
    assert all("no proven bundle here is whole" in reasons[name] for name in everything)


def test_what_an_open_run_needs_is_kept_with_its_reason() -> None:
    reasons = judged(*DAILY, needed={"day-11": "run r1 is open and may go back to it"})
    assert reasons["day-11"] == ("run r1 is open and may go back to it",)


def test_what_this_journal_does_not_know_is_left_to_its_maker() -> None:
    foreign = held("another-cluster", 400, recorded=False)
    assert "this journal does not know it; whoever made it removes it" in judged(*DAILY, foreign)["another-cluster"]
    # And it never counts as one of the newest of this one.
    assert gone(held("foreign", 0, recorded=False), held("a", 20), held("b", 21), keep_last=1) == {"b"}


@pytest.mark.parametrize("jump", [timedelta(days=365 * 10), timedelta(days=-365 * 10)], ids=["ahead", "back"])
def test_a_clock_that_jumped_costs_nothing_that_is_needed(jump: timedelta) -> None:
    kept = {name for name, reasons in judged(*DAILY, now=NOW + jump).items() if reasons}
    assert {"day-0", "day-1", "day-2"} <= kept
    if jump < timedelta(0):
        assert len(kept) == len(DAILY)
        assert "dated ahead of this machine's clock" in judged(*DAILY, now=NOW + jump)["day-11"]


def test_damage_is_looked_for_only_when_something_would_go() -> None:
    def unwanted(name: str) -> tuple[str, ...]:
        raise AssertionError(f"{name} was read for nothing")

    settings: dict[str, Any] = {"now": NOW, "keep_days": 7, "keep_last": 3, "needed": {}}
    assert len(retained(DAILY[:6], damage=unwanted, **settings)) == 6
