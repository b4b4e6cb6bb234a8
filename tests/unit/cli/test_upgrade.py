"""run, resume, rollback and abort up to where a cluster is needed: refusals, questions, what is left behind."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from unit.cli.recorded import RUN, Recorder, aborted, now

from upgrade_guard.cli.main import app
from upgrade_guard.config import load
from upgrade_guard.journal import Journal, RunLock
from upgrade_guard.model.run import State
from upgrade_guard.runs.frozen_settings import freeze, kept


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def recorder(state_dir: Path) -> Recorder:
    return Recorder(state_dir)


def invoke(state_dir: Path, *words: str) -> Any:
    environ = {"HOME": str(state_dir.parent), "UPGRADE_GUARD_STATE_DIR": str(state_dir)}
    return CliRunner().invoke(app, list(words), env=environ)


def refused(state_dir: Path, *words: str) -> tuple[int, dict[str, Any]]:
    ended = invoke(state_dir, *words, "--json")
    envelope = json.loads(ended.stdout)
    assert envelope["ok"] is False
    return ended.exit_code, envelope["error"]


def state_of(state_dir: Path) -> State:
    with Journal.open(state_dir / "journal.sqlite", now) as journal:
        return journal.run(RUN).state


def test_without_an_offsite_target_no_run_begins(state_dir: Path) -> None:
    exit_code, error = refused(state_dir, "run", "v1.28.0", "--yes")
    assert (exit_code, error["code"]) == (2, "usage")
    assert "--offsite" in error["hint"]
    assert not state_dir.exists()


def test_a_bad_offsite_target_is_refused(state_dir: Path) -> None:
    exit_code, error = refused(state_dir, "run", "v1.28.0", "--offsite", "nas:/etcd")
    assert exit_code == 2
    assert error["message"].startswith("--offsite: 'nas:/etcd' is not an off-site target")
    assert not state_dir.exists()


def test_keys_in_the_clear_are_refused_before_a_run_begins(state_dir: Path) -> None:
    exit_code, error = refused(state_dir, "run", "v1.28.0", "--offsite", "file:///mnt/nas")
    assert (exit_code, error["code"]) == (2, "usage")
    assert "private keys and Secrets unencrypted" in error["message"]
    assert "vault.recipients" in error["hint"]
    assert "vault.allow_unencrypted_keys = true" in error["hint"]
    assert not state_dir.exists()


@pytest.mark.parametrize("command", ["rollback", "abort"])
def test_nothing_open_nothing_to_take_back(state_dir: Path, command: str) -> None:
    assert refused(state_dir, command, "--yes")[0] == 3
    assert not state_dir.exists()


def test_nothing_open_nothing_to_resume(state_dir: Path, recorder: Recorder) -> None:
    ended = invoke(state_dir, "resume", "--json")
    assert (ended.exit_code, json.loads(ended.stdout)["data"]) == (0, None)
    assert not state_dir.exists()
    recorder.write(recorder.begin, aborted)
    assert invoke(state_dir, "resume").stdout == "No run is open: nothing to do.\n"


def test_one_upgrade_at_a_time(state_dir: Path, recorder: Recorder) -> None:
    recorder.write(recorder.begin, recorder.inspect)
    exit_code, error = refused(state_dir, "run", "v1.29.0", "--yes")
    assert exit_code == 3
    assert f"run {RUN} to v1.28.0 is open at inspected" in error["message"]


def test_a_run_that_only_looked_gives_way_to_another_version(state_dir: Path, recorder: Recorder) -> None:
    recorder.write(recorder.begin)
    invoke(state_dir, "run", "v1.29.0", "--yes")  # there is no cluster to inspect here: how it ends does not matter
    runs = json.loads(invoke(state_dir, "history", "--json").stdout)["data"]
    assert [(run["target"], run["outcome"]) for run in runs] == [("v1.29.0", ""), ("v1.28.0", "aborted")]


def test_an_open_run_is_resumed_only_with_a_yes(state_dir: Path, recorder: Recorder) -> None:
    recorder.write(recorder.begin)
    exit_code, error = refused(state_dir, "run", "v1.28.0")
    assert (exit_code, error["hint"]) == (6, "upgrade-guard resume")
    assert "there is no terminal to ask on" in error["message"]


def test_a_held_lock_names_its_holder(state_dir: Path, recorder: Recorder) -> None:
    recorder.write(recorder.begin)
    with RunLock(state_dir / "run.lock", command="upgrade-guard run v1.28.0"):
        for words in (("run", "v1.28.0", "--yes"), ("resume",), ("abort", "--yes"), ("rollback", "--yes")):
            exit_code, error = refused(state_dir, *words)
            assert (exit_code, error["code"]) == (5, "locked")
            assert "upgrade-guard run v1.28.0" in error["message"]


def test_abort_asks_and_then_closes_and_records_who_said_so(state_dir: Path, recorder: Recorder) -> None:
    recorder.write(recorder.begin)
    exit_code, error = refused(state_dir, "abort")
    assert (exit_code, error["hint"]) == (6, "upgrade-guard abort --yes")
    assert state_of(state_dir) is State.STARTED
    ended = invoke(state_dir, "abort", "--yes", "--json")
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["data"]["outcome"] == "aborted"
    with Journal.open(state_dir / "journal.sqlite", now) as journal:
        (approval,) = journal.approvals(RUN)
    assert approval.how == "--yes"
    assert approval.subject == f"Close run {RUN} (v1.28.0) at started?"


def test_a_rollback_of_an_untouched_cluster_is_refused_without_asking(state_dir: Path, recorder: Recorder) -> None:
    recorder.write(recorder.begin)
    exit_code, error = refused(state_dir, "rollback")
    assert exit_code == 3
    assert error["message"]
    assert state_of(state_dir) is State.STARTED


def test_a_control_plane_that_is_not_there_fails_the_run_and_says_how_it_stands(state_dir: Path) -> None:
    config = state_dir.parent / "config.toml"
    config.write_text(
        f"[vault]\nallow_unencrypted_keys = true\n"
        f'[nodes."*"]\nkubernetes_dir = "{state_dir.parent}/none"\npath = "/usr/bin:/bin"\n'
    )
    words = ("run", "v1.28.0", "--offsite", "file:///mnt/nas", "--config", str(config))
    ended = invoke(state_dir, *words)
    assert ended.exit_code in (3, 4), ended.output
    lines = ended.stderr.splitlines()
    assert "Run " in lines[-3]
    assert lines[-3].endswith("stands at started. The cluster is untouched.")
    assert lines[-2].startswith(f"Log: {state_dir}/logs/")
    assert lines[-1].startswith("Next: ")
    envelope = json.loads(invoke(state_dir, "resume", "--config", str(config), "--json").stdout)
    assert envelope["data"]["state"] == "started"
    assert envelope["error"]["code"]


def test_a_full_or_read_only_place_is_told_in_one_line(state_dir: Path) -> None:
    state_dir.write_text("a file where a directory should be")
    config = state_dir.parent / "config.toml"
    config.write_text("[vault]\nallow_unencrypted_keys = true\n")
    ended = invoke(state_dir, "run", "v1.28.0", "--offsite", "file:///mnt/nas", "--config", str(config))
    assert ended.exit_code == 3
    assert "Traceback" not in ended.output
    assert str(state_dir) in ended.stderr


def test_a_run_keeps_its_evidence_where_it_was(tmp_path: Path, state_dir: Path, recorder: Recorder) -> None:
    path = tmp_path / "config.toml"

    def config(text: str) -> Any:
        path.write_text(text)
        return load(path, {"HOME": str(tmp_path)}, False).config

    recorder.write(recorder.begin)
    with Journal.open(state_dir / "journal.sqlite", now) as journal:
        run = journal.run(RUN)
    changed = config('[vault]\noffsite = ["file:///other"]\n[upgrade]\ndrain_timeout = "9m"\nsnapshot_max_age = "9h"')
    effective = kept(changed, run)
    assert effective.vault.offsite == ("file:///mnt/nas",)
    assert effective.vault.path == state_dir / "vault"
    assert effective.upgrade.snapshot_max_age == 1800
    assert effective.upgrade.drain_timeout == 540, "what only says how long to wait may be corrected between processes"
    frozen = freeze(changed)
    assert json.loads(json.dumps(frozen))["vault"]["offsite"] == ["file:///other"]


def test_the_journal_of_a_run_is_private(state_dir: Path, recorder: Recorder) -> None:
    recorder.write(recorder.begin)
    invoke(state_dir, "abort", "--yes")
    for file in state_dir.rglob("*"):
        assert file.stat().st_mode & 0o077 == 0, file
    with sqlite3.connect(state_dir / "journal.sqlite") as rows:
        assert rows.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    rows.close()
