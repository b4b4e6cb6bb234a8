"""What is larger than anything of ours: it is refused with that reason, before it fills a disk or memory."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from unit.vault.builds import TAKEN_AT, made_up_manifest, published
from unit.vault.media import quiet

from upgrade_guard.errors import Refused, StepFailed
from upgrade_guard.vault.bundle import Bundle, Vault, examine
from upgrade_guard.vault.disk import copy_synced
from upgrade_guard.vault.encryption import Sealed, Unsealing
from upgrade_guard.vault.manifest import FileEntry, manifest_from_text
from upgrade_guard.vault.node_archive import MEMBER_LIMIT, read_archive, read_one
from upgrade_guard.vault.targets import Target

FAR_TOO_MUCH = 256 << 20  # bytes


def grow(path: Path, size: int = FAR_TOO_MUCH) -> None:
    """A file of that size that takes no room."""
    os.truncate(path, size)


def test_a_huge_manifest_at_a_target_is_refused_and_not_brought_here(
    bundle: Bundle, target: Target, place: Path, tmp_path: Path
) -> None:
    target.copy(bundle, quiet)
    grow(place / bundle.name / "manifest.json")
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match=r"manifest\.json of the copy .* is larger than 32 MiB"):
            target.manifest(bundle.name)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()
    listing = target.listing()
    assert listing.copies == ()
    assert "is larger than 32 MiB" in listing.problems[0]
    assert "is larger than 32 MiB" in target.check(bundle.name)[0]
    with pytest.raises(Refused, match="is larger than 32 MiB"):
        target.fetch(bundle.name, Vault(tmp_path / "other"), quiet)


def test_a_huge_description_in_the_way_of_a_copy_is_moved_aside(bundle: Bundle, target: Target, place: Path) -> None:
    target.copy(bundle, quiet)
    grow(place / bundle.name / "manifest.json")
    target.copy(bundle, quiet)
    assert target.read_back(bundle) == ()
    assert (place / f"{bundle.name}.differs-1" / "manifest.json").stat().st_size == FAR_TOO_MUCH


def test_a_file_that_grew_at_a_target_is_not_brought_whole(
    bundle: Bundle, target: Target, place: Path, tmp_path: Path
) -> None:
    target.copy(bundle, quiet)
    grow(place / bundle.name / "snapshot.db")
    assert "has 268435456 bytes instead of" in target.read_back(bundle)[0]
    other = Vault(tmp_path / "other")
    with suppress(Refused):  # an ssh target is asked for so many bytes, and these are the right ones
        assert examine(target.fetch(bundle.name, other, quiet)) == ()
    assert sum(path.stat().st_size for path in other.path.rglob("*") if path.is_file()) < 1 << 20


def test_an_encrypted_manifest_that_is_huge_is_not_brought() -> None:
    def get(file: str, entry: FileEntry, local: Path) -> None:
        pytest.fail(f"{file} was brought to {local}: {entry}")

    huge = FileEntry("a" * 64, 4 << 30)
    sealed = Sealed(
        "b1", "lab", "r1", TAKEN_AT, 1, "3", "1", "", "", 0, (), {"manifest.json.age": huge, "snapshot.db.age": huge}
    )
    with pytest.raises(Refused, match=r"manifest\.json\.age of the copy is larger than 32 MiB"):
        Unsealing(sealed, "/key", get, "the copy").manifest()


def test_no_more_is_copied_than_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "large").touch()
    grow(tmp_path / "large")
    assert copy_synced(tmp_path / "large", tmp_path / "copy", limit=1000).size < 4 << 20


def test_a_huge_manifest_in_the_vault_is_refused(bundle: Bundle) -> None:
    grow(bundle.path / "manifest.json")
    vault = Vault(bundle.path.parent)
    with pytest.raises(Refused, match="is larger than 32 MiB"):
        vault.bundle(bundle.name)
    assert "is larger than 32 MiB" in vault.unreadable()[0]


def test_a_manifest_that_could_not_be_read_again_is_not_published(tmp_path: Path) -> None:
    manifest = made_up_manifest(host="x" * (33 << 20))
    with pytest.raises(StepFailed, match="is larger than 32 MiB"):
        published(Vault(tmp_path / "vault"), manifest)


@pytest.mark.parametrize("of", ['"files":{%s}', '"members":[%s]'])
def test_a_manifest_with_a_million_misfits_is_refused_at_the_first(of: str) -> None:
    entries = ",".join(f'"{number}":0' if "{" in of else "{}" for number in range(200_000))
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match="does not fit its schema"):
            manifest_from_text('{"schema":1,%s}' % (of % entries), "it")
        assert tracemalloc.get_traced_memory()[1] < 150 << 20
    finally:
        tracemalloc.stop()


def test_what_a_manifest_lacks_is_named() -> None:
    with pytest.raises(Refused, match="lacks 'cluster'"):
        manifest_from_text(json.dumps({"schema": 1}), "it")


def gzipped(path: Path, *pieces: bytes, times: int = 1, piece: bytes = b"") -> Path:
    with gzip.open(path, "wb", compresslevel=1) as archive:
        for one in pieces:
            archive.write(one)
        for _ in range(times):
            archive.write(piece)
    return path


def header(name: str, size: int, kind: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_header_of_an_archive_that_is_a_bomb_is_not_read(tmp_path: Path, kind: bytes) -> None:
    size = 200 << 20
    archive = gzipped(tmp_path / "a.tar.gz", header("x", size, kind), times=size >> 20, piece=bytes(1 << 20))
    assert archive.stat().st_size < 2 << 20
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match="a header of 200 MiB"):
            read_archive(archive)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_an_archive_of_too_many_members_is_refused(tmp_path: Path) -> None:
    blocks = (header(f"f{number}", 0, tarfile.REGTYPE) for number in range(MEMBER_LIMIT + 1))
    archive = gzipped(tmp_path / "a.tar.gz", *blocks, bytes(1024))
    with pytest.raises(Refused, match=f"it holds more than {MEMBER_LIMIT} files"):
        read_archive(archive)


@pytest.mark.parametrize("size", [5 << 30, 1 << 60])
def test_an_archive_of_too_much_content_is_refused(tmp_path: Path, size: int) -> None:
    archive = gzipped(tmp_path / "a.tar.gz", header("big", 0, tarfile.REGTYPE))
    info = tarfile.TarInfo("big")
    info.size = size
    gzipped(archive, info.tobuf(tarfile.GNU_FORMAT), bytes(1 << 20))
    with pytest.raises(Refused, match="more than 4096 MiB"):
        read_archive(archive)


def test_one_file_of_an_archive_is_not_read_when_it_is_large(tmp_path: Path) -> None:
    size = 40 << 20
    archive = gzipped(
        tmp_path / "a.tar.gz", header("big", size, tarfile.REGTYPE), times=size >> 20, piece=bytes(1 << 20)
    )
    with pytest.raises(Refused, match="'/big' is larger than 16 MiB"):
        read_one(archive, "/big")
