from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from unit.vault.builds import TAKEN_AT, made_up_manifest, published, snapshot_bytes

from upgrade_guard.errors import Refused, StepFailed, UsageProblem
from upgrade_guard.vault.bundle import Vault, bundle_name, examine
from upgrade_guard.vault.manifest import NodeFile, NodeFiles, manifest_from_text, manifest_to_text

NAME = "lab-20261122T020000Z-r1"
LISTING = NodeFiles(
    "cp1",
    "files-cp1.tar.gz",
    "/etc/kubernetes/manifests",
    (
        NodeFile("/etc/kubernetes/admin.conf", "file", 0o600, 0, 0, "ab" * 32),
        NodeFile("/etc/kubernetes/pki", "link", 0o777, 0, 0, "", "/srv/pki"),
    ),
    absent=("/var/lib/kubelet/instance-config.yaml",),
    watched=("/etc/kubernetes",),
    packages={"kubeadm": "1.27.16-1.1"},
    holds=("kubeadm",),
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_manifest_reads_back_equal() -> None:
    manifest = made_up_manifest(node_files={"cp1": LISTING})

    assert manifest_from_text(manifest_to_text(manifest), "manifest.json") == manifest
    assert json.loads(manifest_to_text(manifest))["cluster_id"] == "14841639068965178418"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not a bundle manifest"),
        ("[]", "is not a bundle manifest"),
        ('{"schema": 2}', "newer upgrade-guard"),
        ('{"schema": "1"}', "newer upgrade-guard"),
        ('{"schema": 1}', "does not fit its schema"),
    ],
)
def test_a_manifest_that_cannot_be_used(text: str, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence) as refused:
        manifest_from_text(text, "manifest.json")
    assert refused.value.hint


