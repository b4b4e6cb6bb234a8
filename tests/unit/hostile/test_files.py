"""Files of this machine that somebody else may have written: archives, snapshots, locks, configurations."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.hostile.budget import tried
from unit.hostile.words import ANYTHING, LONG, MANIFESTS, ODD, TEXT

from upgrade_guard.config import load
from upgrade_guard.errors import LockHeld, Refused, StepFailed, UsageProblem
from upgrade_guard.journal import RunLock
from upgrade_guard.journal.export import audited_export
from upgrade_guard.vault.node_archive import read_archive, read_one
from upgrade_guard.vault.schedule import remembered
from upgrade_guard.vault.trailer import check_trailer

KINDS = (
    tarfile.REGTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.FIFOTYPE,
    tarfile.CONTTYPE,
    tarfile.GNUTYPE_SPARSE,
    b"X",
)
NAMES = st.sampled_from(("etc/a", "etc/a/b", "etc", "etc/link", *(word for word in ODD if len(word) < 90)))


def packed(members: list[tuple[str, bytes, str, bytes]]) -> bytes:
    """A gzipped tar of these members: name, kind, link, content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, link, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, link, len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def read_everything(path: Path) -> None:
    with suppress(Refused):
        archive = read_archive(path)
        for name in archive.files:
            assert name.startswith("/")
            assert ".." not in name.split("/")
    with suppress(Refused):
        read_one(path, "/etc/a")


@tried(150)
@given(
    members=st.lists(
        st.tuples(NAMES, st.sampled_from(KINDS), NAMES, st.sampled_from((b"", b"x", b"y" * 700))), max_size=5
    )
)
def test_archives_of_anything(tmp_path: Path, members: list[tuple[str, bytes, str, bytes]]) -> None:
    path = tmp_path / "files.tar.gz"
    with suppress(ValueError, UnicodeError):  # what tarfile itself does not write
        path.write_bytes(packed(members))
        read_everything(path)


GOOD = packed(
    [
        ("etc", tarfile.DIRTYPE, "", b""),
        ("etc/a", tarfile.REGTYPE, "", b"one" * 400),
        ("etc/hard", tarfile.LNKTYPE, "etc/a", b""),
        ("etc/" + "long" * 60, tarfile.REGTYPE, "", b"two"),
        ("etc/soft", tarfile.SYMTYPE, "a", b""),
    ]
)


@tried(200)
@given(at=st.integers(0, 10_000), by=st.binary(min_size=1, max_size=12), inside=st.booleans(), cut=st.booleans())
def test_archives_that_were_damaged(tmp_path: Path, at: int, by: bytes, inside: bool, cut: bool) -> None:
    """Damage in the compressed file, and in the tar within it, where a checksum no longer warns."""
    plain = gzip.decompress(GOOD) if inside else GOOD
    at %= len(plain)
    plain = plain[:at] if cut else plain[:at] + by + plain[at + len(by) :]
    path = tmp_path / "files.tar.gz"
    path.write_bytes(gzip.compress(plain, compresslevel=1) if inside else plain)
    read_everything(path)


def test_an_archive_that_claims_to_be_huge_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """A sparse file of 8 TiB fits into a few hundred bytes, and would be read for hours."""
    member = tarfile.TarInfo("etc/huge")
    member.type, member.size = tarfile.REGTYPE, 0
    member.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.name": "etc/huge",
        "GNU.sparse.size": str(1 << 43),
        "GNU.sparse.numblocks": "1",
        "GNU.sparse.map": "0,0",
    }
    path = tmp_path / "files.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member)
    with pytest.raises(Refused, match="sparse"):
        read_archive(path)


@pytest.mark.parametrize("content", [b"", b"\0" * 544, b"x" * 31, *(word.encode() for word in LONG[:3])])
def test_snapshots_of_anything_have_their_problems_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "snapshot.db"
    path.write_bytes(content)
    assert check_trailer(path)


@tried(60)
@given(content=TEXT | ANYTHING.map(json.dumps))
def test_a_lock_with_anything_in_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "state" / "run.lock"
    with RunLock(path):
        path.write_bytes(content.encode(errors="surrogatepass"))
        holder = RunLock.holder(path)
        assert holder is not None
        assert isinstance(holder.pid, int)
    with RunLock(path):  # what a dead process left inside is nobody's
        pass


def test_a_held_lock_with_rubbish_in_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with RunLock(path):
        for content in ("[" * 60_000, '{"pid": 1e999, "host": "", "started_at": "", "command": ""}', '{"pid": "x"}'):
            path.write_text(content)
            with pytest.raises(LockHeld):
                RunLock(path).acquire()


@tried(60)
@given(content=TEXT | ANYTHING.map(json.dumps))
def test_a_schedule_with_anything_in_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "schedule.json"
    path.write_bytes(content.encode(errors="surrogatepass"))
    with suppress(StepFailed):
        remembered(path)


KEYS = ("cluster", "ssh", "vault", "upgrade", "nodes", "backup", "state_dir", "lab")
TABLES = ("name", "control_plane", "options", "identity_file", "offsite", "keep_days", "path", "on_node_failure", "w1")


def toml(value: object) -> str:
    """JSON's scalars and lists are TOML's, but for null and for the spelling of tables."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(entry) for entry in value) + "]"
    return '""' if value is None else json.dumps(value)


def read_configuration(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with suppress(UsageProblem):
        load(path, {"HOME": "/root"}, is_root=True)


@tried(80)
@given(
    table=st.sampled_from(KEYS),
    entries=st.dictionaries(st.sampled_from(TABLES) | st.text(max_size=3), ANYTHING, max_size=3),
    top=st.none() | ANYTHING,
)
def test_configurations_of_anything(tmp_path: Path, table: str, entries: dict[str, object], top: object) -> None:
    text = f"{table} = {toml(entries if top is None else top)}\n"
    read_configuration(tmp_path / "config.toml", text.encode(errors="surrogatepass"))


@tried(40)
@given(content=TEXT)
def test_configurations_that_are_none(tmp_path: Path, content: str) -> None:
    read_configuration(tmp_path / "config.toml", content.encode(errors="surrogatepass"))


@pytest.mark.parametrize("write", [lambda word: word, lambda word: f"a = {word}", lambda word: f'a = "{word}"'])
def test_configurations_of_megabytes(tmp_path: Path, write: Callable[[str], str]) -> None:
    for word in (*LONG, *MANIFESTS):
        read_configuration(tmp_path / "config.toml", write(word).encode())


@pytest.mark.parametrize("value", ["1e999", "-1e999"])
def test_an_export_with_a_value_that_no_journal_writes(value: str) -> None:
    header = '{"head":"","rows":1,"run":null,"seq":1,"upgrade-guard-export":1}\n'
    row = f'{{"digest":"","row":["runs",{{"id":"r","previous":"","seq":1,"x":{value}}}]}}\n'
    audit = audited_export([header, row], "", lambda _, __: None)
    assert any("line 2" in breach.what for breach in audit.breaches)
