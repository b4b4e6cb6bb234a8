"""A sample of the fault matrix, the same one each time, and what was wrong once: `make faults` tries all of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash.fault_matrix import Tally, Trial, attempt, survey, told, worth_trying
from crash.lives import ROLLBACK, UPGRADE, Scenario

from upgrade_guard.lab import cluster

# There are at least so many; fewer would mean that commands are no longer seen.
FAULTS = {"upgrade": 1400, "rollback": 600}
# Of each state in which a run can be.
OF_A_STATE = {"upgrade": 1, "rollback": 8}
# Each kind of fault, the step and the last words of its command; these had a wrong end before.
ONCE_WRONG = {
    ("hangs", "", "lock.json"),
    ("nothing", "inspect/etcd-tools", "/etcd"),
    ("nothing", "inspect/cluster", "kube-scheduler.yaml"),
}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scenario", (UPGRADE, ROLLBACK), ids=lambda scenario: str(scenario.name))
def test_a_program_that_misbehaves_is_told_and_the_run_goes_on_to_an_end(
    scenario: Scenario, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "lab"
    tally = Tally()
    try:
        ground = survey(directory, scenario)
        every = worth_trying(ground)
        chosen = [*once_wrong(every), *sampled(every, OF_A_STATE[scenario.name])]
        outcomes = [attempt(ground, trial) for trial in chosen]
    finally:
        cluster.down(directory)
    for outcome in outcomes:
        tally.add(ground, outcome)
    with capsys.disabled():
        print(f"\n{len(chosen)} of {len(every)} faults\n{tally.table()}")
    wrong = [told(outcome) for outcome in outcomes if outcome.wrong]
    assert wrong == []
    assert len(every) >= FAULTS[scenario.name]
    assert [outcome for outcome in outcomes if not outcome.met] == []


def once_wrong(every: tuple[Trial, ...]) -> Iterator[Trial]:
    """Those of a list that is written by hand; all of them are in an upgrade."""
    for trial in every:
        words = trial.point.what
        if any(
            (trial.kind, trial.point.step) == (kind, step) and words.endswith(last) for kind, step, last in ONCE_WRONG
        ):
            yield trial


def sampled(every: tuple[Trial, ...], count: int) -> Iterator[Trial]:
    """So many of each state, by chance, but always the same."""
    chance = random.Random("a sample of the faults")
    for state in dict.fromkeys(trial.point.state for trial in every):
        yield from chance.sample([trial for trial in every if trial.point.state == state], count)
