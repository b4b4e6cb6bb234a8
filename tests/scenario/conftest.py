"""Labs for scenarios: each test has its own, and it is gone afterwards, whatever happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from upgrade_guard.lab import cluster

pytest.register_assert_rewrite("scenario.ends", "scenario.prepared", "scenario.stage")

# After the line above, so that their assertions say what they compared.
from scenario.prepared import QUICK, Prepared, to_a_backup  # noqa: E402
from scenario.stage import Stage, installed_package, sources  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def the_program_is_the_tree_under_test() -> None:
    """The scenarios start the installed program: another one would pass them whatever is written here."""
    tree = Path(__file__).parents[2] / "upgrade_guard"
    installed = installed_package()
    found = sources(installed)
    other = sorted(name for name, digest in sources(tree).items() if found.get(name) != digest)
    assert not other, f"{installed} is not {tree}: pip install -e ."


@pytest.fixture
def new_stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Make a lab without delays of its own; options are those of `cluster.up`."""
    made: list[Stage] = []
    directories: list[Path] = []

    def new(**options: Any) -> Stage:
        directory = tmp_path / f"lab{len(directories)}"
        directories.append(directory)
        stage = Stage(cluster.up(directory, **{**QUICK, **options}))
        made.append(stage)
        stage.configure(settle_time='"1s"')
        return stage

    yield new
    for stage in made:
        stage.end_everything()
    for directory in directories:
        if (directory / "lab").exists():
            cluster.down(directory)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """The labs that stand before an approval."""
    made = Prepared(tmp_path_factory.mktemp("prepared"))
    yield made
    made.take_down()


@pytest.fixture
def copied_stage(prepared: Prepared) -> Iterator[Callable[..., Stage]]:
    """A lab whose run asks for its approval: snapshot, proof and copies are there, no node was changed."""
    given: list[Stage] = []

    def put_back(**options: Any) -> Stage:
        given.append(prepared.at(**options))
        return given[-1]

    yield put_back
    for stage in given:
        prepared.rest(stage)


@pytest.fixture
def backed_up(prepared: Prepared) -> Iterator[Stage]:
    """A lab with one backup, and a monitoring that is told."""
    stage = prepared.at(to_a_backup)
    yield stage
    prepared.rest(stage)


@pytest.fixture
def stage(new_stage: Callable[..., Stage]) -> Stage:
    """One control plane and one worker."""
    return new_stage()
