"""copy and prune on a vault and a target as months of backups leave them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from unit.cli.stocked import Stocked

from upgrade_guard.journal import RunLock
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.codec import to_json
from upgrade_guard.model.run import Event, Kind, Move, Outcome, State
from upgrade_guard.model.step import Done, Step

TESTS = Path(__file__).parents[2]


@pytest.fixture
def stocked(tmp_path: Path) -> Stocked:
    return Stocked(tmp_path)


def test_prune_says_first_what_would_go_and_why_the_others_stay(stocked: Stocked) -> None:
    names = {days: stocked.made(days).name for days in (1, 10, 20, 30)}
    told = stocked.invoke("backup", "prune").stdout
    assert f"keep    {names[1]} (here): younger than 7 days; one of the 2 newest proven\n" in told
    assert f"keep    {names[10]} (here): one of the 2 newest proven" in told
    assert f"remove  {names[20]} (here), " in told
    assert f"remove  {names[30]} ({stocked.url}), " in told
    assert "Nothing was removed; 4 would go" in told
    assert "backup prune --yes\n" in told
    assert stocked.here() == stocked.there() == set(names.values())


def test_prune_removes_by_rule_and_puts_every_removal_on_record(stocked: Stocked) -> None:
    names = {days: stocked.made(days).name for days in (1, 10, 20, 30)}
    done = stocked.guard("backup", "prune", "--yes")["data"]
    assert (done["kind"], done["outcome"]) == ("prune", "completed")
    assert stocked.here() == stocked.there() == {names[1], names[10]}
    story = stocked.guard("show", done["id"])["data"]
    removed = [step["result"] for step in story["steps"] if step["outcome"] == "succeeded"]
    assert {(one["place"], one["name"]) for one in removed} == {
        (place, names[days]) for place in ("here", stocked.url) for days in (20, 30)
    }
    assert [approval["how"] for approval in story["approvals"]] == ["--yes"]
    again = stocked.guard("backup", "prune", "--yes")["data"]
    assert again["removals"] == []
    # What was removed on purpose is not missed, what vanished is.
    assert stocked.guard("backup", "verify", "--all", "--quick", "--remote")["ok"] is True
    shutil.rmtree(stocked.place / names[10])
    [missing] = stocked.guard("backup", "verify", "--all", "--quick", "--remote", ends=3)["error"]["reasons"]
    assert f"the copy {names[10]} is missing" in missing


@pytest.mark.parametrize(
    ("words", "here", "there"), [(("--local",), 2, 3), (("--target",), 3, 2)], ids=["here", "there"]
)
def test_prune_can_be_kept_to_one_place(stocked: Stocked, words: tuple[str, ...], here: int, there: int) -> None:
    for days in (10, 20, 30):
        stocked.made(days)
    asked = (*words, stocked.url) if words == ("--target",) else words
    stocked.guard("backup", "prune", "--yes", *asked)
    assert (len(stocked.here()), len(stocked.there())) == (here, there)


def test_the_last_proven_bundle_that_is_whole_outlives_every_rule(stocked: Stocked) -> None:
    stocked.keep_days, stocked.keep_last = 1, 1
    good, spoiled = stocked.made(40), stocked.made(30)
    gone = stocked.made(50)
    failed = [stocked.made(days, proven=False, copied=False).name for days in (2, 3)]
    (spoiled.path / "snapshot.db").write_bytes(b"spoiled")
    stocked.guard("backup", "prune", "--yes", "--local")
    assert good.name in stocked.here()
    assert stocked.here().isdisjoint({gone.name, *failed})


def test_what_an_open_run_needs_is_not_removed(stocked: Stocked) -> None:
    stocked.made(1)
    stocked.made(2)
    needed = stocked.made(30, kind=Kind.UPGRADE, open_=True)
    plan = stocked.guard("backup", "prune")["data"]
    assert plan["removals"] == []
    because = {one["name"]: one["because"] for one in plan["kept"] if one["place"] == "here"}
    assert because[needed.name] == ["upgrade run-30 is open and needs it"]


def test_a_bundle_of_somebody_else_at_the_target_is_left_alone(stocked: Stocked, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stocked.made(1)
    other = Stocked(tmp_path / "other", keep_last=1)
    foreign = other.made(300).name
    shutil.copytree(other.place / foreign, stocked.place / foreign)
    plan = stocked.guard("backup", "prune", "--yes")["data"]
    assert foreign in stocked.there()
    assert (stocked.url, foreign, ["this journal does not know it; whoever made it removes it"]) in [
        (one["place"], one["name"], one["because"]) for one in plan["kept"]
    ]


def test_a_target_that_does_not_answer_is_told_and_the_rest_is_done(stocked: Stocked) -> None:
    for days in (10, 20, 30):
        stocked.made(days)
    stocked.place.parent.rename(stocked.directory / "unmounted")
    answer = stocked.guard("backup", "prune", "--yes", ends=4)
    assert len(stocked.here()) == 2
    assert stocked.url in answer["error"]["reasons"][0]
    assert answer["data"]["outcome"] == "completed"


def test_two_at_once_are_one_too_many(stocked: Stocked) -> None:
    stocked.made(30)
    with RunLock(stocked.state_dir / "run.lock", command="upgrade-guard backup prune"):
        for words in (
            ("backup", "prune", "--yes"),
            ("backup", "create"),
            ("backup", "copy", next(iter(stocked.here()))),
        ):
            answer = stocked.guard(*words, ends=5)
            assert answer["error"]["code"] == "locked", words


def test_a_bundle_is_copied_again_without_its_cluster(stocked: Stocked, tmp_path: Path) -> None:
    bundle = stocked.made(3, copied=False)
    answer = stocked.guard("backup", "copy", bundle.name, "--to", f"file://{tmp_path / 'usb'}")["data"]
    assert (answer["kind"], answer["outcome"]) == ("copy", "completed")
    assert [copy["read_back"] for copy in answer["copies"]] == [True]
    assert (tmp_path / "usb" / bundle.name / "manifest.json").read_bytes() == (
        bundle.path / "manifest.json"
    ).read_bytes()
    assert stocked.guard("backup", "list")["data"]["places"][0]["bundles"][0]["copies"][0]["read_back"] is True


def test_a_target_that_cannot_take_it_ends_the_copy_as_failed(stocked: Stocked, tmp_path: Path) -> None:
    bundle = stocked.made(3, copied=False)
    (tmp_path / "usb").write_text("a file")
    answer = stocked.guard("backup", "copy", bundle.name, "--to", f"file://{tmp_path / 'usb'}", ends=4)
    assert "upgrade-guard resume" not in answer["error"]["hint"]
    [run] = stocked.guard("history", "--kind", "copy")["data"]
    assert run["outcome"] == "failed"


# Killed at every call that changes a directory: what is listed is whole, and the next pruning ends what this one began.

KILLED = """
import os, signal, sys

