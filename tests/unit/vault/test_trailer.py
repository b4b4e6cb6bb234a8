from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from unit.vault.builds import snapshot_bytes

from upgrade_guard.vault.trailer import check_trailer, read_snapshot

GOOD = snapshot_bytes()


def flipped(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


DAMAGES = {
    "empty": (b"", "snapshot.db is empty"),
    "byte flipped in a value": (flipped(GOOD, 5000), "does not match the SHA-256"),
    "byte flipped in the trailer": (flipped(GOOD, len(GOOD) - 1), "does not match the SHA-256"),
    "trailer cut off": (GOOD[:-32], "has no SHA-256 trailer"),
    "truncated": (GOOD[:-1000], "is cut short"),
    "truncated to a shape that fits": (GOOD[: 4096 + 32], "does not match the SHA-256"),
    "a text file": (b"hello\n", "not an etcd database"),
    "junk with a good digest": (bytes(512) + hashlib.sha256(bytes(512)).digest(), "not an etcd database"),
    "gzip": (b"\x1f\x8b\x08" + bytes(2000), "not an etcd database"),
    "digest alone": (hashlib.sha256(b"").digest(), "not an etcd database"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_has_its_own_sentence(tmp_path: Path, damage: str) -> None:
    content, sentence = DAMAGES[damage]
    path = tmp_path / "snapshot.db"
    path.write_bytes(content)

    (problem,) = check_trailer(path)

    assert sentence in problem


def test_a_good_file_has_no_problem_and_is_read_once_for_both_digests(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.db"
    path.write_bytes(GOOD)

    found = read_snapshot(path)

    assert found.problems == ()
    assert found.size == len(GOOD)
    assert found.sha256 == hashlib.sha256(GOOD).hexdigest()


def test_a_file_larger_than_one_piece(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.db"
    content = snapshot_bytes(3 * (1 << 20) + 512)
    path.write_bytes(content)

    assert check_trailer(path) == ()
    path.write_bytes(flipped(content, 2 * (1 << 20)))
    assert len(check_trailer(path)) == 1


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        check_trailer(tmp_path / "snapshot.db")
