from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from unit.vault.builds import TOOLS, LiveEtcd, RealClock, live_etcd, manifest_for

from upgrade_guard.errors import HostUnreachable, Interrupted, LockHeld, Refused
from upgrade_guard.hosts.background import running_with
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.model.etcd import MemberHash
from upgrade_guard.model.run import ProofRecord
from upgrade_guard.vault.bundle import Bundle, Vault
from upgrade_guard.vault.proof import LEVELS, Expected, LocalEtcdTools, Proof, prove, room_lacking

MIB = 1 << 20


@pytest.fixture(scope="session")
def saved(etcd: LiveEtcd, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good snapshot of the live etcd."""
    path = tmp_path_factory.mktemp("saved") / "snapshot.db"
    etcd.etcdctl.snapshot_save(str(path))
    return path


@pytest.fixture
def snapshot(saved: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copy(saved, tmp_path / "snapshot.db"))


def expecting(etcd: LiveEtcd, **other: object) -> Expected:
    usual = Expected(etcd.etcdctl.revision(), etcd.cluster_id, etcd.hash_at)
    return replace(usual, **other)  # type: ignore[arg-type]


def proven(
    snapshot: Path | Bundle,
    expected: Expected,
    scratch: Path,
    tools: LocalEtcdTools = TOOLS,
    progress: Callable[[str], None] = lambda _: None,
) -> Proof:
    return prove(
        snapshot,
        expected=expected,
        tools=tools,
        host=LocalHost("here"),
        scratch=scratch,
        clock=RealClock(),
        progress=progress,
    )


def names(proof: Proof) -> tuple[str, ...]:
    return tuple(level.name for level in proof.levels)


def nothing_left(scratch: Path) -> bool:
    return [path.name for path in scratch.iterdir()] == ["lock"]


def test_a_good_snapshot_climbs_every_level(etcd: LiveEtcd, snapshot: Path, tmp_path: Path) -> None:
    said: list[str] = []
    scratch = tmp_path / "state" / "scratch"

    proof = proven(snapshot, expecting(etcd), scratch, progress=said.append)

    assert proof.ok, proof.message
    assert proof.message == ""
    assert names(proof) == LEVELS
    assert all(level.ok for level in proof.levels)
    assert proof.revision == etcd.etcdctl.revision()
    assert proof.hashkv == etcd.hash_at(proof.revision).hash
    assert proof.restore_seconds > 0
    assert len(said) == len(LEVELS)
    assert nothing_left(scratch)


def test_without_etcdutl_etcdctl_restores_as_in_images_of_3_4(etcd: LiveEtcd, snapshot: Path, tmp_path: Path) -> None:
    tools = LocalEtcdTools(TOOLS.etcd, TOOLS.etcdctl, None)
    proof = proven(snapshot, expecting(etcd), tmp_path / "scratch", tools=tools)
    assert proof.ok, proof.message
    assert names(proof) == LEVELS


def test_a_proof_becomes_a_record(etcd: LiveEtcd, snapshot: Path, tmp_path: Path) -> None:
    record = proven(snapshot, expecting(etcd), tmp_path / "scratch").record("lab-1")

    assert isinstance(record, ProofRecord)
    assert record.ok
    assert tuple(record.levels) == LEVELS
    assert record.levels["hashkv"]["restored"] == record.levels["hashkv"]["live"] == record.hashkv
    assert len(record.snapshot_sha256) == 64


def test_a_bundle_is_proven_with_everything_in_it(etcd: LiveEtcd, saved: Path, tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault")
    shutil.copy(saved, vault.staging("r1") / "snapshot.db")
    bundle = vault.publish(vault.staging("r1"), manifest_for(etcd, saved), "lab-1")

    proof = proven(bundle, expecting(etcd), tmp_path / "scratch")
    assert proof.ok, proof.message
    assert proof.snapshot_sha256 == bundle.snapshot_sha256

    other = proven(bundle, expecting(etcd, cluster_id="1"), tmp_path / "scratch")
    assert names(other) == ("digest",)
    assert f"belongs to etcd cluster {etcd.cluster_id}, not to 1" in other.message

    stated = replace(bundle, manifest=replace(bundle.manifest, revision=1))
    assert "its manifest says 1" in proven(stated, expecting(etcd), tmp_path / "scratch").message

    (bundle.path / "extra").write_text("x")
    extra = proven(bundle, expecting(etcd), tmp_path / "scratch")
    assert names(extra) == ("digest",)
    assert "'extra' does not belong to it" in extra.message


def flip(path: Path, position: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)
        file.seek(position)
        file.write(bytes([byte[0] ^ 1]))


def cut(path: Path, size: int) -> None:
    os.truncate(path, size)


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "flipped byte": (lambda path: flip(path, path.stat().st_size // 2), "does not match the SHA-256"),
    "flipped trailer": (lambda path: flip(path, path.stat().st_size - 1), "does not match the SHA-256"),
    "trailer cut": (lambda path: cut(path, path.stat().st_size - 32), "has no SHA-256 trailer"),
    "truncated": (lambda path: cut(path, path.stat().st_size // 3 + 1), "is cut short"),
    "empty": (lambda path: cut(path, 0), "is empty"),
    "gone": (lambda path: path.unlink(), "cannot be read: No such file or directory"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_snapshot_fails_at_its_digest(etcd: LiveEtcd, snapshot: Path, tmp_path: Path, damage: str) -> None:
    harm, sentence = DAMAGES[damage]
    harm(snapshot)

    proof = proven(snapshot, expecting(etcd), tmp_path / "scratch")

    assert not proof.ok
    assert not proof.retake
    assert names(proof) == ("digest",)
    assert sentence in proof.message
    assert "nothing could be brought back" in proof.message
    assert nothing_left(tmp_path / "scratch")


def resealed(path: Path) -> None:
    import hashlib

    content = path.read_bytes()[:-32]
    path.write_bytes(content + hashlib.sha256(content).digest())


def test_a_damaged_database_under_a_good_digest_fails_at_its_status(
    etcd: LiveEtcd, snapshot: Path, tmp_path: Path
) -> None:
    content = bytearray(snapshot.read_bytes())
    content[64 : len(content) - 32] = bytes(len(content) - 96)
    snapshot.write_bytes(content)
    resealed(snapshot)

    proof = proven(snapshot, expecting(etcd), tmp_path / "scratch")

    assert names(proof) == ("digest", "status")
    assert "etcdutl" in proof.message


def test_changed_content_under_a_good_digest_fails_at_its_hashkv(
    etcd: LiveEtcd, snapshot: Path, tmp_path: Path
) -> None:
    content = snapshot.read_bytes()
    assert content.count(b"value 7 ") >= 1
    snapshot.write_bytes(content.replace(b"value 7 ", b"VALUE 7 "))
    resealed(snapshot)

    proof = proven(snapshot, expecting(etcd), tmp_path / "scratch")

    assert names(proof) == LEVELS
    assert not proof.ok
    assert not proof.retake
    assert "the restored content has HashKV" in proof.message
    assert "other content than the cluster's" in proof.message


def test_the_hash_of_another_cluster_fails(etcd: LiveEtcd, snapshot: Path, tmp_path: Path) -> None:
    proof = proven(snapshot, expecting(etcd, live_hash=lambda at: MemberHash("x", 42, -1, at)), tmp_path / "scratch")

    assert names(proof) == LEVELS
    assert "the live member has 42" in proof.message
    assert nothing_left(tmp_path / "scratch")


def test_an_older_snapshot_would_lose_writes(etcd: LiveEtcd, snapshot: Path, tmp_path: Path) -> None:
    now = etcd.etcdctl.revision() + 5

    proof = proven(snapshot, expecting(etcd, revision_at_least=now), tmp_path / "scratch")

    assert names(proof)[-1] == "revision"
    assert f"the cluster was at {now} before it" in proof.message
    assert "lose writes" in proof.message


def test_compacted_before_the_comparison_means_take_it_again(etcd: LiveEtcd, snapshot: Path, tmp_path: Path) -> None:
    gone = proven(snapshot, expecting(etcd, live_hash=lambda _: None), tmp_path / "scratch")
    assert gone.retake
    assert not gone.ok
    assert names(gone) == ("digest", "status", "hashkv")
    assert "Nothing is wrong with the snapshot" in gone.message

    moved = proven(snapshot, expecting(etcd, live_hash=lambda at: MemberHash("x", 42, 7, at)), tmp_path / "scratch")
    assert moved.retake
    assert names(moved) == LEVELS
    assert "compacted between" in moved.message


def test_a_real_compaction_and_writes_meanwhile(tmp_path: Path) -> None:
    with live_etcd(tmp_path) as etcd:
        etcd.run("compaction", "10")
        snapshot = tmp_path / "snapshot.db"
        expected = expecting(etcd)
        etcd.etcdctl.snapshot_save(str(snapshot))
        etcd.run("put", "/registry/late", "written after the snapshot")

        assert proven(snapshot, expected, tmp_path / "scratch").ok  # the same compact revision on both sides
        etcd.run("compaction", "20")
        assert proven(snapshot, expected, tmp_path / "scratch").retake
        etcd.run("compaction", str(etcd.etcdctl.revision()))
        assert proven(snapshot, expected, tmp_path / "scratch").retake


def test_an_alarm_in_the_snapshot_fails(tmp_path: Path) -> None:
    import json
    import urllib.request

    with live_etcd(tmp_path, keys=3) as etcd:
        member = etcd.etcdctl.member_list()[0].id
        asked = json.dumps({"action": "ACTIVATE", "memberID": str(member), "alarm": "NOSPACE"}).encode()
        urllib.request.urlopen(f"{etcd.endpoint}/v3/maintenance/alarm", asked, timeout=10).close()
        snapshot = tmp_path / "snapshot.db"
        etcd.etcdctl.snapshot_save(str(snapshot))

        proof = proven(snapshot, expecting(etcd), tmp_path / "scratch")

    assert names(proof)[-1] == "start"
    assert "carries the alarm NOSPACE" in proof.message


def test_an_etcd_that_does_not_start(etcd: LiveEtcd, snapshot: Path, tmp_path: Path) -> None:
    broken = tmp_path / "etcd"
    broken.write_text("#!/usr/bin/sh\necho 'panic: no way' >&2\nexit 2\n")
    broken.chmod(0o755)

    proof = proven(snapshot, expecting(etcd), tmp_path / "scratch", replace(TOOLS, etcd=broken))

    assert names(proof)[-1] == "start"
    assert "etcd ended with status 2: panic: no way" in proof.message
    assert nothing_left(tmp_path / "scratch")


def test_tools_that_cannot_run(etcd: LiveEtcd, snapshot: Path, tmp_path: Path) -> None:
    no_etcd = proven(snapshot, expecting(etcd), tmp_path / "scratch", replace(TOOLS, etcd=tmp_path / "none"))
    assert names(no_etcd)[-1] == "start"
    assert "No such file or directory" in no_etcd.message
    no_etcdutl = proven(snapshot, expecting(etcd), tmp_path / "scratch", replace(TOOLS, etcdutl=tmp_path / "none"))
    assert names(no_etcdutl)[-1] == "status"


def test_what_the_live_side_raises_is_not_hidden_and_leaves_nothing(
    etcd: LiveEtcd, snapshot: Path, tmp_path: Path
) -> None:
    def unreachable(_: int) -> MemberHash:
        raise HostUnreachable("cp1 cannot be reached")

    with pytest.raises(HostUnreachable):
        proven(snapshot, expecting(etcd, live_hash=unreachable), tmp_path / "scratch")
    assert nothing_left(tmp_path / "scratch")


def test_an_interrupt_while_etcd_starts_leaves_nothing(etcd: LiveEtcd, snapshot: Path, tmp_path: Path) -> None:
    class Stopped(RealClock):
        def pause(self, seconds: float) -> None:
            raise Interrupted("stop was asked for")

    with pytest.raises(Interrupted):
        prove(
            snapshot,
            expected=expecting(etcd),
            tools=TOOLS,
            host=LocalHost("here"),
            scratch=tmp_path / "scratch",
            clock=Stopped(),
            progress=lambda _: None,
        )
    assert nothing_left(tmp_path / "scratch")


def test_room_is_looked_at_first() -> None:
    scratch = Path("/scratch")
    assert room_lacking(100 * MIB, 300 * MIB, 300 * MIB, scratch) == ()
    assert room_lacking(100 * MIB, 200 * MIB, 300 * MIB, scratch) == (
        "/scratch has 200 MiB free; the proof needs 262 MiB.",
    )
    assert len(room_lacking(100 * MIB, 200 * MIB, 200 * MIB, scratch)) == 2


def test_a_snapshot_that_no_disk_holds_is_refused_before_anything(etcd: LiveEtcd, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot.db"
    snapshot.touch()
    os.truncate(snapshot, 1 << 43)  # sparse

    with pytest.raises(Refused, match="no room") as refused:
        proven(snapshot, expecting(etcd), tmp_path / "scratch")
    assert len(refused.value.reasons) == 2
    assert nothing_left(tmp_path / "scratch")


def test_only_one_proof_at_a_time(etcd: LiveEtcd, snapshot: Path, tmp_path: Path) -> None:
    refused: list[LockHeld] = []

    def meanwhile(_: str) -> None:
        if not refused:
            with pytest.raises(LockHeld) as held:
                proven(snapshot, expecting(etcd), tmp_path / "scratch")
            refused.append(held.value)

    assert proven(snapshot, expecting(etcd), tmp_path / "scratch", progress=meanwhile).ok
    assert refused[0].hint


KILLED = """
import os, signal, sys
from pathlib import Path
from unit.vault.builds import TOOLS, RealClock
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.model.etcd import MemberHash
from upgrade_guard.vault.proof import Expected, prove

def die(text):
    if text.startswith("Comparing its revision"):
        os.kill(os.getpid(), signal.SIGKILL)

prove(Path(sys.argv[1]), expected=Expected(1, "1", lambda at: MemberHash("", 0, -1, at)), tools=TOOLS,
      host=LocalHost("here"), scratch=Path(sys.argv[2]), clock=RealClock(), progress=die)
"""


def test_what_a_killed_proof_left_is_ended_and_removed(etcd: LiveEtcd, snapshot: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    argv = (sys.executable, "-c", KILLED, str(snapshot), str(scratch))
    ended = subprocess.run(argv, env=environment, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    (leftover,) = scratch.glob("proof-*")
    (orphan,) = running_with(f"--data-dir={leftover / 'data'}")
    assert orphan.alive()

    assert proven(snapshot, expecting(etcd), scratch).ok

    assert not orphan.alive()
    assert nothing_left(scratch)


@pytest.mark.parametrize("long", [False, True])
def test_nobody_else_can_read_the_restored_secrets(etcd: LiveEtcd, snapshot: Path, tmp_path: Path, long: bool) -> None:
    """It listens on sockets in a 0700 directory; only where their path is too long for that, on loopback."""
    scratch = Path(tempfile.mkdtemp(prefix="ug-", dir="/tmp")) / ("x" * 90 if long else "x")
    seen: list[tuple[bool, int]] = []

    def look(doing: str) -> None:
        if doing.startswith("Comparing its revision"):
            (directory,) = scratch.glob("proof-*")
            sockets = [path for path in directory.iterdir() if path.is_socket()]
            seen.append((bool(sockets), stat.S_IMODE(directory.stat().st_mode)))

    try:
        assert proven(snapshot, expecting(etcd), scratch, progress=look).ok
    finally:
        shutil.rmtree(scratch.parent)
    assert seen == [(not long, 0o700)]


def test_an_etcd_that_cannot_listen_on_sockets_gets_ports(etcd: LiveEtcd, snapshot: Path, tmp_path: Path) -> None:
    picky = tmp_path / "etcd"
    picky.write_text(
        "#!/usr/bin/sh\n"
        'case "$*" in *unix:*) echo "{\\"level\\":\\"fatal\\",\\"msg\\":\\"unsupported unix:\\"}"; exit 1;; esac\n'
        f'exec {TOOLS.etcd} "$@"\n'
    )
    picky.chmod(0o755)
    scratch = Path(tempfile.mkdtemp(prefix="ug-", dir="/tmp"))
    try:
        proof = proven(snapshot, expecting(etcd), scratch, replace(TOOLS, etcd=picky))
    finally:
        shutil.rmtree(scratch)
    assert proof.ok, proof.message
