"""What is done with copies that are at a target: list, fetch, check, remove."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from unit.vault.builds import TAKEN_AT, made_up_manifest, published, snapshot_bytes
from unit.vault.media import quiet

from upgrade_guard.errors import GuardError, Refused, UsageProblem
from upgrade_guard.vault.bundle import Bundle, Vault, examine
from upgrade_guard.vault.targets import Target


def test_copies_are_listed_oldest_first_and_say_what_they_are(
    bundle: Bundle, target: Target, tmp_path: Path, place: Path
) -> None:
    assert target.listing().copies == ()
    older = published(
        Vault(tmp_path / "vault"), made_up_manifest("r0", cluster="x", taken_at=TAKEN_AT - timedelta(days=1))
    )
    for one in (bundle, older):
        target.copy(one, quiet)
    for left_behind in ("lab-1-r9.part", "lab-1-r8.differs-1", "notes", ".hidden"):
        (place / left_behind).mkdir()
        (place / left_behind / "snapshot.db").write_bytes(b"x")
    (place / "lab-1-r8.differs-1" / "manifest.json").write_text("{}")
    (place / "lab-1-r7").symlink_to(place / bundle.name)
    (place / "a file").write_text("x")

    listing = target.listing()

    assert listing.problems == ()
    assert [copy.name for copy in listing.copies] == [older.name, bundle.name]
    last = listing.copies[-1]
    assert (last.cluster, last.run_id, last.taken_at, last.revision) == ("lab", "r1", TAKEN_AT, 52)
    assert last.snapshot_sha256 == bundle.snapshot_sha256
    assert last.manifest_sha256 == bundle.manifest_sha256
    assert last.size == bundle.size + bundle.manifest_size
    assert target.manifest(bundle.name) == bundle.manifest


def test_a_target_that_is_not_there_has_no_empty_listing(target: Target, place: Path) -> None:
    place.parent.rmdir()
    with pytest.raises(GuardError) as failed:
        target.listing()
    assert str(place) in failed.value.message


def test_a_manifest_that_cannot_be_read_is_named(bundle: Bundle, target: Target, place: Path) -> None:
    target.copy(bundle, quiet)
    for name, content in {"b1": b"{", "b2": b"\xff\xfe", "b3": b'{"schema": 99}'}.items():
        (place / name).mkdir()
        (place / name / "manifest.json").write_bytes(content)

    listing = target.listing()

    assert [copy.name for copy in listing.copies] == [bundle.name]
    assert [problem.split(" of the copy ")[1].split()[0] for problem in listing.problems] == ["b1", "b2", "b3"]


def test_a_copy_is_fetched_into_an_empty_vault(bundle: Bundle, target: Target, tmp_path: Path) -> None:
    target.copy(bundle, quiet)
    vault = Vault(tmp_path / "another" / "vault")

    got = target.fetch(bundle.name, vault, quiet)

    assert got == replace(bundle, path=vault.path / bundle.name)
    assert examine(got) == ()
    assert (got.path.stat().st_mode & 0o777, got.snapshot.stat().st_mode & 0o777) == (0o700, 0o600)
    assert [path.name for path in vault.path.iterdir()] == [bundle.name]
    said: list[str] = []
    assert target.fetch(bundle.name, vault, said.append) == got
    assert said == []


def test_fetching_goes_on_where_it_was_cut_short(bundle: Bundle, target: Target, tmp_path: Path) -> None:
    target.copy(bundle, quiet)
    vault = Vault(tmp_path / "another")
    part = vault.path / f"{bundle.name}.part"
    part.mkdir(parents=True)
    (part / "files-cp1.tar.gz").write_bytes((bundle.path / "files-cp1.tar.gz").read_bytes())
    (part / "snapshot.db").write_bytes(bundle.snapshot.read_bytes()[:100])
    (part / "snapshot.db.part-1a2b").write_bytes(b"x")
    said: list[str] = []

    assert examine(target.fetch(bundle.name, vault, said.append)) == ()
    assert [line.split()[0] for line in said] == ["snapshot.db"]


def test_a_damaged_copy_does_not_become_a_bundle(bundle: Bundle, target: Target, place: Path, tmp_path: Path) -> None:
    target.copy(bundle, quiet)
    (place / bundle.name / "snapshot.db").write_bytes(snapshot_bytes(4096))
    vault = Vault(tmp_path / "another")

    with pytest.raises(Refused, match=r"is damaged: snapshot\.db has 4128 bytes"):
        target.fetch(bundle.name, vault, quiet)
    assert vault.bundles() == ()
    (place / bundle.name / "snapshot.db").unlink()
    with pytest.raises(GuardError, match=r"snapshot\.db"):
        target.fetch(bundle.name, vault, quiet)
    assert vault.bundles() == ()


def test_another_bundle_of_that_name_is_not_replaced(bundle: Bundle, target: Target, tmp_path: Path) -> None:
    target.copy(bundle, quiet)
    vault = Vault(tmp_path / "another")
    other = published(vault, made_up_manifest(revision=53))

    with pytest.raises(Refused, match="its manifest is another one"):
        target.fetch(bundle.name, vault, quiet)
    assert examine(other) == ()


def edit(change: Callable[[dict], None]) -> Callable[[Path], None]:
    def edited(manifest: Path) -> None:
        raw = json.loads(manifest.read_text())
        change(raw)
        manifest.write_text(json.dumps(raw))

    return edited


HOSTILE: dict[str, Callable[[dict], object]] = {
    "names a file '../../x'": lambda raw: raw["files"].update({"../../x": raw["files"]["snapshot.db"]}),
    "names a file '/etc/passwd'": lambda raw: raw["files"].update({"/etc/passwd": raw["files"]["snapshot.db"]}),
    "names a file 'manifest.json'": lambda raw: raw["files"].update({"manifest.json": raw["files"]["snapshot.db"]}),
    "names a file '-rf'": lambda raw: raw["files"].update({"-rf": raw["files"]["snapshot.db"]}),
    "lacks 'snapshot.db'": lambda raw: raw["files"].pop("snapshot.db"),
    "lacks 'files-cp1.tar.gz'": lambda raw: raw["files"].pop("files-cp1.tar.gz"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_manifest_is_refused(bundle: Bundle, target: Target, place: Path, tmp_path: Path, what: str) -> None:
    target.copy(bundle, quiet)
    edit(HOSTILE[what])(place / bundle.name / "manifest.json")
    vault = Vault(tmp_path / "another")

    with pytest.raises(Refused, match=what):
        target.fetch(bundle.name, vault, quiet)
    assert not vault.path.exists()
    assert what in target.listing().problems[0]
    assert what in target.check(bundle.name)[0]


@pytest.mark.parametrize("name", ["../lab", "a/b", "", ".", "-rf", "x.part"])
def test_a_name_that_leads_elsewhere_is_refused(target: Target, tmp_path: Path, name: str) -> None:
    for call in (target.manifest, target.remove, target.check, target.holds):
        with pytest.raises(UsageProblem):
            call(name)
    with pytest.raises(UsageProblem):
        target.fetch(name, Vault(tmp_path / "v"), quiet)


def test_a_copy_is_checked_without_its_bundle(bundle: Bundle, target: Target, place: Path) -> None:
    target.copy(bundle, quiet)
    assert target.check(bundle.name) == ()

    content = bytearray((place / bundle.name / "snapshot.db").read_bytes())
    content[-1] ^= 1
    (place / bundle.name / "snapshot.db").write_bytes(content)

    assert "snapshot.db has another SHA-256" in target.check(bundle.name)[0]
    assert "there is no copy lab-x at" in target.check("lab-x")[0]


def test_a_removed_copy_is_gone_whatever_was_left(bundle: Bundle, target: Target, place: Path) -> None:
    target.copy(bundle, quiet)
    assert target.holds(bundle.name)

    target.remove(bundle.name)
    assert list(place.iterdir()) == []
    assert not target.holds(bundle.name)
    target.remove(bundle.name)

    (place / f"{bundle.name}.part").mkdir()
    (place / f"{bundle.name}.part" / "snapshot.db").write_bytes(b"half")
    assert target.holds(bundle.name)
    assert target.listing().copies == ()
    target.remove(bundle.name)
    assert os.listdir(place) == []
