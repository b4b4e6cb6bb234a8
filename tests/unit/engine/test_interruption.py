"""Real signals, sent to a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from unit.engine.room import RUN, Room

from upgrade_guard.engine.interruption import Interruption, SystemClock
from upgrade_guard.errors import Interrupted
from upgrade_guard.model.run import Outcome, State

TESTS = Path(__file__).parents[2]
Process = subprocess.Popen[str]


@pytest.fixture
def run_apart(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def run(how: str, *before: str) -> Process:
        program = str(TESTS / "unit" / "engine" / "interrupted_run.py")
        process = subprocess.Popen(
            [*before, sys.executable, program, str(tmp_path), how],
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def heard(process: Process, line: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == line


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_lets_the_current_step_finish(
    run_apart: Callable[..., Process], tmp_path: Path, sent: signal.Signals
) -> None:
    process = run_apart("command")
    heard(process, "acting")
    process.send_signal(sent)
    heard(process, f"stopping {sent.name}")
    rest, _ = process.communicate("done\n", timeout=60)
    assert process.returncode == 130
    assert sent.name in rest
    with closing(Room(tmp_path)) as room:
        assert room.latest("control-plane/cp1/apply").outcome is Outcome.SUCCEEDED
        assert room.journal.latest(RUN, "control-plane/cp1/kubelet") is None
        assert room.go_on().state is State.COMPLETED


def test_the_second_signal_stops_at_once_and_says_what_is_in_doubt(
    run_apart: Callable[..., Process], tmp_path: Path
) -> None:
    process = run_apart("command")
    heard(process, "acting")
    process.send_signal(signal.SIGINT)
    heard(process, "stopping SIGINT")
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "in doubt: control-plane/cp1/apply" in rest
    with closing(Room(tmp_path)) as room:
        assert room.latest("control-plane/cp1/apply").outcome is Outcome.STARTED
        assert room.go_on().state is State.COMPLETED
        assert "step control-plane/cp1/apply in doubt" in room.notes.lines


def test_a_pause_ends_with_the_signal(run_apart: Callable[..., Process], tmp_path: Path) -> None:
    process = run_apart("pause")
    heard(process, "acting")
    process.send_signal(signal.SIGTERM)
    heard(process, "stopping SIGTERM")
    process.communicate(timeout=60)
    assert process.returncode == 130
    with closing(Room(tmp_path)) as room:
        assert room.latest("control-plane/cp1/apply").outcome is Outcome.INTERRUPTED


def test_a_lost_terminal_is_heard_once_however_often_it_says_so(run_apart: Callable[..., Process]) -> None:
    process = run_apart("command")
    heard(process, "acting")
    process.send_signal(signal.SIGHUP)
    heard(process, "stopping SIGHUP")
    process.send_signal(signal.SIGHUP)
    process.communicate("done\n", timeout=60)
    assert process.returncode == 130


def test_what_was_ignored_stays_ignored(run_apart: Callable[..., Process], tmp_path: Path) -> None:
    process = run_apart("command", "nohup")
    heard(process, "acting")
    process.send_signal(signal.SIGHUP)
    process.communicate("done\n", timeout=60)
    assert process.returncode == 0


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with Interruption().install():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_request_is_told_once_and_checked() -> None:
    told: list[str] = []
    interruption = Interruption()
    interruption.listen(told.append)
    interruption.check()
    interruption.request("SIGINT")
    interruption.request("SIGINT")
    assert told == ["SIGINT"]
    with pytest.raises(Interrupted, match="SIGINT"):
        interruption.check()


def test_the_system_clock_knows_utc_and_pauses_no_longer_than_wanted() -> None:
    interruption = Interruption()
    clock = SystemClock(interruption)
    assert clock.now().utcoffset() is not None
    before = clock.monotonic()
    clock.pause(0)
    clock.pause(-1)
    assert clock.monotonic() >= before
    interruption.request("SIGINT")
    with pytest.raises(Interrupted):
        clock.pause(600)
