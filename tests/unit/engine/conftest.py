from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from unit.engine.room import Room


@pytest.fixture
def make_room(tmp_path: Path) -> Iterator[Callable[..., Room]]:
    """Rooms that are closed when the test ends."""
    with ExitStack() as stack:

        def make(**workflow: Any) -> Room:
            return stack.enter_context(closing(Room(tmp_path, **workflow)))

        yield make


@pytest.fixture
def room(make_room: Callable[..., Room]) -> Room:
    return make_room()
