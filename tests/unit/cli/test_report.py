"""report from the command line: where the file goes, and to whom."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from unit.cli.recorded import RUN, Recorder, failed

from upgrade_guard.cli.main import app


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With one run that stands before its gate; and the working directory is an empty one."""
    recorder = Recorder(tmp_path / "state")
    recorder.copied()
    recorder.write(lambda journal: failed(journal, "plan/kubeadm-plan", "kubeadm said no"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "state"


def invoke(state_dir: Path, *words: str) -> Any:
    environ = {"HOME": str(state_dir.parent), "UPGRADE_GUARD_STATE_DIR": str(state_dir)}
    return CliRunner().invoke(app, list(words), env=environ)


def test_the_newest_run_is_written_here_for_the_operator_alone(state_dir: Path) -> None:
    ended = invoke(state_dir, "report", "--json")
    assert (ended.exit_code, ended.stderr) == (0, "")
    found = json.loads(ended.stdout)["data"]
    path = Path(found["path"])
    assert (found["run"], found["path"], found["bytes"]) == (RUN, f"upgrade-{RUN}.html", path.stat().st_size)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    page = path.read_text()
    for words in ("kubeadm said no", str(state_dir / "vault" / "bundle-1"), found["head"], "Not finished"):
        assert words in page


def test_a_file_is_replaced_only_when_asked(state_dir: Path) -> None:
    path = state_dir.parent / "mine.html"
    path.write_text("mine")
    refused = invoke(state_dir, "report", RUN[:8], "--output", str(path))
    assert (refused.exit_code, path.read_text()) == (3, "mine")
    assert "add --force" in refused.stderr
    assert invoke(state_dir, "report", RUN[:8], "--output", str(path), "--force").exit_code == 0
    assert path.read_text().startswith("<!doctype html>")
    path.unlink()
    path.symlink_to(state_dir / "journal.sqlite")
    assert invoke(state_dir, "report", "--output", str(path)).exit_code == 3
    assert (state_dir / "journal.sqlite").read_bytes().startswith(b"SQLite")


def test_it_can_go_to_stdout_but_not_beside_json(state_dir: Path) -> None:
    assert invoke(state_dir, "report", "--output", "-").stdout.startswith("<!doctype html>")
    assert invoke(state_dir, "report", "--output", "-", "--json").exit_code == 2
    assert list(Path.cwd().iterdir()) == []


def test_commands_in_it_name_the_configuration_that_was_used(state_dir: Path) -> None:
    page = invoke(state_dir, "report", "--output", "-", "--state-dir", str(state_dir)).stdout
    assert f"upgrade-guard --state-dir {state_dir} audit verify --head " in page


def test_without_a_run_there_is_no_report(tmp_path: Path, state_dir: Path) -> None:
    assert invoke(tmp_path / "nowhere", "report").exit_code == 2
    assert invoke(state_dir, "report", "nothing").exit_code == 2
