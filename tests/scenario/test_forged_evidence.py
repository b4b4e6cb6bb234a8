"""Evidence that somebody else wrote where a killed process left a gap: it counts for nothing, and is gathered anew."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from scenario.stage import TARGET, Stage

LEVELS = {"digest", "status", "restore", "start", "revision", "hashkv"}


def die_in(stage: Stage, step: str, *words: str) -> None:
    """kill -9 while that step is under way."""
    times = stage.outcomes(step).count("started") + 1
    going = stage.start(*words)
    stage.await_outcome(step, "started", going, times)
    going.send(signal.SIGKILL)
    assert going.wait().exit_code == -signal.SIGKILL
    assert stage.outcomes(step)[-1] == "started", f"{step} had ended before it was killed"


def write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(json.dumps(content))


def forge_verdict(stage: Stage) -> None:
    """What a proof that went well would have left in the state directory, without any restore."""
    [snapshot] = stage.rows("select bundle, snapshot_sha256, revision from snapshots")
    state = stage.lab.directory / "state"
    verdict = {
        "ok": True,
        "levels": [],
        "revision": snapshot["revision"],
        "hashkv": 1,
        "restore_seconds": 0.1,
        "snapshot_sha256": snapshot["snapshot_sha256"],
        "proven_at": datetime.now(UTC).isoformat(),
    }
    write(state / "proofs" / f"{snapshot['bundle']}.json", verdict)


def test_a_verdict_that_this_run_did_not_reach_opens_no_gate(stage: Stage) -> None:
    die_in(stage, "prove/snapshot", "run", TARGET)
    forge_verdict(stage)
    answer = stage.guard("resume", ends=6)  # the plan waits for its yes

    assert answer.data["state"] == "copied"
    [proof] = stage.rows("select * from proofs")
    levels = json.loads(proof["levels"])
    assert set(levels) == LEVELS
    assert all(level["ok"] for level in levels.values())
    assert proof["hashkv"] == levels["hashkv"]["figures"]["live"]
    restores = [json.loads(row["argv"]) for row in stage.rows("select argv from commands where host = 'here'")]
    assert any({"snapshot", "restore"} <= set(argv) for argv in restores), restores


def test_a_snapshot_that_this_run_did_not_take_is_not_its_snapshot(stage: Stage) -> None:
    old = stage.guard("backup", "create").data
    before = stage.put_key("/written", "after the backup")
    die_in(stage, "snapshot/save", "run", TARGET)
    vault = stage.lab.directory / "vault"
    manifest = json.loads((vault / old["bundle"] / "manifest.json").read_text())
    [run] = stage.rows("select id from runs where kind = 'upgrade'")
    staging = vault / f"{run['id']}.part"
    staging.mkdir(mode=0o700, exist_ok=True)  # its process may have died before it made one
    shutil.copy2(vault / old["bundle"] / "snapshot.db", staging / "snapshot.db")
    notes = {
        "source": manifest["source_member"],
        "sha256": sha256((staging / "snapshot.db").read_bytes()).hexdigest(),
        "size": (staging / "snapshot.db").stat().st_size,
        "taken_at": manifest["taken_at"],
        "at_least": manifest["revision"],
        "revision": manifest["revision"],
        "hash": manifest["hash"],
        "live_hash": manifest["hashkv"],
        "cluster_id": manifest["cluster_id"],
        "etcd_version": manifest["etcd_version"],
        "members": manifest["members"],
    }
    write(staging / "snapshot.json", notes)
    answer = stage.guard("resume", ends=6)

    assert answer.data["state"] == "copied"
    snapshot = stage.rows("select revision from snapshots order by seq desc limit 1")[0]
    assert snapshot["revision"] >= before
