from __future__ import annotations

import pytest
from unit.systemd import there


@pytest.fixture(scope="session")
def systemd_programs() -> None:
    """systemctl and systemd-analyze; a running systemd is not needed."""
    there()
