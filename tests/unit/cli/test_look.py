"""status, history, show and graph read the record: before any run, during one, after its process died."""

from __future__ import annotations

import json
import os
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from unit.cli.recorded import RUN, Recorder, aborted, done, failed, in_doubt

from upgrade_guard.cli.main import app
from upgrade_guard.journal import RunLock


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def recorder(state_dir: Path) -> Recorder:
    return Recorder(state_dir)


def invoke(state_dir: Path, *words: str) -> Any:
    environ = {"HOME": str(state_dir.parent), "UPGRADE_GUARD_STATE_DIR": str(state_dir)}
    return CliRunner().invoke(app, list(words), env=environ)


def answer(state_dir: Path, *words: str) -> Any:
    answered = invoke(state_dir, *words, "--json")
    assert answered.exit_code == 0, answered.output
    assert answered.stderr == ""
    envelope = json.loads(answered.stdout)
    assert (envelope["schema"], envelope["ok"], envelope["error"]) == (1, True, None)
    return envelope["data"]


def test_without_a_journal_there_is_nothing_and_nothing_is_made(state_dir: Path) -> None:
    assert answer(state_dir, "status") is None
    assert answer(state_dir, "history") == []
    assert invoke(state_dir, "status").stdout == "No run is open.\nNext: upgrade-guard run VERSION\n"
    assert invoke(state_dir, "history").stdout == "No runs yet.\n"
    shown = invoke(state_dir, "show")
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert not state_dir.exists()


def test_status_of_a_run_before_its_gate(state_dir: Path, recorder: Recorder) -> None:
    recorder.write(recorder.begin, recorder.inspect, recorder.snapshot, lambda j: failed(j, "prove/snapshot", "hash"))
    found = answer(state_dir, "status")
    assert {"id", "target", "state", "next", "gate"} <= set(found)
    assert (found["id"], found["target"], found["state"], found["next"]) == (RUN, "v1.28.0", "snapshotted", "verified")
    assert found["gate"] == {
        "open": False,
        "reasons": [
            "The snapshot of this run has not been proven restorable.",
            "Only 0 of 1 required off-site copy read back equal.",
            "No copy that read back equal is off the control-plane nodes.",
        ],
    }
    assert found["failed"] == [{"step": "prove/snapshot", "detail": "hash"}]
    assert found["going_back"]["revisions"] == 0
    assert (found["process"], found["in_doubt"], found["next_command"]) == (None, [], "upgrade-guard resume")
    told = invoke(state_dir, "status").stdout
    assert "failed  Prove that it restores" in told
    assert "Last  prove/snapshot FAILED: hash" in told
    assert "Back  nothing was changed; upgrade-guard abort closes the run" in told
    assert "Type  upgrade-guard resume" in told
    assert "No process works on this run." in told


def test_status_while_a_process_works_and_after_it_died(state_dir: Path, recorder: Recorder) -> None:
    recorder.write(recorder.begin, recorder.inspect, lambda j: in_doubt(j, "snapshot/save"))
    with RunLock(state_dir / "run.lock", command="upgrade-guard run v1.28.0"):
        found = answer(state_dir, "status")
        assert found["process"]["pid"] == os.getpid()
        assert found["under_way"] == ["snapshot/save"]
        told = invoke(state_dir, "status").stdout
        assert f"Process {os.getpid()} on" in told
        assert "upgrade-guard run v1.28.0" in told
        assert "now  Take the snapshot" in told
    found = answer(state_dir, "status")
    assert (found["process"], found["in_doubt"]) == (None, ["snapshot/save"])
    told = invoke(state_dir, "status").stdout
    assert "Now  snapshot/save was started and never concluded" in told


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda bundle: None, None),
        (lambda bundle: (bundle / "snapshot.db").write_bytes(b"snap"), "has 4 bytes, but 8 were recorded."),
        (lambda bundle: (bundle / "snapshot.db").unlink(), "is damaged: "),
        (lambda bundle: (bundle / "manifest.json").write_text("[]"), "is not the one that was recorded."),
        (lambda bundle: bundle.rename(bundle.with_name("elsewhere")), "is not in the vault: "),
    ],
)
def test_the_gate_of_status_looks_at_the_vault_too(
    state_dir: Path, recorder: Recorder, spoil: Any, reason: str | None
) -> None:
    recorder.copied()
    spoil(state_dir / "vault" / "bundle-1")
    gate = answer(state_dir, "status")["gate"]
    assert gate["open"] is (reason is None)
    assert reason is None or (len(gate["reasons"]) == 1 and reason in gate["reasons"][0])


def test_the_gate_of_status_knows_the_age_of_the_proof(state_dir: Path) -> None:
    Recorder(state_dir, proven_before=timedelta(minutes=31)).copied()
    assert answer(state_dir, "status")["gate"]["reasons"] == ["The proof is 31 min old; it may be at most 30 min old."]


def test_the_gate_of_status_sees_an_edited_row(state_dir: Path, recorder: Recorder) -> None:
    recorder.copied()
    with sqlite3.connect(state_dir / "journal.sqlite") as rows:
        for (name,) in rows.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            rows.execute(f"DROP TRIGGER {name}")
        rows.execute("UPDATE proofs SET revision = 99")
    rows.close()
    gate = answer(state_dir, "status")["gate"]
    assert gate["open"] is False
    assert gate["reasons"]
    assert "This record was changed after it was written" in invoke(state_dir, "show").stdout


