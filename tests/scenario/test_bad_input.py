"""What an operator or a machine gets wrong: one clear error, a hint, the documented exit code, and nothing changed."""

from __future__ import annotations

import re
import shlex
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from scenario.prepared import QUICK
from scenario.stage import LONGEST_RUN, PROGRAM, TARGET, Answer, Stage

from upgrade_guard.journal import Journal
from upgrade_guard.lab import cluster


@pytest.fixture(scope="module")
def module_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A lab that nothing may change."""
    directory = tmp_path_factory.mktemp("untouched") / "lab"
    stage = Stage(cluster.up(directory, **QUICK))
    try:
        yield stage
    finally:
        stage.end_everything()
        cluster.down(directory)


@pytest.fixture
def untouched(module_stage: Stage) -> Iterator[Stage]:
    """The same; fails when a test left a mark on a node or a run open."""
    before = module_stage.truth()
    yield module_stage
    module_stage.end_everything()
    assert module_stage.truth() == before
    if module_stage.guard("status").data is not None:
        module_stage.guard("abort", "--yes")
    assert module_stage.truth() == before


def told(answer: Answer, code: str) -> None:
    """One error, of that kind, with a hint."""
    assert answer.error["code"] == code, answer
    assert answer.error["message"], answer
    assert answer.error["hint"], answer
    assert "Traceback" not in answer.stderr, answer


def variant(stage: Stage, path: Path, *replacements: tuple[str, str], more: str = "") -> tuple[str, str]:
    """The lab's configuration with other values, as words for the command line. Patterns must be found."""
    text = stage.lab.config_path.read_text()
    for pattern, replacement in replacements:
        text, count = re.subn(pattern, lambda _, new=replacement: new, text, flags=re.MULTILINE)
        assert count, pattern
    path.write_text(text + more)
    return "--config", str(path)


@pytest.mark.parametrize("version", ["abc", "1.28", "v1.28", "", "v1.28.0; reboot", "--", "v1.28.0-", "v01.2.3"])
def test_nonsense_is_no_version(untouched: Stage, version: str) -> None:
    before = untouched.rows("select id from runs")
    answer = untouched.guard("run", version, "--yes", ends=2)
    told(answer, "usage")
    assert untouched.rows("select id from runs") == before


@pytest.mark.parametrize(
    ("version", "reason"),
    [("v1.26.5", "older than the cluster"), ("v1.29.0", "skips")],
    ids=["a downgrade", "a skipped minor"],
)
def test_a_version_that_cannot_follow(untouched: Stage, version: str, reason: str) -> None:
    """It is refused before anything is inspected, and before there is a run."""
    before, runs = untouched.truth(), untouched.rows("select id from runs")
    for command in (("run", version, "--yes"), ("plan", version), ("check", version)):
        answer = untouched.guard(*command, ends=3)
        told(answer, "refused")
        assert reason in answer.error["message"], answer
    assert untouched.rows("select id from runs") == runs
    assert untouched.truth() == before


def test_the_version_that_every_node_has_is_nothing_to_do(untouched: Stage) -> None:
    before, runs = untouched.truth(), untouched.rows("select id from runs")
    assert untouched.guard("run", "v1.27.16", "--yes").data is None
    assert untouched.rows("select id from runs") == runs
    assert untouched.truth() == before


@pytest.mark.parametrize(
    ("pattern", "replacement", "says"),
    [
        (r"^drain_timeout = .*$", 'drain_timout = "15s"', "drain_timout"),
        (r"^drain_timeout = .*$", "drain_timeout = true", "drain_timeout"),
        (r"^drain_timeout = .*$", 'drain_timeout = "-5m"', "drain_timeout"),
        (r"^drain_timeout = .*$", 'on_node_failure = "shrug"', "rollback-node"),
        (r"^drain_timeout = .*$", "max_unavailable = 0", "max_unavailable"),
        (r"^offsite = .*$", 'offsite = ["ftp://nas/etcd"]', "offsite"),
        (r"^offsite = .*$", 'offsite = ["file:///mnt/nas"]\noffsite_required = 2', "offsite_required"),
        (r"^\[upgrade\]$", "[upgrad]", "upgrad"),
        (r"^state_dir = .*$", "state_dir = ", "TOML"),
    ],
)
def test_a_wrong_configuration(untouched: Stage, tmp_path: Path, pattern: str, replacement: str, says: str) -> None:
    words = variant(untouched, tmp_path / "config.toml", (pattern, replacement))
    for command in (("run", TARGET, "--yes"), ("status",), ("config", "show")):
        answer = untouched.guard(*command, *words, ends=2)
        told(answer, "usage")
        assert says in answer.error["message"] + answer.error["hint"], answer
        assert str(tmp_path / "config.toml") in answer.error["message"], answer


def test_no_offsite_target(untouched: Stage, tmp_path: Path) -> None:
    words = variant(untouched, tmp_path / "config.toml", (r"^offsite = .*$", ""))
    before = untouched.rows("select id from runs")
    answer = untouched.guard("run", TARGET, "--yes", *words, ends=2)
    told(answer, "usage")
    assert "--offsite" in answer.error["hint"]
    assert untouched.rows("select id from runs") == before