CHANGES = {"os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
count, limit, places = 0, int(sys.argv[1]), sys.argv[2].split(",")
sys.argv[1:] = sys.argv[3:]

def die(event, args):
    global count
    if event in CHANGES and str(args[0]).startswith(tuple(places)):
        count += 1
        if count == limit:
            os.kill(os.getpid(), signal.SIGKILL)

from upgrade_guard.cli.main import main
sys.addaudithook(die)
main()
"""


def test_a_pruning_that_is_killed_anywhere_is_finished_by_the_next(tmp_path: Path) -> None:
    deaths = 0
    while True:
        stocked = Stocked(tmp_path / str(deaths))
        stocked.directory.mkdir()
        kept = {stocked.made(days).name for days in (1, 2)}
        stocked.made(30)
        limit = deaths + 1
        places = f"{stocked.vault.path},{stocked.place}"
        words = (
            "--config",
            str(stocked.configure()),
            "--state-dir",
            str(stocked.state_dir),
            "backup",
            "prune",
            "--yes",
        )
        ended = subprocess.run(
            [sys.executable, "-c", KILLED, str(limit), places, *words],
            env={**os.environ, "PYTHONPATH": str(TESTS), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        deaths += 1
        for place in stocked.guard("backup", "list", "--remote")["data"]["places"]:
            assert kept <= {one["name"] for one in place["bundles"]}
        assert stocked.guard("backup", "verify", "--all", "--quick")["ok"] is True
        stocked.guard("backup", "prune", "--yes")
        assert stocked.here() == stocked.there() == kept
    assert deaths >= 3, "fewer deaths would mean that the points are no longer passed"
    assert stocked.here() == stocked.there() == kept


def rolled_back(stocked: Stocked, days: float) -> Path:
    """A rollback of so many days ago that moved etcd's data aside, on a node that is this machine."""
    aside = stocked.directory / "var" / f"etcd.upgrade-guard-rolled-{days:g}-old"
    (aside / "member").mkdir(parents=True)
    run_id, at = f"rolled-{days:g}", datetime.now(UTC) - timedelta(days=days)
    cluster = Cluster("lab", "v1.27.16", (Node("cp1", "control-plane", "", "v1.27.16"),), "1", "3.5.1", 1)
    work = stocked.directory / "work"
    (work / f"rollback-{run_id}").mkdir(parents=True)
    (work / "snapshots").mkdir(exist_ok=True)
    brought, last = work / f"rollback-{run_id}" / "snapshot.db", work / "snapshots" / f"{run_id}-failed.db"
    brought.write_text("every Secret of the cluster")
    last.write_text("every Secret of the cluster")
    results = {
        "inspect/cluster": to_json(cluster),
        "rollback/cp1/evidence": {"snapshot": str(last)},
        "rollback/cp1/snapshot": {"path": str(brought)},
        "rollback/cp1/swap": {"aside": str(aside), "live": "/var/lib/etcd"},
        "keep/cp1/packages": {"why": ""},
        "stage/cp1/packages": {"directory": f"{work}-staged/{run_id}"},
        "rollback/cp1/stop-kubelet": {},
        "rollback/cp1/kubelet-restart": {},
        "rollback/cp1/files": {},
        "rollback/cp1/manifests": {},
    }
    stopped = stocked.directory / "kubernetes" / f"upgrade-guard-stopped-{run_id}"
    for one in (work / f"packages-{run_id}", Path(f"{work}-staged") / run_id, stopped):
        one.mkdir(parents=True)
        (one / "file").touch()
    (work / f"kubelet-restarted-{run_id}").touch()
    replaced = work / f"aside-{run_id}" / "etc" / "kubernetes"
    replaced.mkdir(parents=True)
    (replaced / "admin.conf").write_text("a key that rules the cluster")
    with stocked.journal(at) as journal:
        stocked.begin(journal, run_id, Kind.UPGRADE)
        for name, result in results.items():
            attempt = journal.start(run_id, Step(name, name, lambda _: Done(), lambda _: None))
            journal.conclude(run_id, name, attempt, Outcome.SUCCEEDED, result=result)
        journal.move(run_id, Move(Event.ROLLBACK_CONFIRMED, State.ROLLED_BACK))
    return aside


def test_old_data_that_was_moved_aside_goes_only_when_asked_for(stocked: Stocked) -> None:
    work, kubernetes = stocked.directory / "work", stocked.directory / "kubernetes"
    stocked.more = f'[nodes.cp1]\naddress = "local"\nwork_dir = "{work}"\nkubernetes_dir = "{kubernetes}"\n'
    stocked.made(1)
    old, young = rolled_back(stocked, 30), rolled_back(stocked, 2)
    snapshots = (work / "snapshots" / "rolled-30-failed.db", work / "rollback-rolled-30")
    assert "backup prune --yes --aside" in stocked.invoke("backup", "prune", "--aside").stdout
    told = stocked.invoke("backup", "prune").stdout
    assert f"aside   {old} on cp1, moved aside by run rolled-30" in told
    for one in snapshots:
        assert f"aside   {one} on cp1, a snapshot left by run rolled-30" in told
    assert told.count(f"aside   {work}/aside-rolled-30 on cp1, files moved aside by run rolled-30") == 1
    assert stocked.guard("backup", "prune", "--yes")["data"]["removals"] == []
    assert old.exists()
    done = stocked.guard("backup", "prune", "--yes", "--aside")["data"]
    packages = (work / "packages-rolled-30", Path(f"{work}-staged") / "rolled-30")
    notes = (kubernetes / "upgrade-guard-stopped-rolled-30", work / "kubelet-restarted-rolled-30")
    gone = {*snapshots, old, work / "aside-rolled-30", *packages, *notes}
    assert {(one["place"], one["name"]) for one in done["removals"]} == {("cp1", str(one)) for one in gone}
    assert not any(one.exists() for one in gone)
    assert young.exists()
    assert (work / "rollback-rolled-2" / "snapshot.db").exists()
    assert (work / "aside-rolled-2" / "etc" / "kubernetes" / "admin.conf").exists()
    assert (work / "snapshots" / "rolled-2-failed.db").exists()
