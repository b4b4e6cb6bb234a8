"""Backups outside of an upgrade: made, looked at, and killed at any moment."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from scenario.disks import flip
from scenario.ends import assert_untouched
from scenario.stage import Stage


def vault(stage: Stage) -> Path:
    return stage.lab.directory / "vault"


def bundles(stage: Stage, *, remote: bool = False) -> list[dict[str, Any]]:
    """What `backup list` says of the vault, or of the one target."""
    places = stage.guard("backup", "list", *(("--remote",) if remote else ())).data["places"]
    assert [place["problems"] for place in places] == [[]] * len(places)
    return list(places[-1]["bundles"])


def half_made(stage: Stage) -> list[str]:
    """Everything that a process which died may leave behind, in the vault, on the node and at the target."""
    node = Path(stage.lab.layout.node("cp1")) / "var/lib/upgrade-guard/snapshots"
    places = (vault(stage), Path(stage.lab.offsite), node)
    return sorted(str(path) for place in places for path in place.glob("*") if path.suffix in (".part", ".db"))


def test_a_backup_is_made_and_its_damage_is_found(stage: Stage) -> None:
    before = stage.truth()
    made = stage.guard("backup", "create").data
    assert (made["kind"], made["state"], made["outcome"]) == ("backup", "completed", "completed")
    assert made["proof"]["ok"] is True
    assert [copy["read_back"] for copy in made["copies"]] == [True]
    assert stage.states() == ["inspected", "snapshotted", "verified", "copied", "completed"]
    assert_untouched(stage, before)

    # It is no attempt at an upgrade, and stands in nobody's way.
    assert stage.guard("history").data == []
    assert [run["id"] for run in stage.guard("history", "--kind", "backup").data] == [made["id"]]
    assert stage.guard("status").data is None

    [listed] = bundles(stage)
    assert (listed["name"], listed["proven"], listed["run"]) == (made["bundle"], True, made["id"])
    assert listed["kept_because"] == ["younger than 7 days", "one of the 3 newest proven"]
    [there] = bundles(stage, remote=True)
    assert (there["name"], there["proven"]) == (made["bundle"], True)
    levels = [level["name"] for level in stage.guard("backup", "verify", made["bundle"]).data[0]["levels"]]
    assert levels == ["files", "digest", "status", "restore", "start", "revision", "hashkv"]

    # A bit flips in the copy; then the copy vanishes; then the bundle itself is changed, its manifest with it.
    copy = Path(made["copies"][0]["location"].removeprefix("file://"))
    flip(copy / "snapshot.db")
    answer = stage.guard("backup", "verify", "--all", "--quick", "--remote", ends=3)
    assert [one["ok"] for one in answer.data] == [True, False]
    assert "snapshot.db has another SHA-256" in answer.error["reasons"][0]
    copy.rename(copy.with_name("elsewhere"))
    answer = stage.guard("backup", "verify", "--all", "--quick", "--remote", ends=3)
    assert f"the copy {made['bundle']} is missing" in " ".join(answer.error["reasons"])
    bundle = vault(stage) / made["bundle"]
    manifest = (bundle / "manifest.json").read_text()
    (bundle / "manifest.json").write_text(manifest.replace('"revision":', '"revision" :'))
    answer = stage.guard("backup", "verify", made["bundle"], ends=3)
    assert "manifest.json is not the one that was published" in answer.error["reasons"][0]
    assert "A restore refuses such a bundle" in answer.error["reasons"][0]
    assert bundles(stage)[0]["proven"] is False


def test_a_backup_that_is_killed_anywhere_is_gone_on_with(stage: Stage) -> None:
    for step in ("inspect/cluster", "snapshot/save", "snapshot/files/cp1", "prove/snapshot", "copy/1"):
        going = stage.start("backup", "create")
        stage.await_outcome(step, "started", going)
        going.send(signal.SIGKILL)
        assert going.wait().exit_code == -signal.SIGKILL
        # Nothing half-made is ever listed as good, and no upgrade is held up.
        assert step == "copy/1" or [one for one in bundles(stage) if one["proven"]] == []
        assert stage.guard("status").data is None
    made = stage.guard("backup", "create").data
    assert len(stage.rows("select id from runs")) == 1, "one backup, resumed again and again"
    assert [one["name"] for one in bundles(stage)] == [made["bundle"]]
    assert [one["name"] for one in bundles(stage, remote=True)] == [made["bundle"]]
    assert half_made(stage) == []
    assert stage.guard("backup", "verify", "--all", "--remote", "--quick").data[0]["ok"] is True
