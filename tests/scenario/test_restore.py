"""A cluster that is down, or has lost its data, comes back from a bundle, also when its restore dies on the way."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pyrage
from scenario.ends import AFTER, BEFORE, OLD
from scenario.stage import Stage, changed

from upgrade_guard.journal import Journal
from upgrade_guard.lab.records import locked, read_record, write_record

NAMED = ("--confirm-cluster", "lab")


def back_up(stage: Stage) -> str:
    """A backup between two writes; the name of its bundle."""
    stage.put_key(BEFORE, "written before the backup")
    bundle = stage.guard("backup", "create").data["bundle"]
    stage.put_key(AFTER, "written after the backup")
    return str(bundle)


def assert_restored(stage: Stage, before: dict[str, object]) -> None:
    """Every node is as it was, the data is that of the bundle, everything runs, and no run is open."""
    assert changed(before, stage.truth()) == set()
    assert stage.key(BEFORE) == "written before the backup"
    assert stage.key(AFTER) is None
    assert stage.kubelet_versions() == dict.fromkeys(stage.lab.settings.names, OLD)
    assert stage.waiting_pods() == []
    assert stage.unschedulable() == set()
    assert stage.guard("status").data is None
    assert stage.guard("history").data[0]["outcome"] == "restored"


def die_while(stage: Stage, step: str, *words: str) -> None:
    """kill -9 while that step is under way."""
    times = stage.outcomes(step).count("started") + 1
    going = stage.start(*words)
    stage.await_outcome(step, "started", going, times)
    going.send(signal.SIGKILL)
    assert going.wait().exit_code == -signal.SIGKILL


def set_in_vault(stage: Stage, line: str) -> None:
    """One more line in [vault] of the configuration."""
    text = stage.lab.config_path.read_text()
    stage.lab.config_path.write_text(text.replace("[vault]\n", f"[vault]\n{line}\n"))


def test_a_control_plane_that_is_down_then_one_that_lost_everything(stage: Stage, tmp_path: Path) -> None:
    before = stage.truth()
    key = pyrage.x25519.Identity.generate()
    set_in_vault(stage, f'recipients = ["{key.to_public()}"]')
    bundle = back_up(stage)

    # Nobody is asked by a flag that says yes to everything, and no run is begun by what is refused.
    for words, code in ((("nothing", *NAMED), 3), ((bundle,), 6), ((bundle, "--yes"), 6)):
        stage.guard("restore", *words, ends=code)
    answer = stage.guard("restore", bundle, "--confirm-cluster", "prod", ends=6)
    assert "--confirm-cluster lab" in answer.error["hint"], answer
    assert stage.guard("history").data == []

    stage.bring_down()
    answer = stage.guard("restore", bundle, *NAMED)
    assert_restored(stage, before)
    assert answer.data["bundle"] == bundle
    assert (Path(answer.data["aside"]["cp1"]) / "member/snap/db").is_file(), "the old data is kept"
    story = stage.show()
    assert [move["to_state"] for move in story["transitions"]] == ["inspected", "rolling-back", "restored"]
    assert story["approvals"][0]["how"] == "--confirm-cluster"
    assert [proof["bundle"] for proof in story["proofs"]] == [bundle]

    # The disk is lost with etcd's data, Kubernetes' files and the vault; the encrypted off-site copy is all there is.
    # The process that restores dies again and again.
    stage.put_key(AFTER, "written after the first restore")
    stage.lose_data()
    layout = stage.lab.layout
    for lost in (layout.kubernetes("cp1"), layout.work("cp1"), layout.directory / "vault"):
        shutil.rmtree(lost)
    words = ("restore", f"file://{stage.lab.offsite}/{bundle}", *NAMED)
    answer = stage.guard(*words, ends=3)
    assert "identity_file" in answer.error["hint"], answer
    private = tmp_path / "key"
    private.touch(mode=0o600)
    private.write_text(f"{key}\n")
    set_in_vault(stage, f'identity_file = "{private}"')
    for step in ("restore/bundle", "restore/cp1/restore", "restore/cp1/swap"):
        die_while(stage, step, *words)
    assert stage.guard("status").data["state"] == "rolling-back"
    answer = stage.guard("rollback", *NAMED, ends=3)
    assert "resume" in answer.error["hint"], answer
    stage.guard("run", "v1.28.0", "--yes", ends=3)
    stage.guard("abort", "--yes", ends=3)
    for step in ("restore/cp1/manifests", "restore/w1/kubelet-restart"):
        die_while(stage, step, "resume")
    answer = stage.guard("resume")
    assert_restored(stage, before)
    assert answer.data["had_no_data"] == ["cp1"]
    assert answer.data["look_at_next"]
    journal = Journal.read(stage.journal)
    assert journal is not None
    with journal:
        assert journal.verify() == ()


def test_three_control_planes_of_which_one_lost_its_data(new_stage: Callable[..., Stage]) -> None:
    stage = new_stage(control_planes=3)
    before = stage.truth()
    bundle = back_up(stage)
    stage.lose_data("cp2")
    for node in ("cp1", "cp3"):
        stage.bring_down(node)
    answer = stage.guard("restore", bundle, *NAMED)
    assert_restored(stage, before)
    assert answer.data["had_no_data"] == ["cp2"]
    assert len(set(stage.hashes().values())) == 1


def test_what_does_not_fit_is_refused_before_anything_is_touched(stage: Stage) -> None:
    bundle = back_up(stage)
    layout, configuration = stage.lab.layout, stage.lab.config_path
    original = configuration.read_text()

    def refused(*expected: str, name: str = "lab") -> None:
        before = stage.truth()
        answer = stage.guard("restore", bundle, "--confirm-cluster", name, ends=3)
        said = answer.error["message"] + " ".join(answer.error["reasons"]) + answer.error["hint"]
        for text in expected:
            assert text in said, answer
        assert changed(before, stage.truth()) == set()
        assert stage.key(AFTER) == "written after the backup", "etcd goes on as before"
        assert not {"restore/cp1/stop-kubelet", "restore/cp1/swap"} & {
            row["name"] for row in stage.rows("select name from steps")
        }

    # Another node, another cluster's name, another cluster's authority, an etcd member that nobody knows of.
    configuration.write_text(original.replace('node = "cp1"', 'node = "w1"'))
    refused("has no files of the control plane", "w1")
    configuration.write_text(original)
    authority = layout.pki("cp1") / "etcd" / "ca.crt"
    kept = authority.read_bytes()
    authority.write_bytes(b"another authority")
    refused("belongs to another cluster", str(authority))
    authority.write_bytes(kept)

    # Packages of another version, and no program that could restore.
    record = read_record(layout, "cp1")
    with locked(layout.lock):
        record.packages = {**record.packages, "kubelet": "1.28.0-1.1"}
        images, record.images = record.images, [image for image in record.images if "/etcd:" not in image]
        write_record(layout, record)
    refused("kubelet=1.27.16-1.1", "apt-get install")
    for programs in (layout.directory / "state" / "etcd", layout.work("cp1") / "etcd"):
        shutil.rmtree(programs)
    refused("etcd's programs", "ctr -n k8s.io images pull")
    with locked(layout.lock):
        record = read_record(layout, "cp1")
        record.packages = {**record.packages, "kubelet": "1.27.16-1.1"}
        record.images = images
        write_record(layout, record)

    # A bundle that changed, with its manifest or without.
    vault = layout.directory / "vault" / bundle
    manifest = (vault / "manifest.json").read_text()
    (vault / "manifest.json").write_text(manifest.replace('"revision": ', '"revision": 1'))
    refused("is not the one that was published")
    (vault / "manifest.json").write_text(manifest)
    with (vault / "snapshot.db").open("r+b") as file:
        file.seek(5000)
        file.write(b"rot")
    refused("snapshot.db was changed", f"restore file://{stage.lab.offsite}/{bundle}")

    # The restore that was refused gives way to what is asked for next.
    stage.guard("abort", "--yes")
    assert stage.guard("status").data is None
