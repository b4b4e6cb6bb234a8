"""How times, sizes, states and what the world says read to a person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from upgrade_guard.model.run import Outcome, State
from upgrade_guard.ui import vocabulary


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3661, "1 h 01 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert vocabulary.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (21495808, "20.5 MiB"), (1 << 50, "1024.0 TiB")],
)
def test_sizes(count: int, text: str) -> None:
    assert vocabulary.size(count) == text


def test_moments_are_utc() -> None:
    east = datetime(2025, 3, 1, 4, 0, tzinfo=timezone(timedelta(hours=2)))
    assert vocabulary.moment(east) == "2025-03-01 02:00:00Z"
    assert vocabulary.moment(None) == "-"
    assert vocabulary.ago(east, datetime(2025, 3, 1, 2, 1, 30, tzinfo=UTC)) == "1 min 30 s ago"


def test_what_could_drive_a_terminal_is_written_out() -> None:
    assert (
        vocabulary.visible("a\x1b]0;owned\x07b\x9b31m\u202ec\u2028d\n")
        == "a\\x1b]0;owned\\x07b\\x9b31m\\u202ec\\u2028d\n"
    )
    assert vocabulary.visible("ключ 節點 é") == "ключ 節點 é"
    assert vocabulary.visible("\udcff") == "\\udcff"
    assert vocabulary.one_line("two\n lines\x00", 0) == "two lines\\x00"
    assert vocabulary.one_line("abcdefgh", 6) == "abc..."


def test_every_state_and_outcome_has_words() -> None:
    assert set(vocabulary.STANDING) == set(State)
    assert set(vocabulary.ENDED) == set(Outcome)


def test_the_stages_follow_the_machine() -> None:
    assert vocabulary.next_stage(State.STARTED) is State.INSPECTED
    assert vocabulary.next_stage(State.NODES_UPGRADED) is State.COMPLETED
    assert [vocabulary.next_stage(state) for state in (State.COMPLETED, State.ABORTED, State.ROLLING_BACK)] == [
        None
    ] * 3