def test_without_an_open_run_status_has_the_last_one_and_the_backups_beside_it(
    state_dir: Path, recorder: Recorder
) -> None:
    before = json.loads(invoke(state_dir, "status", "--json").stdout)
    assert (before["data"], before["last_run"], before["backups"]["last_proven"]) == (None, None, None)
    recorder.write(recorder.begin, aborted)
    after = json.loads(invoke(state_dir, "status", "--json").stdout)
    assert (after["data"], after["last_run"]["outcome"]) == (None, "aborted")


def test_after_the_last_run_status_names_how_it_ended(state_dir: Path, recorder: Recorder) -> None:
    recorder.write(recorder.begin, aborted)
    assert answer(state_dir, "status") is None
    assert f"The last one, {RUN} to v1.28.0, ended aborted." in invoke(state_dir, "status").stdout


def test_history_lists_filters_and_refuses(state_dir: Path, recorder: Recorder) -> None:
    recorder.copied()
    (entry,) = answer(state_dir, "history")
    assert entry["id"] == RUN
    assert (entry["from"], entry["target"], entry["state"], entry["snapshot"]) == (
        "v1.27.16",
        "v1.28.0",
        "copied",
        "bundle-1",
    )
    assert entry["duration"] is None
    assert len(answer(state_dir, "history", "--target", "1.28.0", "--cluster", "prod", "--since", "2024-01-01")) == 1
    assert answer(state_dir, "history", "--target", "v1.29.0") == []
    assert answer(state_dir, "history", "--outcome", "completed") == []
    assert answer(state_dir, "history", "--since", "2999-01-01") == []
    assert len(answer(state_dir, "history", "--since", "1h", "--outcome", "open")) == 1
    assert answer(state_dir, "history", "--target", "bundle-1", "--kind", "drill") == []
    for words in (("--outcome", "fine"), ("--since", "yesterday"), ("--since", "999999d"), ("--target", "latest")):
        assert invoke(state_dir, "history", *words).exit_code == 2
    first, second = invoke(state_dir, "history").stdout.splitlines()
    assert first.startswith(f"{RUN}  open: copied  v1.27.16 -> v1.28.0  ")
    assert second.strip() == "snapshot bundle-1, 8 B, revision 1234"


def test_show_tells_the_whole_story(state_dir: Path, recorder: Recorder) -> None:
    recorder.copied()
    recorder.write(
        lambda j: failed(j, "plan/kubeadm-plan", "it said \x1b[31mno"), lambda j: in_doubt(j, "plan/approve")
    )
    found = answer(state_dir, "show", RUN[:8])
    assert {"id", "cluster", "from", "target", "state", "outcome", "started_at", "finished_at"} <= set(found)
    assert {"transitions", "steps", "snapshots", "commands", "proofs", "copies", "approvals"} <= set(found)
    assert [moved["to_state"] for moved in found["transitions"]] == ["inspected", "snapshotted", "verified", "copied"]
    assert found["steps"][-1]["outcome"] == "started"
    assert [stage["verdict"] for stage in found["stages"]] == ["done"] * 4 + ["not finished"]
    told = invoke(state_dir, "show").stdout
    for words in (
        "snapshotted (snapshot-taken)",
        "bundle-1 restores, restore took 2.5 s",
        "file:///mnt/nas/bundle-1 read back equal",
        "plan/kubeadm-plan FAILED",
        "it said \\x1b[31mno",
        "plan/approve started and never concluded: in doubt",
    ):
        assert words in told
    assert invoke(state_dir, "show", "nothing").exit_code == 2


def test_a_journal_from_the_future_is_refused_by_those_who_look(state_dir: Path, recorder: Recorder) -> None:
    recorder.write(recorder.begin)
    with sqlite3.connect(state_dir / "journal.sqlite") as rows:
        rows.execute("UPDATE alembic_version SET version_num = '9999'")
    rows.close()
    for words in (("status",), ("history",), ("show",), ("run", "v1.28.0"), ("resume",)):
        ended = invoke(state_dir, *words, "--json")
        assert (ended.exit_code, json.loads(ended.stdout)["error"]["code"]) == (3, "journal"), words


def test_the_graph_is_mermaid(state_dir: Path) -> None:
    text = answer(state_dir, "graph")["mermaid"]
    assert text.startswith("stateDiagram-v2\n")
    assert invoke(state_dir, "graph").stdout == text


def test_config_init_writes_once_and_show_names_the_origins(state_dir: Path) -> None:
    path = state_dir.parent / "etc" / "guard.toml"
    assert answer(state_dir, "config", "init", str(path)) == {"path": str(path)}
    before = path.read_text()
    again = invoke(state_dir, "config", "init", str(path), "--json")
    assert (again.exit_code, json.loads(again.stdout)["error"]["code"]) == (3, "refused")
    assert path.read_text() == before
    path.write_text("[vault]\nkeep_days = 9\n")
    shown = answer(state_dir, "config", "show", "--config", str(path))
    assert shown["values"]["vault"]["keep_days"] == 9
    assert shown["origins"]["vault.keep_days"] == str(path)
    assert shown["origins"]["state_dir"] == "UPGRADE_GUARD_STATE_DIR"
    assert "vault.keep_days" in invoke(state_dir, "config", "show").stdout


def test_what_was_done_counts_as_done(state_dir: Path, recorder: Recorder) -> None:
    recorder.write(recorder.begin, lambda j: done(j, "inspect/cluster"))
    assert answer(state_dir, "status")["in_doubt"] == []
