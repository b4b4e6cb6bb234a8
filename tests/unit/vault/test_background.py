from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path

import pytest

from upgrade_guard.errors import StepFailed
from upgrade_guard.hosts.background import Background, running_with, start_background

STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


def until(condition, seconds: float = 20.0) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_it_runs_beside_us_in_a_session_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    word = f"--data-dir={tmp_path}"
    running = start_background((sys.executable, "-c", STUBBORN, word), log, tmp_path)
    try:
        until(lambda: "ready" in log.read_text())
        assert running.alive()
        assert running.exit_status() is None
        assert os.getsid(running.pid) == running.pid
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        assert [found.pid for found in running_with(word)] == [running.pid]
        assert running_with(word[:-1]) == ()  # a whole word, not a part of one
    finally:
        running.stop(grace=0.05)  # it ignores SIGTERM
    assert not running.alive()
    assert running.exit_status() == -9
    running.stop()


def test_what_another_process_started_can_be_ended_too(tmp_path: Path) -> None:
    running = start_background((sys.executable, "-c", STUBBORN, "x"), tmp_path / "log", tmp_path)
    stranger = Background(running.pid)
    assert stranger.alive()
    assert stranger.exit_status() is None

    stranger.stop(grace=0.0)

    assert not stranger.alive()
    until(lambda: not running.alive())


def test_its_environment_holds_nothing_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCD_DATA_DIR", "/elsewhere")
    log = tmp_path / "log"
    running = start_background((sys.executable, "-c", "import os; print(sorted(os.environ))"), log, tmp_path)
    until(lambda: not running.alive())
    assert "ETCD_DATA_DIR" not in log.read_text()
    assert "PATH" in log.read_text()


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="cannot be started") as failed:
        start_background((str(tmp_path / "none"),), tmp_path / "log", tmp_path)
    assert failed.value.hint


def test_a_number_that_nobody_has() -> None:
    gone = Background(2**22 + 1)
    assert not gone.alive()
    gone.stop()
