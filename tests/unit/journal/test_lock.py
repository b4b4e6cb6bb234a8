"""One run at a time."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from unit.journal.making import MIDNIGHT

from upgrade_guard.errors import ExitCode, JournalProblem, LockHeld
from upgrade_guard.journal import Holder, RunLock


@pytest.fixture
def lock_path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "run.lock"


def test_whoever_comes_second_learns_who_was_first(lock_path: Path) -> None:
    first = RunLock(lock_path, command="upgrade-guard run v1.28.0", now=lambda: MIDNIGHT)
    with first, pytest.raises(LockHeld) as held, RunLock(lock_path):
        pass
    assert held.value.exit_code is ExitCode.LOCKED
    for said in (str(os.getpid()), socket.gethostname(), "2024-05-01T00:00:00+00:00", "upgrade-guard run v1.28.0"):
        assert said in held.value.message
    assert "upgrade-guard status" in held.value.hint


def test_it_can_be_taken_again(lock_path: Path) -> None:
    for _ in range(2):
        with RunLock(lock_path):
            assert RunLock.holder(lock_path) is not None
        assert RunLock.holder(lock_path) is None


def test_a_look_names_the_holder_and_makes_nothing(lock_path: Path) -> None:
    assert RunLock.holder(lock_path) is None
    assert not lock_path.parent.exists()
    with RunLock(lock_path, command="upgrade-guard resume", now=lambda: MIDNIGHT):
        assert RunLock.holder(lock_path) == Holder(
            pid=os.getpid(),
            host=socket.gethostname(),
            started_at="2024-05-01T00:00:00+00:00",
            command="upgrade-guard resume",
        )


def test_it_is_private(lock_path: Path) -> None:
    with RunLock(lock_path):
        assert stat.S_IMODE(lock_path.stat().st_mode) == 0o600
        assert stat.S_IMODE(lock_path.parent.stat().st_mode) == 0o700


def test_a_holder_that_died_holds_nothing(lock_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom upgrade_guard.journal import RunLock\n"
        "lock = RunLock(Path(sys.argv[1]), command='upgrade-guard run')\nlock.acquire()\n"
        "print('held', flush=True)\nsys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(lock_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockHeld, match=f"process {holder.pid} "), RunLock(lock_path):
            pass
        holder.send_signal(signal.SIGKILL)
    assert RunLock.holder(lock_path) is None
    with RunLock(lock_path):
        pass


def test_a_command_started_inside_does_not_keep_it(lock_path: Path) -> None:
    with RunLock(lock_path):
        sleeper = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        assert RunLock.holder(lock_path) is None
    finally:
        sleeper.communicate(b"")


def test_an_unreadable_name_is_no_obstacle(lock_path: Path) -> None:
    with RunLock(lock_path):
        lock_path.write_text("{")
        assert RunLock.holder(lock_path) == Holder()
        with pytest.raises(LockHeld, match="another process"), RunLock(lock_path):
            pass


def test_a_place_that_cannot_hold_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalProblem) as problem, RunLock(tmp_path / "file" / "run.lock"):
        pass
    assert str(tmp_path / "file") in problem.value.message
