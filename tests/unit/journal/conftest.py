from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.journal.making import Clock

from upgrade_guard.journal import Journal


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite"


@pytest.fixture
def journal(path: Path, clock: Clock) -> Iterator[Journal]:
    with Journal.open(path, clock) as opened:
        yield opened