def test_nodes_that_cannot_be_reached(untouched: Stage, tmp_path: Path) -> None:
    """The first control plane, then a worker: port 1 refuses connections."""
    closed = '\n[ssh]\noptions = ["Port=1", "ConnectTimeout=5", "StrictHostKeyChecking=accept-new"]\n'
    first = (r"^control_plane = .*$", 'control_plane = "root@127.0.0.1"')
    at_first = (r'(?<=^\[nodes.cp1\]\n)address = "local"$', 'address = "root@127.0.0.1"')
    at_worker = (r'(?<=^\[nodes.w1\]\n)address = "local"$', 'address = "root@127.0.0.1"')
    words = variant(untouched, tmp_path / "first.toml", first, at_first, more=closed)
    answer = untouched.guard("run", TARGET, "--yes", *words, ends=4)
    told(answer, "host-unreachable")
    assert "127.0.0.1" in answer.error["message"], answer
    told(untouched.guard("check", *words, ends=4), "host-unreachable")
    words = variant(untouched, tmp_path / "worker.toml", at_worker, more=closed)
    answer = untouched.guard("resume", "--yes", *words, ends=3)
    told(answer, "refused")
    assert any("w1" in reason for reason in answer.error["reasons"]), answer
    assert answer.data["state"] == "started"


def test_a_state_directory_that_cannot_be_written(untouched: Stage, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/upgrade-guard")):
        answer = untouched.guard("run", TARGET, "--yes", "--state-dir", str(place), ends=3)
        told(answer, "journal")
        assert str(place) in answer.error["message"], answer
        assert "--state-dir" in answer.error["hint"], answer
    read_only = tmp_path / "read-only"
    answer = mounted(untouched, read_only, "ro,mode=700", "run", TARGET, "--yes", "--state-dir", str(read_only))
    assert answer.exit_code == 3, answer
    told(answer, "journal")
    assert "Read-only" in answer.error["message"], answer


def test_a_full_disk(untouched: Stage, tmp_path: Path) -> None:
    """Under the journal at once, and under the journal in the middle of an inspection."""
    place = tmp_path / "full"
    for size, exits in (("4k", (3,)), ("256k", (3, 4))):
        answer = mounted(untouched, place, f"size={size},mode=700", "run", TARGET, "--yes", "--state-dir", str(place))
        assert answer.exit_code in exits, answer
        assert answer.error["code"] != "bug", answer
        assert answer.error["hint"], answer
        assert re.search("full|[Nn]o space", answer.error["message"] + str(answer.error["reasons"])), answer
        assert "Traceback" not in answer.stderr, answer


def test_everything_that_stands_in_the_way_is_said_at_once(untouched: Stage, tmp_path: Path) -> None:
    """A vault without room, and an off-site target on the same disk: one refusal with both reasons."""
    vault, beside = tmp_path / "vault", untouched.lab.directory.parent / "beside"
    beside.mkdir(exist_ok=True)
    words = variant(
        untouched,
        tmp_path / "config.toml",
        (r"^offsite = .*$", f'offsite = ["file://{beside}"]'),
        (r"(?<=^\[vault\]\n)path = .*$", f'path = "{vault}"'),
    )
    answer = mounted(untouched, vault, "size=64k,mode=700", "run", "v1.28.0", "--yes", *words)
    assert answer.exit_code == 3, answer
    told(answer, "refused")
    reasons = " | ".join(answer.error["reasons"])
    assert "is not off-site" in reasons, answer
    assert str(vault) in reasons, answer
    assert list(beside.iterdir()) == []


def mounted(stage: Stage, place: Path, options: str, *words: str) -> Answer:
    """The command with a small file system of its own at `place`; nobody else sees that mount."""
    place.mkdir(exist_ok=True)
    mount = f"mount -t tmpfs -o {options} tmpfs {shlex.quote(str(place))}"
    ended = subprocess.run(
        (
            *("unshare", "--map-root-user", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"),
            *(str(PROGRAM), "--config", str(stage.lab.config_path), "--json", *words),
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_RUN,
    )
    return Answer(ended.returncode, ended.stdout, ended.stderr)


def test_a_journal_from_the_future(untouched: Stage, tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal.sqlite"
    Journal.open(path).close()
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("update alembic_version set version_num = '9999'")
    connection.close()
    before = path.read_bytes()
    for command in (
        ("run", TARGET, "--yes"),
        ("resume", "--yes"),
        ("rollback", "--yes"),
        ("abort", "--yes"),
        ("status",),
        ("history",),
        ("show",),
    ):
        answer = untouched.guard(*command, "--state-dir", str(path.parent), ends=3)
        told(answer, "journal")
        assert "newer" in answer.error["message"], answer
    assert path.read_bytes() == before


def test_commands_without_a_run_to_work_on(untouched: Stage, tmp_path: Path) -> None:
    elsewhere = ("--state-dir", str(tmp_path / "state"))
    assert untouched.guard("resume", *elsewhere).data is None
    assert untouched.guard("status", *elsewhere).data is None
    assert untouched.guard("history", *elsewhere).data == []
    told(untouched.guard("rollback", *elsewhere, ends=3), "refused")
    told(untouched.guard("abort", *elsewhere, ends=3), "refused")
    told(untouched.guard("show", *elsewhere, ends=2), "usage")
    assert not (tmp_path / "state").exists()
