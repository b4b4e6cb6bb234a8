"""Print the tests that `make check` runs: those of the rooms in which files differ from the last commit.

A room is a directory of the package with its tests in tests/unit of the same name. The tests of the architecture and of
the documents always run. What touches no room, such as errors.py, has no tests of its own here: `make test` has them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

TESTED_ELSEWHERE = {"runs": "cli"}  # what commands do is tested through the commands
ALWAYS = ("tests/unit/test_architecture.py", "tests/unit/test_docs.py")


def for_files(changed: Iterable[str]) -> list[str]:
    """What to give to pytest, for paths inside the checkout."""
    found = set(ALWAYS)
    for path in map(Path, changed):
        match path.parts:
            case ("upgrade_guard", room, _, *_) | ("tests", "unit", room, _, *_):
                found.add(f"tests/unit/{TESTED_ELSEWHERE.get(room, room)}")
            case ("migrations", *_):
                found.add("tests/unit/journal")
            case ("tests", "unit", file) if file.startswith("test_"):
                found.add(str(path))
    return sorted(path for path in found if Path(path).exists())


def changed() -> list[str]:
    """Files that differ from the last commit, and new ones."""
    words = ("git", "status", "--porcelain", "--untracked-files=all", "--no-renames", "-z")
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return [line[3:] for line in said.split("\0") if line]


if __name__ == "__main__":
    print(*for_files(changed()))
