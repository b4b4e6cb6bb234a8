"""A sample of the fault matrix, the same one each time, and what was wrong once: `make faults` tries all of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from crash.fault_matrix import Tally, Trial, attempt, survey, told, worth_trying
from crash.lives import ROLLBACK, UPGRADE, Scenario

from upgrade_guard.lab import cluster

# There are at least so many; fewer would mean that commands are no longer seen.
FAULTS = {"upgrade": 1400, "rollback": 600}
# Of each state in which a run can be, and of which nothing is tried by name.
OF_A_STATE = {"upgrade": 1, "rollback": 4}
# Each kind of fault, the step, the program and the end of the file's name; these had a wrong end before.
ONCE_WRONG = {
    ("hangs", "", "cat", "/lock.json"),
    ("nothing", "inspect/etcd-tools", "cat", "/etcd"),
    ("nothing", "inspect/cluster", "cat", "/kube-scheduler.yaml"),
}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scenario", (UPGRADE, ROLLBACK), ids=lambda scenario: str(scenario.name))
def test_a_program_that_misbehaves_is_told_and_the_run_goes_on_to_an_end(
    scenario: Scenario, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    directory = tmp_path / "lab"
    tally = Tally()
    try:
        ground = survey(directory, scenario)
        every = worth_trying(ground)
        assert len(every) >= FAULTS[scenario.name]
        known = list(once_wrong(every))
        others = [trial for trial in every if trial.point.state not in {one.point.state for one in known}]
        chosen = [*known, *sampled(others, OF_A_STATE[scenario.name])]
        outcomes = [attempt(ground, trial) for trial in chosen]
    finally:
        cluster.down(directory)
    for outcome in outcomes:
        tally.add(ground, outcome)
    record_property("matrix", f"{len(chosen)} of {len(every)} faults\n{tally.table()}")
    assert [told(outcome) for outcome in outcomes if outcome.wrong] == []
    # A run that goes another way, because a wait was shorter or longer, may not pass a point again.
    assert any(outcome.met for outcome in outcomes), [told(outcome) for outcome in outcomes]


def once_wrong(every: tuple[Trial, ...]) -> Iterator[Trial]:
    """Those of a list that is written by hand; all of them are in an upgrade."""
    for trial in every:
        for kind, step, program, end in ONCE_WRONG:
            said = (trial.kind, trial.point.step, trial.point.argv[0]) == (kind, step, program)
            if said and trial.point.argv[-1].endswith(end):
                yield trial


def sampled(every: Sequence[Trial], count: int) -> Iterator[Trial]:
    """So many of each state, by chance, but always the same."""
    chance = random.Random("a sample of the faults")
    for state in dict.fromkeys(trial.point.state for trial in every):
        yield from chance.sample([trial for trial in every if trial.point.state == state], count)
