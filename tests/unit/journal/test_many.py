"""Several threads, several processes, and a process that dies."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

from unit.journal.making import MIDNIGHT, begun, command, done, step

from upgrade_guard.journal import Journal
from upgrade_guard.model.run import Outcome


def test_lanes_share_one_journal(journal: Journal) -> None:
    begun(journal)
    problems: list[BaseException] = []
    ready = threading.Barrier(4)

    def lane(name: str) -> None:
        try:
            ready.wait()
            for number in range(15):
                done(journal, f"nodes/{name}/{number}")
                journal.note(command())
                assert journal.facts("run-1").has(f"nodes/{name}/{number}")
        except BaseException as problem:  # noqa: BLE001
            problems.append(problem)

    threads = [threading.Thread(target=lane, args=(f"w{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(journal.facts("run-1").results) == 60
    assert journal.verify() == ()


WRITER = """
import sys
from pathlib import Path
from unit.journal.making import command
from upgrade_guard.journal import Journal
with Journal.open(Path(sys.argv[1])) as journal:
    for _ in range(20):
        journal.note(command())
"""


def test_processes_take_turns(path: Path, journal: Journal) -> None:
    begun(journal)
    writers = [started(WRITER, path) for _ in range(2)]
    for _ in range(20):
        journal.note(command())
    for writer in writers:
        assert writer.wait(60) == 0
    assert len(journal.commands("run-1")) == 60
    assert journal.verify() == ()


def test_processes_make_one_journal(path: Path) -> None:
    makers = [started("import sys\nfrom pathlib import Path\n" + MAKER, path) for _ in range(3)]
    assert [maker.wait(60) for maker in makers] == [0, 0, 0]
    with Journal.open(path) as journal:
        assert len(journal.runs()) == 3
        assert journal.verify() == ()


MAKER = """
import os
from unit.journal.making import begun
from upgrade_guard.journal import Journal
with Journal.open(Path(sys.argv[1])) as journal:
    begun(journal, f"run-{os.getpid()}")
"""

DYING = """
import os, signal, sys
from pathlib import Path
from unit.journal.making import begun, step
from upgrade_guard.journal import Journal
journal = Journal.open(Path(sys.argv[1]))
begun(journal)
journal.start("run-1", step("snapshot/save"))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_started_when_the_process_died_is_in_doubt(path: Path) -> None:
    assert started(DYING, path).wait(60) == -signal.SIGKILL
    # A look at it replays the log that the dead process left behind.
    reader = Journal.read(path)
    assert reader is not None
    with reader:
        in_doubt = reader.latest("run-1", "snapshot/save")
        assert in_doubt is not None
        assert (in_doubt.outcome, in_doubt.attempt) == (Outcome.STARTED, 1)
        assert reader.facts("run-1").touched("snapshot/save")
        assert not reader.facts("run-1").has("snapshot/save")
        assert reader.verify() == ()
    with Journal.open(path, lambda: MIDNIGHT) as again:
        assert again.start("run-1", step("snapshot/save")) == 2
        again.conclude("run-1", "snapshot/save", 2, Outcome.SUCCEEDED)
        assert again.facts("run-1").has("snapshot/save")


TORN = """
import os, signal, sys
from pathlib import Path
from unit.journal.making import MIDNIGHT, begun, snapshot, step
from upgrade_guard.journal import Journal
from upgrade_guard.journal.transaction import Transaction
from upgrade_guard.model.run import Event, Move, Outcome, State
journal = Journal.open(Path(sys.argv[1]))
begun(journal)
journal.start("run-1", step("snapshot/save"))
with journal._writing() as transaction:
    transaction.conclude("run-1", "snapshot/save", 1, Outcome.SUCCEEDED, MIDNIGHT, result={}, detail="",
                         records=(snapshot(),))
    transaction.move("run-1", Move(Event.SNAPSHOT_TAKEN, State.SNAPSHOTTED), MIDNIGHT)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_end_is_recorded_whole_or_not_at_all(path: Path) -> None:
    assert started(TORN, path).wait(60) == -signal.SIGKILL
    with Journal.open(path) as journal:
        in_doubt = journal.latest("run-1", "snapshot/save")
        assert in_doubt is not None
        assert in_doubt.outcome is Outcome.STARTED
        assert (journal.snapshots("run-1"), journal.transitions("run-1"), journal.verify()) == ((), (), ())


def started(code: str, path: Path) -> subprocess.Popen[bytes]:
    tests = Path(__file__).parents[2]
    return subprocess.Popen([sys.executable, "-W", "error", "-c", code, str(path)], cwd=tests)
