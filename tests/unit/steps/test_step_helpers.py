"""Waits that end as soon as the world is as it should be, or as soon as it cannot become so."""

from __future__ import annotations

import pytest
from unit.engine.paper import FakeClock

from upgrade_guard.errors import StepFailed
from upgrade_guard.model.step import Done, Facts, NotDone, Seen
from upgrade_guard.steps.step_helpers import NothingWillCome, seeing, until


def test_a_look_that_fails_is_one_more_not_yet() -> None:
    looks: list[int] = []

    def look() -> Seen:
        looks.append(1)
        if len(looks) < 3:
            raise StepFailed("connection refused")
        return Done()

    assert until(FakeClock(), 60.0, look) == Done()
    assert len(looks) == 3


def test_what_will_not_come_is_not_waited_for() -> None:
    looks: list[int] = []

    def look() -> Seen:
        looks.append(1)
        if len(looks) > 1:
            raise NothingWillCome("it crash-loops")
        return NotDone("not ready")

    with pytest.raises(NothingWillCome):
        until(FakeClock(), 300.0, look)
    with pytest.raises(NothingWillCome):
        seeing(FakeClock(), 300.0, lambda _: look())(Facts("r1"))
    assert len(looks) == 3