def test_publish_makes_a_private_bundle_that_holds(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault")

    bundle = published(vault, made_up_manifest(node_files={"cp1": LISTING}))

    assert bundle.name == NAME
    assert examine(bundle) == ()
    assert sorted(path.name for path in bundle.path.iterdir()) == ["files-cp1.tar.gz", "manifest.json", "snapshot.db"]
    assert {mode(path) for path in bundle.path.iterdir()} == {0o600}
    assert mode(bundle.path) == 0o700
    assert mode(vault.path) == 0o700
    assert vault.bundles() == (bundle,)
    assert vault.bundle(NAME) == bundle
    assert bundle.manifest.files["snapshot.db"].size == len(snapshot_bytes())
    assert bundle.node_archive("cp1").read_bytes() == b"an archive\n"
    assert [path.name for path in vault.path.iterdir()] == [NAME]


def test_only_what_belongs_to_the_bundle_is_taken_from_the_staging(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    (vault.staging("r1") / "snapshot.json").write_text("{}")
    (vault.staging("r1") / "snapshot.db.part").write_text("cut short")

    bundle = published(vault)

    assert sorted(path.name for path in bundle.path.iterdir()) == ["manifest.json", "snapshot.db"]
    assert not (tmp_path / "r1.part").exists()


def test_publishing_again_changes_nothing(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    first = published(vault)
    again = vault.publish(vault.staging("r1"), made_up_manifest(revision=99), NAME)

    assert again == first
    assert vault.bundles() == (first,)


def test_a_bundle_of_another_run_is_not_overwritten(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    published(vault)

    with pytest.raises(Refused, match="of run r1 is already there"):
        vault.publish(vault.staging("r2"), made_up_manifest(run_id="r2"), NAME)
    assert vault.bundle(NAME).manifest.run_id == "r1"


def test_publish_refuses_to_leave_something_out(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    staging = vault.staging("r1")
    (staging / "snapshot.db").write_bytes(snapshot_bytes())

    with pytest.raises(StepFailed, match=r"files-cp1\.tar\.gz is missing"):
        vault.publish(staging, made_up_manifest(node_files={"cp1": LISTING}), NAME)
    assert vault.bundles() == ()
    assert (staging / "snapshot.db").exists()


def test_staging_is_the_same_after_a_resume_and_can_be_discarded(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault")
    (vault.staging("r1") / "snapshot.db").write_bytes(b"half")

    assert (vault.staging("r1") / "snapshot.db").read_bytes() == b"half"
    assert mode(vault.staging("r1")) == 0o700
    assert vault.bundles() == ()
    vault.discard_staging("r1")
    vault.discard_staging("r1")
    assert not any(vault.staging("r1").iterdir())


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-rf", ".hidden", "a b", "a\n", "a" * 201, "x.part"])
def test_hostile_names_are_refused(tmp_path: Path, name: str) -> None:
    vault = Vault(tmp_path)
    with pytest.raises(UsageProblem):
        vault.bundle(name)
    with pytest.raises(UsageProblem):
        vault.publish(vault.staging("r1"), made_up_manifest(), name)
    with pytest.raises(UsageProblem):
        vault.staging(name)


def test_a_cluster_name_that_does_not_belong_into_a_path() -> None:
    with pytest.raises(UsageProblem, match="cannot be the name of a bundle"):
        bundle_name("../etc", TAKEN_AT, "r1")


def test_what_is_not_a_bundle_is_not_listed(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    bundle = published(vault)
    (tmp_path / "no-manifest").mkdir()
    (tmp_path / "no-manifest" / "snapshot.db").write_bytes(snapshot_bytes())
    (tmp_path / "lab-20261122T030000Z-r9.part").mkdir()
    (tmp_path / "lab-20261122T030000Z-r9.part" / "manifest.json").write_text(manifest_to_text(made_up_manifest()))
    (tmp_path / "linked").symlink_to(bundle.path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text("{")

    assert vault.bundles() == (bundle,)
    assert ["broken" in problem for problem in vault.unreadable()] == [True]
    with pytest.raises(Refused, match="there is no bundle linked"):
        vault.bundle("linked")


def test_bundles_come_oldest_first_and_from_nowhere_none(tmp_path: Path) -> None:
    assert Vault(tmp_path / "nowhere").bundles() == ()
    vault = Vault(tmp_path / "vault")
    newer = published(vault, made_up_manifest("a2", taken_at=TAKEN_AT + timedelta(hours=1)))
    older = published(vault, made_up_manifest("z1"))

    assert vault.bundles() == (older, newer)


def test_examine_names_every_damage(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    bundle = published(vault, made_up_manifest(node_files={"cp1": LISTING}))
    archive, snapshot = bundle.path / "files-cp1.tar.gz", bundle.snapshot
    good = snapshot.read_bytes()

    snapshot.write_bytes(good[:5000] + b"X" + good[5001:])
    assert [one for one in examine(bundle) if "does not match the SHA-256" in one or "was changed" in one]
    snapshot.write_bytes(snapshot_bytes(4096))
    (problem,) = examine(bundle)
    assert problem == f"{NAME}: snapshot.db has 4128 bytes instead of {len(good)}"
    other = bytearray(snapshot_bytes(len(good) - 32))
    other[100] = 1  # intact in itself, and yet another file
    import hashlib

    snapshot.write_bytes(bytes(other[:-32]) + hashlib.sha256(other[:-32]).digest())
    (problem,) = examine(bundle)
    assert problem == f"{NAME}: snapshot.db was changed: its SHA-256 is not the one in manifest.json"
    snapshot.unlink()
    assert examine(bundle) == (f"{NAME}: snapshot.db is missing",)
    snapshot.symlink_to(archive)
    assert examine(bundle) == (f"{NAME}: snapshot.db is a symbolic link",)
    snapshot.unlink()
    snapshot.mkdir()
    assert examine(bundle) == (f"{NAME}: snapshot.db is not a regular file",)
    snapshot.rmdir()
    snapshot.write_bytes(good)
    (bundle.path / "extra").write_text("x")
    assert examine(bundle) == (f"{NAME}: 'extra' does not belong to it",)
    (bundle.path / "extra").unlink()
    (bundle.path / "manifest.json").write_text(manifest_to_text(replace(bundle.manifest, revision=1)))
    assert examine(bundle) == (f"{NAME}: manifest.json was changed",)


def test_a_vault_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "vault").write_text("a file")
    with pytest.raises(StepFailed, match="Making the vault failed") as failed:
        Vault(tmp_path / "vault").staging("r1")
    assert failed.value.hint


# Killed at every call that changes the directory: a whole bundle is left or none, and publishing again ends well.

KILLED = """
import os, signal, sys
from pathlib import Path
from unit.vault.builds import made_up_manifest
from upgrade_guard.vault.bundle import Vault
from upgrade_guard.vault.manifest import manifest_to_text

import upgrade_guard.model.codec

CHANGES = {"os.mkdir", "os.link", "os.chmod", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
count, limit, vault = 0, int(sys.argv[1]), Path(sys.argv[2])
manifest = made_up_manifest()
manifest_to_text(manifest)

def die(event, args):
    global count
    writes = event == "open" and isinstance(args[2], int) and args[2] & os.O_CREAT
    if (event in CHANGES or writes) and str(args[0]).startswith(("r1.part", str(vault))):
        count += 1
        if count == limit:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die)
Vault(vault).publish(vault / "r1.part", manifest, "lab-20261122T020000Z-r1")
"""


def test_killed_at_any_point_it_leaves_a_whole_bundle_or_none(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    killed_before, killed_after, limit = 0, 0, 0
    while True:
        limit += 1
        vault = Vault(tmp_path / str(limit))
        (vault.staging("r1") / "snapshot.db").write_bytes(snapshot_bytes())
        argv = (sys.executable, "-c", KILLED, str(limit), str(vault.path))
        ended = subprocess.run(argv, env=environment, timeout=60, check=False)
        if ended.returncode != -signal.SIGKILL:
            break
        for bundle in vault.bundles():
            killed_after += 1
            assert examine(bundle) == ()
        killed_before += not vault.bundles()

        bundle = vault.publish(vault.staging("r1"), made_up_manifest(), NAME)

        assert examine(bundle) == ()
        assert [path.name for path in vault.path.iterdir()] == [NAME]
    assert ended.returncode == 0
    assert killed_before >= 4
    assert killed_after >= 1


FULL = """
import errno, os, sys
from pathlib import Path
from unit.vault.builds import made_up_manifest
from upgrade_guard.errors import StepFailed
from upgrade_guard.vault.bundle import Vault
from upgrade_guard.vault.manifest import manifest_to_text

import upgrade_guard.model.codec

WRITES = {"os.mkdir", "os.link", "os.rename"}
count, limit, vault = 0, int(sys.argv[1]), Path(sys.argv[2])
manifest = made_up_manifest()
manifest_to_text(manifest)

def no_room(event, args):
    global count
    writes = event == "open" and isinstance(args[2], int) and args[2] & os.O_CREAT
    if (event in WRITES or writes) and str(args[0]).startswith(str(vault)):
        count += 1
        if count == limit:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(args[0]))

sys.addaudithook(no_room)
try:
    Vault(vault).publish(vault / "r1.part", manifest, "lab-20261122T020000Z-r1")
except StepFailed as failed:
    print(failed.message, failed.hint)
    sys.exit(4)
"""


def test_a_disk_that_is_full_at_any_write_leaves_a_whole_bundle_or_none(tmp_path: Path) -> None:
    """A file system without hard links copies, which is a write more."""
    refusals = 0
    for limit in range(1, 9):
        vault = Vault(tmp_path / str(limit))
        (vault.staging("r1") / "snapshot.db").write_bytes(snapshot_bytes())
        ended = subprocess.run(
            [sys.executable, "-c", FULL, str(limit), str(vault.path)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if ended.returncode == 0:  # past the last write, or one that can be done in another way
            assert [examine(bundle) for bundle in vault.bundles()] == [()]
            continue
        assert ended.returncode == 4, ended.stderr
        assert "No space left on device" in ended.stdout
        assert "Free space there" in ended.stdout
        refusals += 1
        assert vault.bundles() == ()
        assert (vault.staging("r1") / "snapshot.db").read_bytes() == snapshot_bytes()
        bundle = vault.publish(vault.staging("r1"), made_up_manifest(), NAME)
        assert examine(bundle) == ()
        assert {path.name for path in vault.path.iterdir()} == {NAME}
    assert refusals >= 3
