import shutil
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
    """Where nothing is yet."""
    return tmp_path / "state" / "journal.sqlite"


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal that was made once, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "journal.sqlite"
    Journal.open(path).close()
    return path


@pytest.fixture
def journal(path: Path, clock: Clock, empty: Path) -> Iterator[Journal]:
    path.parent.mkdir(mode=0o700)
    shutil.copy(empty, path)
    with Journal.open(path, clock) as opened:
        yield opened
