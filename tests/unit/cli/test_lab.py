"""The commands of the lab: what is refused before anything is built, and that down leaves nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from upgrade_guard.cli.main import app


def invoke(tmp_path: Path, *words: str) -> Any:
    environ = {"HOME": str(tmp_path), "UPGRADE_GUARD_STATE_DIR": str(tmp_path / "state")}
    return CliRunner().invoke(app, ["lab", *words], env=environ)


def test_faults_are_listed_with_how_they_end(tmp_path: Path) -> None:
    listed = json.loads(invoke(tmp_path, "faults", "--json").stdout)["data"]
    assert {"name", "summary", "ends"} == set(listed[0])
    assert "apply-fails-after-etcd" in {fault["name"] for fault in listed}
    assert "apply-fails-after-etcd" in invoke(tmp_path, "faults").stdout


def test_an_unknown_fault_or_a_nonsense_version_builds_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "lab"
    for words in (
        ("up", "--fault", "moon-falls-down"),
        ("run", "v1.28.0", "--fault", "moon-falls-down"),
        ("run", "newest"),
        ("up", "--control-planes", "2"),
        ("up", "--from", "newest"),
    ):
        ended = invoke(tmp_path, *words, "--dir", str(directory))
        assert ended.exit_code == 2, words
        assert ended.stderr.splitlines()[-1].startswith("Next: "), words
        assert not directory.exists(), words


def test_down_refuses_what_is_not_a_lab(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    ended = invoke(tmp_path, "down", "--dir", str(tmp_path))
    assert ended.exit_code == 2
    assert (tmp_path / "precious").read_text() == "mine"


def test_up_leaves_an_ordinary_configuration_and_down_removes_it(tmp_path: Path) -> None:
    directory = tmp_path / "lab"
    up = invoke(tmp_path, "up", "--dir", str(directory), "--workers", "0", "--pace", "0", "--json")
    try:
        assert up.exit_code == 0, up.output
        config = json.loads(up.stdout)["data"]["config"]
        assert config == str(directory / "config.toml")
        shown = CliRunner().invoke(app, ["config", "show", "--json", "--config", config])
        assert json.loads(shown.stdout)["data"]["values"]["cluster"]["name"] == "lab"
    finally:
        down = invoke(tmp_path, "down", "--dir", str(directory))
    assert down.exit_code == 0, down.output
    assert not directory.exists() or not any(directory.iterdir())
