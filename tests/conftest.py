"""What holds for every test."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_terminal_of_the_tester(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests has a terminal of some width and taste (pytest-xdist too); what is tested has not."""
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "UPGRADE_GUARD_CONFIG", "UPGRADE_GUARD_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
