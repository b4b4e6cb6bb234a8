"""A sample of the crash matrix, the same one each time: `make crash` tries all of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from crash.lives import ROLLBACK, UPGRADE, Scenario
from crash.matrix import Tally, record, told, try_chain, worth_trying
from crash.power_cut import compiled
from crash.tape import sample

from upgrade_guard.lab import cluster

# There are at least so many points; fewer would mean that they are no longer seen.
POINTS = {"upgrade": 800, "rollback": 800}
KILLS = {"upgrade": 10, "rollback": 5}
POWER_CUTS = {"upgrade": 5, "rollback": 3}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scenario", (UPGRADE, ROLLBACK), ids=lambda scenario: str(scenario.name))
def test_a_run_that_dies_again_and_again_comes_to_the_same_end(
    scenario: Scenario, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    directory = tmp_path / "lab"
    try:
        reference = record(directory, scenario)
        assert len(reference.points) >= POINTS[scenario.name]
        every = [
            (worth_trying(reference, "kill"), KILLS[scenario.name]),
            (worth_trying(reference, "power"), POWER_CUTS[scenario.name]),
        ]
        chosen = tuple(strike for some, count in every for strike in sample(some, count, scenario.name))
        chain = try_chain(reference, chosen, compiled(tmp_path))
    finally:
        cluster.down(directory)
    tally = Tally()
    tally.add(chain)
    record_property("matrix", f"{len(chosen)} of {sum(len(some) for some, _ in every)} deaths\n{tally.table()}")
    assert not chain.wrong, told(chain)
    # A death changes what follows, so some later points are not passed again; most of them have to be.
    died = len(chain.story.deaths) + len(chain.story.in_resumes)
    assert died > len(chosen) // 2, told(chain)
