"""What `make check` runs for which files."""

from __future__ import annotations

import pytest
from changed import ALWAYS, for_files


@pytest.mark.parametrize(
    ("path", "also"),
    [
        ("upgrade_guard/vault/bundle.py", ["tests/unit/vault"]),
        ("upgrade_guard/runs/session.py", ["tests/unit/cli"]),
        ("upgrade_guard/lab/programs/ctr.py", ["tests/unit/lab"]),
        ("tests/unit/tools/test_apt.py", ["tests/unit/tools"]),
        ("tests/unit/test_config.py", ["tests/unit/test_config.py"]),
        ("migrations/0001_initial.py", ["tests/unit/journal"]),
        ("upgrade_guard/errors.py", []),
        ("upgrade_guard/no-such-room/x.py", []),
        ("README.md", []),
    ],
)
def test_a_changed_file_brings_the_for_files_its_room(path: str, also: list[str]) -> None:
    assert set(for_files([path])) == {*ALWAYS, *also}
