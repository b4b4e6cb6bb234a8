"""Every way to damage a bundle or a copy: found, said in its own words, not copied on; no gate opens."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from unit.cli.stocked import Stocked

from upgrade_guard.engine.gate import closed_because
from upgrade_guard.errors import Refused
from upgrade_guard.model.evidence import Evidence
from upgrade_guard.model.step import Facts
from upgrade_guard.steps.snapshot import problems_of
from upgrade_guard.vault.bundle import Bundle

# What is done to a bundle, given an older good one, and what is said of it.
Harm = Callable[[Path, Path], object]


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def swap(one: Path, other: Path) -> None:
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)


def linked(path: Path) -> None:
    path.rename(path.with_name("aside"))
    path.symlink_to("aside")


DAMAGES: dict[str, tuple[Harm, str]] = {
    "truncated": (lambda new, _: cut(new / "snapshot.db", 19999), "snapshot.db is cut short"),
    "emptied": (lambda new, _: cut(new / "snapshot.db", 0), "snapshot.db is empty"),
    "a bit flipped": (
        lambda new, _: flip(new / "snapshot.db", 9000),
        "does not match the SHA-256 in its last 32 bytes",
    ),
    "its trailer flipped": (lambda new, _: flip(new / "snapshot.db", -1), "does not match the SHA-256 in its last"),
    "its trailer cut off": (lambda new, _: cut(new / "snapshot.db", 8 * 4096), "has no SHA-256 trailer"),
    "not a database": (
        lambda new, _: (new / "snapshot.db").write_bytes(b"x" * 4128),
        "the bbolt magic number is missing",
    ),
    "the snapshot removed": (lambda new, _: (new / "snapshot.db").unlink(), "snapshot.db is missing"),
    "the snapshot a link": (lambda new, _: linked(new / "snapshot.db"), "snapshot.db is a symbolic link"),
    "the snapshot a directory": (
        lambda new, _: ((new / "snapshot.db").unlink(), (new / "snapshot.db").mkdir()),
        "snapshot.db is not a regular file",
    ),
    "two files swapped": (
        lambda new, _: swap(new / "snapshot.db", new / "files-cp1.tar.gz"),
        "files-cp1.tar.gz has 32800 bytes instead of 11",
    ),
    "an archive flipped": (lambda new, _: flip(new / "files-cp1.tar.gz", 3), "files-cp1.tar.gz was changed"),
    "an archive removed": (lambda new, _: (new / "files-cp1.tar.gz").unlink(), "files-cp1.tar.gz is missing"),
    "a file too many": (lambda new, _: (new / "extra").write_text("x"), "'extra' does not belong to it"),
    "the manifest of an older run": (
        lambda new, old: shutil.copy(old / "manifest.json", new / "manifest.json"),
        "manifest.json is not the one that was published",
    ),
    "the bundle of an older run": (
        lambda new, old: (shutil.rmtree(new), shutil.copytree(old, new)),
        "manifest.json is not the one that was published",
    ),
    "the manifest edited": (
        lambda new, _: (new / "manifest.json").write_text((new / "manifest.json").read_text().replace("52", "53")),
        "manifest.json is not the one that was published",
    ),
    "the manifest cut": (lambda new, _: cut(new / "manifest.json", 40), "is not a bundle manifest"),
    "the manifest of a newer version": (
        lambda new, _: (new / "manifest.json").write_text('{"schema": 99}'),
        "was written by a newer upgrade-guard",
    ),
    "the manifest no text": (lambda new, _: (new / "manifest.json").write_bytes(b"\xff\xfe"), "is not text"),
    "the manifest removed": (lambda new, _: (new / "manifest.json").unlink(), "there is no bundle"),
    "the manifest a link": (lambda new, _: linked(new / "manifest.json"), "there is no bundle"),
    "the bundle a link": (lambda new, _: linked(new), "there is no bundle"),
}


def gate_reasons(stocked: Stocked, bundle: Bundle) -> tuple[str, ...]:
    """Why the gate is closed for a run that took this snapshot, everything else being well."""
    facts = Facts("run-1", {"snapshot/publish": {"bundle": bundle.name, "manifest_sha256": bundle.manifest_sha256}})
    try:
        taken, problems = True, problems_of(stocked.vault.bundle(bundle.name), facts)
    except Refused as refused:
        taken, problems = False, (refused.message,)
    now = datetime.now(UTC)
    evidence = Evidence(
        now=now,
        snapshot_taken=taken,
        proof_succeeded=True,
        proven_at=now,
        max_age=1800,
        copies_read_back=1,
        copies_off_control_plane=1,
        copies_required=1,
        node_files_missing=(),
        snapshot_cluster_id="1",
        live_cluster_id="1",
        alarms=(),
        problems=problems,
    )
    return closed_because(evidence)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_bundle(tmp_path: Path, damage: str) -> None:
    stocked = Stocked(tmp_path, keep_days=1, keep_last=1)
    old, new = stocked.made(30), stocked.made(3)
    assert gate_reasons(stocked, new) == ()
    harm, sentence = DAMAGES[damage]
    harm(new.path, old.path)

    verified = stocked.guard("backup", "verify", new.name, "--quick", ends=3)["error"]
    assert sentence in " ".join((verified["message"], *verified["reasons"]))
    assert gate_reasons(stocked, new), "the gate would open"
    stocked.guard("backup", "copy", new.name, "--to", f"file://{tmp_path / 'usb'}", ends=3)
    assert not (tmp_path / "usb").exists()
    listed = stocked.guard("backup", "list")["data"]["places"][0]
    good = [one["name"] for one in listed["bundles"] if one["proven"] and one["name"] == old.name]
    assert good == [old.name]

    # The older one is the last good one now: no rule removes it, and its copies read back equal.
    stocked.guard("backup", "prune", "--yes", "--local", ends=4 if listed["problems"] else 0)
    assert old.name in stocked.here()
    assert stocked.guard("backup", "verify", old.name, "--quick")["data"][0]["ok"] is True
    assert stocked.there() == {old.name, new.name}


COPIES: dict[str, tuple[Harm, str]] = {
    "a file too many": (lambda new, _: (new / "extra").write_text("x"), "has 'extra', which does not belong to it"),
    "a bit flipped": (
        lambda new, _: flip(new / "snapshot.db", 9000),
        "snapshot.db has another SHA-256 than the bundle",
    ),
    "truncated": (lambda new, _: cut(new / "snapshot.db", 20000), "snapshot.db has 20000 bytes instead of 32800"),
    "emptied": (lambda new, _: cut(new / "snapshot.db", 0), "snapshot.db has 0 bytes instead of 32800"),
    "a file gone": (lambda new, _: (new / "files-cp1.tar.gz").unlink(), "lacks files-cp1.tar.gz"),
    "the snapshot a link": (lambda new, _: linked(new / "snapshot.db"), "snapshot.db is a symbolic link"),
    "an empty upload": (lambda new, _: (shutil.rmtree(new), new.mkdir()), "lacks snapshot.db"),
    "a partial upload": (lambda new, _: new.rename(new.with_name(f"{new.name}.part")), "is missing at file://"),
    "vanished": (lambda new, _: shutil.rmtree(new), "is missing at file://"),
    "the copy of an older run": (
        lambda new, old: (shutil.rmtree(new), shutil.copytree(old, new)),
        "differs: manifest.json has",
    ),
    "the manifest cut": (lambda new, _: cut(new / "manifest.json", 40), "manifest.json has 40 bytes instead of"),
    "the manifest removed": (lambda new, _: (new / "manifest.json").unlink(), "lacks manifest.json"),
}


@pytest.mark.parametrize("damage", COPIES)
def test_a_damaged_copy(tmp_path: Path, damage: str) -> None:
    stocked = Stocked(tmp_path, keep_days=1, keep_last=1)
    old, new = stocked.made(30), stocked.made(3)
    harm, sentence = COPIES[damage]
    harm(stocked.place / new.name, stocked.place / old.name)

    verified = stocked.guard("backup", "verify", "--all", "--quick", "--remote", ends=3)["error"]
    assert sentence in " ".join(verified["reasons"])

    # Pruning there leaves the older copy, which is the last good one; another copy makes it well again.
    stocked.guard("backup", "prune", "--yes", "--target", stocked.url, ends=4 if damage == "the manifest cut" else 0)
    assert old.name in stocked.there()
    stocked.guard("backup", "copy", new.name)
    assert stocked.guard("backup", "verify", new.name, "--quick", "--remote")["ok"] is True
