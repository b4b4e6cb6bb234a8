"""audit verify and export from the command line: answers, exit codes, files."""

from __future__ import annotations

import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from unit.cli.recorded import RUN, Recorder

from upgrade_guard.cli.main import app


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """With one run that stands before its gate."""
    Recorder(tmp_path / "state").copied()
    return tmp_path / "state"


def invoke(state_dir: Path, *words: str) -> Any:
    environ = {"HOME": str(state_dir.parent), "UPGRADE_GUARD_STATE_DIR": str(state_dir)}
    return CliRunner().invoke(app, list(words), env=environ)


def spoil(state_dir: Path) -> None:
    with closing(sqlite3.connect(state_dir / "journal.sqlite")) as rows:
        rows.execute("DROP TRIGGER keep_proofs_update")
        rows.execute("UPDATE proofs SET ok = 0")
        rows.commit()


def test_a_history_that_holds_says_what_to_keep(state_dir: Path) -> None:
    ended = invoke(state_dir, "audit", "verify", "--json")
    assert (ended.exit_code, ended.stderr) == (0, "")
    found = json.loads(ended.stdout)["data"]
    assert (found["whole"], found["rows"], found["breaches"]) == (True, 16, [])
    told = invoke(state_dir, "audit", "verify").stdout
    assert told.startswith("History holds: 16 rows, ")
    assert f"  upgrade-guard audit verify --head {found['head']}" in told
    kept = invoke(state_dir, "audit", "verify", "--head", found["head"]).stdout
    assert "The head that you kept is row 16: nothing up to it was changed." in kept


def test_a_history_that_does_not_is_refused_and_says_where(state_dir: Path) -> None:
    spoil(state_dir)
    ended = invoke(state_dir, "audit", "verify", "--json")
    envelope = json.loads(ended.stdout)
    assert (ended.exit_code, envelope["error"]["code"], envelope["data"]["whole"]) == (3, "journal", False)
    assert [(one["kind"], one["table"], one["run"]) for one in envelope["data"]["breaches"]] == [
        ("edited", "proofs", RUN),
        ("trigger", "", ""),
    ]
    told = invoke(state_dir, "audit", "verify")
    assert (told.exit_code, told.stdout) == (3, "")
    assert "does not hold, in 2 place(s)" in told.stderr
    assert "with ok = 1 it would" in told.stderr
    assert "upgrade-guard audit export --output now.jsonl" in told.stderr


def test_without_a_journal_nothing_holds(tmp_path: Path) -> None:
    for words in (("verify",), ("export",)):
        ended = invoke(tmp_path / "nowhere", "audit", *words)
        assert ended.exit_code == 2
        assert "there is no journal in " in ended.stderr
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("head", ["", "abc", "g" * 64, "0" * 63])
def test_a_head_that_is_none_is_refused(state_dir: Path, head: str) -> None:
    assert invoke(state_dir, "audit", "verify", "--head", head).exit_code == 2


def test_an_export_goes_to_stdout_or_to_a_private_file(state_dir: Path) -> None:
    lines = invoke(state_dir, "audit", "export").stdout.splitlines()
    assert len(lines) == 17
    path = state_dir / "export.jsonl"
    ended = invoke(state_dir, "audit", "export", "--output", str(path), "--json")
    assert json.loads(ended.stdout)["data"] == {"path": str(path), "run": None, "head": json.loads(lines[0])["head"]}
    assert path.read_text().splitlines() == lines
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in state_dir.iterdir() if ".part" in one.name] == []
    again = invoke(state_dir, "audit", "export", "--output", str(path), "--run", RUN[:8])
    assert again.exit_code == 3
    assert "add --force" in again.stderr
    assert path.read_text().splitlines() == lines
    assert invoke(state_dir, "audit", "export", "--output", str(path), "--run", RUN[:8], "--force").exit_code == 0
    assert json.loads(path.read_text().splitlines()[0])["run"] == RUN


def test_an_export_is_checked_without_a_journal(state_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    invoke(state_dir, "audit", "export", "--output", str(path))
    head = json.loads(path.read_text().splitlines()[0])["head"]
    ended = invoke(tmp_path / "nowhere", "audit", "verify", "--export", str(path), "--head", head)
    assert ended.exit_code == 0
    assert ended.stdout.startswith("The export holds: 16 rows, ")
    path.write_text(path.read_text().replace('"ok":1', '"ok":0'))
    ended = invoke(tmp_path / "nowhere", "audit", "verify", "--export", str(path))
    assert (ended.exit_code, ended.stdout) == (3, "")
    assert "with ok = 1 it would" in ended.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "--json"), "has a line for each row"),
        (("export", "--run", "nothing"), "no run 'nothing'"),
        (("export", "--output", "."), "is a directory"),
        (("export", "--output", "nowhere/at/all.jsonl"), "cannot be written"),
        (("verify", "--export", "nowhere.jsonl"), "No such file"),
        (("verify", "--export", "/dev/null"), "this is no export"),
        (("verify", "--export", "/dev/zero"), "this is no export"),
    ],
)
def test_wrong_usage_says_what_to_type(state_dir: Path, words: tuple[str, ...], said: str) -> None:
    ended = invoke(state_dir, "audit", *words)
    assert ended.exit_code == 2
    assert said in ended.output
