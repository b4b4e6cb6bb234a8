"""What is there after a power cut: of the model itself, of a journal, and of what the vault writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from crash.power_cut import PowerLine, compiled

from upgrade_guard.journal import Journal

ANYTHING = """
import os
from pathlib import Path

def write(name, synced):
    with open(name, "w") as file:
        file.write(name)
        file.flush()
        if synced:
            os.fsync(file.fileno())

def sync(directory):
    handle = os.open(directory, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)

os.chdir(sys.argv[1])
write("both", True)
write("name", False)
Path("inside").mkdir()
write("inside/lost", True)
sync(".")
write("content", True)
Path("before").rename("after")
Path("removed").unlink()
write("again", True)
Path("again").write_text("never synced")
"""
JOURNAL = """
from pathlib import Path
from upgrade_guard.journal import Journal

journal = Journal.open(Path(sys.argv[1]) / "var" / "lib" / "state" / "journal.sqlite")
for number in range(3):
    journal.begin(
        run_id=f"run-{number}", cluster="lab", from_version="v1.27.16", target="v1.28.0", offsite_required=1,
        snapshot_max_age=1.0, settings={}, operator="o", host="h", tool_version="0",
    )
"""
NOTES = """
from pathlib import Path
from upgrade_guard.vault.disk import private_directories, write_synced

place = Path(sys.argv[1]) / "vault" / "run.part"
private_directories(place)
write_synced(place / "snapshot.json", b"first")
write_synced(place / "snapshot.json", b"second")
"""


STAGED = """
from pathlib import Path
from upgrade_guard.steps.snapshot import note_down
from upgrade_guard.vault.disk import private_directories

place = Path(sys.argv[1]) / "vault" / "run.part"
private_directories(place)
(place / "snapshot.db").write_bytes(b"what etcdctl wrote")
note_down(place / "snapshot.json", {"sha256": "..."}, of=place / "snapshot.db")
"""
COPIED = """
from pathlib import Path
from upgrade_guard.vault.disk import copy_synced, sync_directory

place = Path(sys.argv[1])
(place / "source").write_bytes(b"a snapshot")
copy_synced(place / "source", place / "copy")
sync_directory(place)  # what the medium does next, before it renames
"""
SCRATCH = """
from pathlib import Path
from upgrade_guard.vault.disk import private_directories, sync_directory
from upgrade_guard.vault.scratch_etcd import scratch_directory

scratch = Path(sys.argv[1]) / "scratch"
private_directories(scratch)
with scratch_directory(scratch):
    sync_directory(scratch)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("library"))


def cut_after(program: str, root: Path, library: Path) -> None:
    """Let a program do something in a directory, and then cut the power."""
    power = PowerLine(library, root.with_name("shadow"), (root,))
    code = f"import os, sys\n{program}\nos._exit(9)\n"
    ended = subprocess.run(
        (sys.executable, "-c", code, str(root)), env={**os.environ, **power.plugged()}, timeout=60, check=False
    )
    assert ended.returncode == 9
    power.cut()


def test_only_what_was_synced_is_there(tmp_path: Path, library: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for name in ("before", "removed", "again"):
        (root / name).write_text("from the start")

    cut_after(ANYTHING, root, library)

    there = {path.name: path.read_text() for path in root.iterdir() if path.is_file()}
    assert there == {
        "both": "both",
        "name": "",
        "before": "from the start",
        "removed": "from the start",
        "again": "again",
    }
    assert [path.name for path in root.rglob("*") if path.is_dir()] == ["inside"]
    assert list((root / "inside").iterdir()) == []


def test_what_a_new_journal_recorded_is_there(tmp_path: Path, library: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()

    cut_after(JOURNAL, root, library)

    journal = Journal.read(root / "var" / "lib" / "state" / "journal.sqlite")
    assert journal is not None, "the directory that the journal is in was not there"
    with journal:
        assert {run.id for run in journal.runs()} == {"run-0", "run-1", "run-2"}
        assert journal.verify() == ()


def test_what_the_vault_notes_is_there(tmp_path: Path, library: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()

    cut_after(NOTES, root, library)

    assert {str(path.relative_to(root)) for path in root.rglob("*")} == {
        "vault",
        "vault/run.part",
        "vault/run.part/snapshot.json",
    }
    assert (root / "vault/run.part/snapshot.json").read_bytes() == b"second"


def test_a_file_is_there_when_its_notes_are(tmp_path: Path, library: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()

    cut_after(STAGED, root, library)

    assert (root / "vault/run.part/snapshot.json").exists()
    assert (root / "vault/run.part/snapshot.db").read_bytes() == b"what etcdctl wrote"


def test_a_copy_has_its_content(tmp_path: Path, library: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()

    cut_after(COPIED, root, library)

    assert (root / "copy").read_bytes() == b"a snapshot"
    assert (root / "source").read_bytes() == b"", "it was never synced: the power line would not have noticed"


def test_a_scratch_directory_that_was_removed_does_not_come_back(tmp_path: Path, library: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()

    cut_after(SCRATCH, root, library)

    assert [path.name for path in (root / "scratch").iterdir() if path.name != "lock"] == []
