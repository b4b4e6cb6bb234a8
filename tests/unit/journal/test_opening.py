"""Where a journal may live, and what is said when it cannot be used."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from unit.journal.making import begun, by_hand, command, done, moved

from upgrade_guard.errors import ExitCode, JournalProblem
from upgrade_guard.journal import Journal
from upgrade_guard.journal.storage import file_system, refuse_network_file_system
from upgrade_guard.model.run import State

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /srv rw - nfs4 nas:/srv rw
31 30 254:1 / /srv/local\\040disk rw - xfs /dev/vdb rw
32 22 0:41 / /home rw - ext4 /dev/vdc rw
33 22 0:42 / /home rw - cifs //nas/home rw
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_private(path: Path) -> None:
    with Journal.open(path) as journal:
        begun(journal)
        assert mode(path.parent) == 0o700
        assert {file.name: mode(file) for file in path.parent.iterdir()} == {
            "journal.sqlite": 0o600,
            "journal.sqlite-wal": 0o600,
            "journal.sqlite-shm": 0o600,
        }


def test_rights_that_others_were_given_are_taken_away(path: Path) -> None:
    Journal.open(path).close()
    path.chmod(0o644)
    Journal.open(path).close()
    assert mode(path) == 0o600


def test_a_directory_that_everyone_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(JournalProblem, match="by everyone") as refused:
        Journal.open(tmp_path / "journal.sqlite")
    assert f"chmod 700 {tmp_path}" in refused.value.hint


def test_every_commit_is_written_through_to_the_disk(journal: Journal) -> None:
    with journal._store._engine.begin() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/var/lib/upgrade-guard", "ext4"),
        ("/srv/state", "nfs4"),
        ("/srvx", "ext4"),
        ("/srv/local disk/state", "xfs"),
        ("/home/ada", "cifs"),
    ],
)
def test_the_file_system_of_a_directory(directory: str, kind: str) -> None:
    assert file_system(Path(directory), MOUNTS) == kind


def test_network_file_systems_are_refused() -> None:
    with pytest.raises(JournalProblem, match="network file system") as refused:
        refuse_network_file_system(Path("/srv/state"), MOUNTS)
    assert "--state-dir" in refused.value.hint
    refuse_network_file_system(Path("/var/lib"), MOUNTS)


def test_reading_makes_nothing(tmp_path: Path) -> None:
    assert Journal.read(tmp_path / "none" / "journal.sqlite") is None
    (tmp_path / "empty").touch()
    assert Journal.read(tmp_path / "empty") is None
    with pytest.raises(JournalProblem, match="Not a directory"):
        Journal.read(tmp_path / "empty" / "journal.sqlite")
    assert [file.name for file in tmp_path.iterdir()] == ["empty"]


def test_reading_sees_what_a_living_writer_records(path: Path, journal: Journal) -> None:
    begun(journal)
    reader = Journal.read(path)
    assert reader is not None
    with reader:
        assert reader.run("run-1").state is State.STARTED
        journal.move("run-1", moved(State.INSPECTED))
        assert reader.run("run-1").state is State.INSPECTED


def test_reading_does_not_write(path: Path, journal: Journal) -> None:
    begun(journal)
    journal.close()
    before = path.read_bytes()
    reader = Journal.read(path)
    assert reader is not None
    with reader, pytest.raises(RuntimeError, match="to look at"):
        reader.note(command())
    assert path.read_bytes() == before


def test_reading_is_cheap() -> None:
    """`status` must not wait for SQLAlchemy, Alembic or cattrs."""
    code = (
        "import sys, upgrade_guard.journal; print([n for n in ('sqlalchemy', 'alembic', 'cattrs') if n in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60).stdout == b"[]\n"


def test_a_journal_that_was_closed_can_be_read_where_nothing_can_be_written(path: Path, journal: Journal) -> None:
    """A file system mounted read-only: SQLite cannot make the files beside the journal."""
    begun(journal)
    journal.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    # A directory in the way stands in for it: root ignores modes.
    path.with_name(path.name + "-shm").mkdir()
    reader = Journal.read(path)
    assert reader is not None
    with reader:
        assert reader.run("run-1").id == "run-1"


def test_a_journal_from_a_newer_version_is_left_alone(path: Path, journal: Journal) -> None:
    journal.close()
    by_hand(path, "UPDATE alembic_version SET version_num = '9999'")
    before = path.read_bytes()
    for opened in (Journal.open, Journal.read):
        with pytest.raises(JournalProblem, match="newer version") as refused:
            opened(path)
        assert refused.value.exit_code is ExitCode.REFUSED
        assert refused.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runs SET state = 'half-way'",
        "UPDATE transitions SET event = 'moon-rose'",
        "UPDATE steps SET outcome = 'pondered'",
    ],
)
def test_a_value_from_a_newer_version_is_not_guessed(path: Path, journal: Journal, statement: str) -> None:
    begun(journal)
    done(journal, "a", move=moved(State.INSPECTED))
    by_hand(path, statement)
    reader = Journal.read(path)
    assert reader is not None
    with reader:
        for asked in (journal, reader):
            with pytest.raises(JournalProblem, match="newer version"):
                (asked.run("run-1"), asked.transitions("run-1"), asked.facts("run-1"))
    if "runs" in statement:
        with pytest.raises(JournalProblem, match="newer version"):
            journal.move("run-1", moved(State.COMPLETED))


def test_another_database_is_not_a_journal(path: Path) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE cakes (name TEXT)")
    other.close()
    for opened in (Journal.open, Journal.read):
        with pytest.raises(JournalProblem, match="not a journal"):
            opened(path)


@pytest.mark.parametrize("content", [b"hello, world\n" * 1000, b"SQLite format 3\x00" + b"\xff" * 8192])
def test_a_file_that_is_no_database_is_not_a_journal(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    for opened in (Journal.open, Journal.read):
        with pytest.raises(JournalProblem) as problem:
            opened(path)
        assert str(path) in problem.value.message
        assert problem.value.hint
    assert path.read_bytes() == content


def test_a_damaged_journal_says_so(path: Path, journal: Journal) -> None:
    begun(journal)
    for number in range(50):
        done(journal, f"step-{number}")
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(JournalProblem) as problem:
        Journal.open(path)
    assert problem.value.hint


@pytest.mark.parametrize("spot", ["is-a-file/journal.sqlite", "is-a-directory"])
def test_a_place_that_cannot_hold_it_is_named(tmp_path: Path, spot: str) -> None:
    (tmp_path / "is-a-file").touch()
    (tmp_path / "is-a-directory").mkdir()
    with pytest.raises(JournalProblem) as problem:
        Journal.open(tmp_path / spot)
    assert str(tmp_path) in problem.value.message
    assert "--state-dir" in problem.value.hint


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / "journal.sqlite").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalProblem):
        Journal.open(tmp_path / "journal.sqlite")


def test_a_full_disk_loses_nothing(journal: Journal) -> None:
    begun(journal)
    before = journal.head()
    with journal._store._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalProblem, match="disk is full") as problem:
        for _ in range(1000):
            journal.note(command())
            before = journal.head()
    assert "df -h" in problem.value.hint
    with journal._store._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert journal.verify() == ()
    assert journal.head() == before
    journal.note(command())


def test_a_writer_that_does_not_let_go_is_named(path: Path, journal: Journal) -> None:
    begun(journal)
    with journal._store._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalProblem, match="another process") as problem:
        done(journal, "a")
    assert f"fuser -v {path}" in problem.value.hint
    assert journal.latest("run-1", "a") is None
    other.execute("ROLLBACK")
    other.close()
    done(journal, "a")
