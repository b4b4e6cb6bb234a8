"""A backup, a drill of it, and what is known of both afterwards: with a real etcd and without asking the cluster."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyrage
from prometheus_client.parser import text_string_to_metric_families
from scenario.stage import Stage

HELD = {"namespaces", "nodes", "deployments", "daemonsets", "statefulsets", "pods", "secrets", "configmaps"}


def samples(stage: Stage) -> dict[str, float]:
    (path,) = (stage.lab.directory / "textfiles").glob("*.prom")
    return {
        one.name: one.value for family in text_string_to_metric_families(path.read_text()) for one in family.samples
    }


def left_behind(stage: Stage) -> list[str]:
    """What a drill must not leave: a restored etcd, a fetched copy, its notes."""
    state = stage.lab.directory / "state"
    return [str(path) for name in ("drill", "scratch") for path in (state / name).rglob("*") if path.name != "lock"]


def vault_of(stage: Stage) -> Path:
    return stage.lab.directory / "vault"


def test_a_backup_is_drilled_while_the_cluster_is_down(backed_up: Stage) -> None:
    stage = backed_up
    assert samples(stage)["upgrade_guard_backup_last_ok"] == 1
    assert "upgrade_guard_drill_last_ok" not in samples(stage)
    stage.lose_data()  # a drill has no need of the cluster

    drilled = stage.guard("backup", "drill").data

    assert (drilled["kind"], drilled["outcome"], drilled["cluster"]) == ("drill", "completed", "lab")
    assert set(drilled["counts"]) == HELD
    assert drilled["counts"]["nodes"] == 2
    assert drilled["counts"]["namespaces"] > 0
    assert drilled["restore_seconds"] > 0
    assert left_behind(stage) == []

    known = stage.guard("backup", "status").data
    assert known["last_drill"]["restore_seconds"] == drilled["restore_seconds"]
    assert known["last_proven"]["bundle"] == drilled["bundle"]
    assert samples(stage)["upgrade_guard_drill_last_restore_seconds"] == drilled["restore_seconds"]
    assert "Last drill: " in stage.guard("status", json_answer=False).stdout
    told = stage.guard("show", drilled["id"]).data
    assert [step["name"] for step in told["steps"] if step["outcome"] == "succeeded"] == ["drill/restore"]
    assert told["proofs"][0]["bundle"] == drilled["bundle"]
    assert [run["id"] for run in stage.guard("history", "--kind", "drill").data] == [drilled["id"]]


def test_a_copy_is_drilled_when_the_vault_is_lost(backed_up: Stage) -> None:
    stage = backed_up
    (copy,) = stage.rows("select target, bundle from copies")
    shutil.rmtree(vault_of(stage))

    refused = stage.guard("backup", "drill", ends=3).error
    assert "there is no bundle" in refused["message"]
    drilled = stage.guard("backup", "drill", "--remote", copy["target"]).data

    assert drilled["bundle"] == copy["bundle"]
    assert drilled["target"] == f"{copy['target']}/{copy['bundle']}"
    assert drilled["counts"]["nodes"] == 2
    assert left_behind(stage) == []
    assert not vault_of(stage).exists()  # a drill restores nothing but its own scratch


def test_an_encrypted_copy_comes_back_only_with_the_private_key(stage: Stage) -> None:
    identity = pyrage.x25519.Identity.generate()
    key = stage.lab.directory.parent / "key"
    key.write_text(f"{identity}\n")
    key.chmod(0o600)
    before = stage.lab.config_path.read_text()
    encrypted = before.replace("[vault]\n", f'[vault]\nrecipients = ["{identity.to_public()}"]\n')
    stage.lab.config_path.write_text(encrypted)
    stage.guard("backup", "create")
    (copy,) = stage.rows("select target from copies")

    refused = stage.guard("backup", "drill", "--remote", copy["target"], ends=3)
    assert "no private key is named" in refused.error["message"]
    stage.lab.config_path.write_text(encrypted.replace("[vault]\n", f'[vault]\nidentity_file = "{key}"\n'))
    drilled = stage.guard("backup", "drill", "--remote", copy["target"]).data

    assert drilled["counts"]["nodes"] == 2
    assert left_behind(stage) == []


def test_a_bundle_that_rotted_fails_its_drill_and_monitoring_hears_of_it(backed_up: Stage) -> None:
    stage = backed_up
    (snapshot,) = vault_of(stage).glob("*/snapshot.db")
    with snapshot.open("r+b") as file:
        file.seek(20_000)
        file.write(b"rot")

    failed = stage.guard("backup", "drill", ends=3)

    assert "does not restore: it failed at digest" in failed.error["message"]
    assert failed.data["outcome"] == "failed"
    assert stage.guard("backup", "status").data["last_drill"]["ok"] is False
    assert samples(stage)["upgrade_guard_drill_last_ok"] == 0
    assert left_behind(stage) == []


def test_etcds_programs_that_are_gone_are_asked_for(backed_up: Stage) -> None:
    stage = backed_up
    shutil.rmtree(stage.lab.directory / "state" / "etcd")

    refused = stage.guard("backup", "drill", ends=3).error

    assert "the programs of etcd" in refused["message"]
    assert "put etcd, etcdctl and etcdutl" in refused["hint"]
    assert stage.guard("history", "--kind", "drill").data == []  # it says nothing against the bundle


def test_a_drill_that_was_killed_is_closed_by_the_next(backed_up: Stage) -> None:
    stage = backed_up
    going = stage.start("backup", "drill")
    stage.await_outcome("drill/restore", "started", going)
    going.process.kill()
    going.wait()

    stage.guard("backup", "drill")

    drills = stage.guard("history", "--kind", "drill").data
    assert [run["outcome"] for run in drills] == ["completed", "aborted"]
    assert left_behind(stage) == []
