"""A bundle that is exchanged for another one while a way back is under way, and pods that nobody put there."""

from __future__ import annotations

import io
import json
import signal
import tarfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from scenario.ends import OLD
from scenario.stage import Stage, changed

STRANGER = "stranger.yaml"
POD = b"apiVersion: v1\nkind: Pod\nmetadata: {name: stranger, namespace: kube-system}\nspec: {containers: []}\n"


def die_in(stage: Stage, step: str, *words: str) -> None:
    """kill -9 while that step is under way."""
    times = stage.outcomes(step).count("started") + 1
    going = stage.start(*words)
    stage.await_outcome(step, "started", going, times)
    going.send(signal.SIGKILL)
    assert going.wait().exit_code == -signal.SIGKILL


def bundle_of(stage: Stage) -> Path:
    [row] = stage.rows("select bundle from snapshots order by seq desc limit 1")
    return stage.lab.directory / "vault" / str(row["bundle"])


def exchange(bundle: Path, node: str = "cp1") -> Callable[[], None]:
    """A bundle that holds together and has one static pod more; what is returned puts the true one back."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    listing = manifest["node_files"][node]
    archive = bundle / listing["archive"]
    kept = {path: path.read_bytes() for path in (bundle / "manifest.json", archive)}
    path = f"{listing['manifests_dir']}/{STRANGER}"
    content = io.BytesIO()
    with tarfile.open(archive) as old, tarfile.open(fileobj=content, mode="w:gz") as new:
        for member in old:
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
        stranger = tarfile.TarInfo(path.lstrip("/"))
        stranger.size, stranger.mode = len(POD), 0o600
        new.addfile(stranger, io.BytesIO(POD))
    archive.write_bytes(content.getvalue())
    listing["present"].append(
        {
            "path": path,
            "kind": "file",
            "mode": 0o600,
            "uid": 0,
            "gid": 0,
            "sha256": sha256(POD).hexdigest(),
            "link_to": "",
        }
    )
    digest, size = sha256(archive.read_bytes()).hexdigest(), archive.stat().st_size
    manifest["files"][archive.name] = {"sha256": digest, "size": size}
    (bundle / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")

    def put_back() -> None:
        for one, was in kept.items():
            one.write_bytes(was)

    return put_back


def strangers(stage: Stage) -> list[Path]:
    """Where that pod is among the static pods of a node."""
    return [path for path in stage.lab.directory.glob(f"nodes/*/etc/kubernetes/**/{STRANGER}") if path.is_file()]


def test_a_rollback_takes_nothing_from_a_bundle_that_was_exchanged(copied_stage: Callable[..., Stage]) -> None:
    stage = copied_stage()
    stage.switch_on("apply-fails-after-etcd")
    die_in(stage, "rollback/cp1/evidence", "resume", "--yes")
    assert stage.outcomes("rollback/bundle") == ["started", "succeeded"]
    put_back = exchange(bundle_of(stage))

    answer = stage.guard("resume", ends=8)
    said = answer.error["message"] + " ".join(answer.error["reasons"])
    assert "is not the one that was published" in said, answer
    assert "resume" in answer.error["hint"], answer
    assert strangers(stage) == []
    assert "started" not in stage.outcomes("rollback/cp1/stop-kubelet"), "nothing was stopped for it"

    put_back()
    stage.guard("resume", ends=7)
    assert changed(stage.before, stage.truth()) == set()


def test_a_static_pod_that_was_not_there_before_is_no_way_back(copied_stage: Callable[..., Stage]) -> None:
    stage = copied_stage()
    stage.switch_on("apply-fails-after-etcd")
    die_in(stage, "rollback/watchers", "resume", "--yes")
    manifests = stage.lab.layout.kubernetes("cp1") / "manifests"
    (manifests / STRANGER).write_bytes(POD)

    answer = stage.guard("resume", ends=8)
    said = answer.error["message"] + " ".join(answer.error["reasons"])
    assert STRANGER in said, answer
    assert "cp1" in said, answer
    assert stage.guard("status").data["state"] == "rollback-failed"

    (manifests / STRANGER).unlink()
    stage.guard("resume", ends=7)
    assert stage.kubelet_versions() == dict.fromkeys(stage.lab.settings.names, OLD)


def test_a_restore_takes_nothing_from_a_bundle_that_was_exchanged(stage: Stage) -> None:
    before = stage.truth()
    bundle = stage.guard("backup", "create").data["bundle"]
    stage.bring_down()
    die_in(stage, "restore/cp1/snapshot", "restore", bundle, "--confirm-cluster", "lab")
    put_back = exchange(bundle_of(stage))

    answer = stage.guard("resume", ends=8)
    said = answer.error["message"] + " ".join(answer.error["reasons"])
    assert "is not the one that was published" in said, answer
    assert strangers(stage) == []

    put_back()
    stage.guard("resume")
    assert changed(before, stage.truth()) == set()
