"""The machine's clock is set, forwards and backwards, before a run is resumed and in the middle of one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from crash.power_cut import compiled
from scenario.ends import assert_completed
from scenario.stage import TARGET, Answer, Going, Stage
from scenario.watched import Watched

SOURCE = Path(__file__).with_name("stepped.c")
WEEK, TWO_HOURS, DAY = timedelta(days=7), timedelta(hours=2), timedelta(days=1)


@dataclass
class SteppedClock:
    """What upgrade-guard takes for the time of day: that of this machine and so many seconds more."""

    library: Path
    offset: Path

    @classmethod
    def beside(cls, directory: Path) -> SteppedClock:
        """One that tells the time as it is."""
        clock = cls(compiled(directory, SOURCE), directory / "offset")
        clock.step(timedelta())
        return clock

    def step(self, by: timedelta) -> None:
        """Set it, also for a process that runs: so much later or earlier than it is."""
        beside = self.offset.with_name("offset.new")
        beside.write_text(f"{by.total_seconds():.0f}\n")
        beside.replace(self.offset)

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that lives by it."""
        return {"LD_PRELOAD": str(self.library), "STEPPED_CLOCK": str(self.offset)}


@pytest.fixture
def clock(tmp_path: Path) -> SteppedClock:
    return SteppedClock.beside(tmp_path)


def guard(stage: Stage, clock: SteppedClock, *words: str, ends: int = 0) -> Answer:
    """`upgrade-guard WORDS` by that clock."""
    return stage.guard(*words, ends=ends, environment=clock.environment)


@pytest.fixture
def stage(copied_stage: Callable[..., Stage]) -> Stage:
    """One whose run asks for its approval."""
    return copied_stage()


@pytest.mark.parametrize(("by", "because"), ((WEEK, "old"), (-TWO_HOURS, "in the future")), ids=("week", "back"))
def test_a_run_is_resumed_when_the_age_of_its_proof_is_too_great_or_unknown(
    by: timedelta, because: str, stage: Stage, clock: SteppedClock
) -> None:
    assert stage.states()[-1] == "copied"
    assert guard(stage, clock, "status").data["gate"]["open"] is True
    clock.step(by)

    gate = guard(stage, clock, "status").data["gate"]
    assert gate["open"] is False
    assert any(because in reason for reason in gate["reasons"]), gate
    guard(stage, clock, "resume", "--yes")

    assert_completed(stage)
    told = stage.show()
    assert [move["event"] for move in told["transitions"]].count("evidence-expired") == 1
    assert len(told["snapshots"]) == len(told["proofs"]) == 2
    first, second = (one["proven_at"] for one in told["proofs"])
    assert (second > first) is (by > timedelta())
    assert_told(stage, clock)


@pytest.mark.parametrize("by", (DAY, -DAY), ids=("forwards", "backwards"))
def test_a_clock_that_is_set_while_the_control_plane_changes_disturbs_nothing(
    by: timedelta, stage: Stage, clock: SteppedClock
) -> None:
    watched = Watched.on(stage)
    going = held(stage, clock, watched, "cp1 kubeadm upgrade apply *")
    clock.step(by)
    watched.release("held")
    answer = going.wait()
    assert answer.exit_code == 0, answer

    assert_completed(stage)
    told = stage.show()
    assert len(told["snapshots"]) == 1, "what was changed already needs no newer snapshot"
    assert len(watched.calls("cp1", "kubeadm", "upgrade", "apply")) == 1
    assert_told(stage, clock)


def test_a_clock_that_is_set_back_before_the_gate_asks_closes_it(
    new_stage: Callable[..., Stage], clock: SteppedClock
) -> None:
    stage = new_stage()
    watched = Watched.on(stage)
    going = held(stage, clock, watched, "cp1 kubeadm *upgrade plan *", "run", TARGET, "--yes")
    clock.step(-DAY)
    watched.release("held")
    answer = going.wait()

    assert answer.exit_code == 0, answer
    assert_completed(stage)
    told = stage.show()
    assert len(told["snapshots"]) == 2
    [expired] = [move for move in told["transitions"] if move["event"] == "evidence-expired"]
    assert "in the future" in str(expired), expired
    assert_told(stage, clock)


def held(stage: Stage, clock: SteppedClock, watched: Watched, pattern: str, *words: str) -> Going:
    """A run that waits where that command begins."""
    watched.hold("held", pattern)
    going = stage.start(*(words or ("resume", "--yes")), environment=clock.environment)
    watched.await_held("held", going)
    return going


def assert_told(stage: Stage, clock: SteppedClock) -> None:
    """What is said of the run has no time that runs backwards, and the chain holds."""
    assert guard(stage, clock, "audit", "verify").data
    assert all(run["duration"] >= 0 for run in guard(stage, clock, "history").data)
    for words in (("show",), ("show", "--verbose"), ("history",)):
        text = stage.guard(*words, json_answer=False, environment=clock.environment).stdout
        assert re.findall(r"(?<![\w.-])-\d[\d.]* (?:s|min|h|d)\b", text) == [], text
