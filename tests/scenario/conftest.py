"""Labs for scenarios: each test has its own, and it is gone afterwards, whatever happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from upgrade_guard.lab import cluster

pytest.register_assert_rewrite("scenario.ends", "scenario.stage")

from scenario.stage import Stage  # noqa: E402 - after the line above, so that its assertions say what they compared


@pytest.fixture
def new_stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Make a lab without delays of its own; options are those of `cluster.up`."""
    made: list[Stage] = []
    directories: list[Path] = []

    def new(**options: Any) -> Stage:
        directory = tmp_path / f"lab{len(directories)}"
        directories.append(directory)
        stage = Stage(cluster.up(directory, **{"pace": 0.0, "patience": 5.0, "grace": 0.5, **options}))
        made.append(stage)
        stage.configure(settle_time='"1s"')
        return stage

    yield new
    for stage in made:
        stage.end_everything()
    for directory in directories:
        if (directory / "lab").exists():
            cluster.down(directory)


@pytest.fixture
def stage(new_stage: Callable[..., Stage]) -> Stage:
    """One control plane and one worker."""
    return new_stage()
