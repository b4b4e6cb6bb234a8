"""The script that docs/how-to/audit.md gives to third parties does what the page says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from unit.journal.making import begun, command, done, node
from unit.test_architecture import ROOT

from upgrade_guard.journal import Journal


@pytest.fixture
def script(tmp_path: Path) -> Path:
    _, _, rest = (ROOT / "docs" / "how-to" / "audit.md").read_text().partition("```python\n")
    path = tmp_path / "check.py"
    path.write_text(rest.partition("```\n")[0])
    return path


@pytest.fixture
def lines(tmp_path: Path) -> list[str]:
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        begun(journal)
        done(journal, "a", node())
        journal.note(command("run-1", "printf", 'ü","row":[1]}\n'))
        with journal.exported() as exported:
            return list(exported)


def check(script: Path, lines: list[str]) -> subprocess.CompletedProcess[str]:
    path = script.with_name("history.jsonl")
    path.write_text("".join(f"{line}\n" for line in lines))
    return subprocess.run([sys.executable, script, path], capture_output=True, text=True, check=False, timeout=60)


def test_it_agrees_with_a_history_that_holds(script: Path, lines: list[str]) -> None:
    ended = check(script, lines)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("5 rows hold; the head is ")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda lines: [*lines[:3], lines[3].replace("succeeded", "failed"), *lines[4:]], "row 3 (steps) was edited"),
        (lambda lines: [*lines[:3], *lines[4:]], "rows are missing before 4"),
        (lambda lines: lines[:-1], "the export ends with row 4, not 5"),
    ],
)
def test_it_finds_what_was_changed(script: Path, lines: list[str], spoil: object, said: str) -> None:
    assert callable(spoil)
    ended = check(script, spoil(lines))
    assert ended.returncode == 1
    assert said in ended.stderr
