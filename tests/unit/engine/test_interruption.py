"""Real signals, sent to a process of its own."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
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


# In this process, where each line counts; the tests above send real signals to a run.

WAIT = 30.0  # seconds; only a test that would otherwise hang waits that long
HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def told() -> queue.Queue[str]:
    return queue.Queue()


@pytest.fixture
def listening(told: queue.Queue[str]) -> Interruption:
    interruption = Interruption()
    interruption.listen(told.put)
    return interruption


@pytest.mark.parametrize("sent", HEARD)
def test_a_signal_is_told_with_its_name(listening: Interruption, told: queue.Queue[str], sent: signal.Signals) -> None:
    with listening.install():
        assert not listening.requested
        signal.raise_signal(sent)
        assert listening.requested
        assert told.get(timeout=WAIT) == sent.name
    with pytest.raises(Interrupted, match=sent.name) as stopped:
        listening.check(("apply failed",))
    assert "`upgrade-guard resume`" in stopped.value.hint
    assert stopped.value.reasons == ("apply failed",)
    assert told.empty()


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_with_what_is_in_doubt(listening: Interruption, second: signal.Signals) -> None:
    with listening.install():
        signal.raise_signal(signal.SIGTERM)
        with listening.during("a"), listening.during("b"):
            with listening.during("a"):
                """The same step of another lane ends."""
            with pytest.raises(KeyboardInterrupt, match=r"in doubt: (a, b|b, a)\. `upgrade-guard resume`"):
                signal.raise_signal(second)
        with pytest.raises(KeyboardInterrupt, match="no step was under way"):
            signal.raise_signal(second)


def test_a_step_that_raises_is_no_more_under_way(listening: Interruption) -> None:
    with pytest.raises(ZeroDivisionError), listening.during("a"):
        raise ZeroDivisionError
    with listening.install():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt, match="no step was under way"):
            signal.raise_signal(signal.SIGINT)


def test_a_terminal_that_goes_is_no_second_thought(listening: Interruption, told: queue.Queue[str]) -> None:
    with listening.install():
        for _ in range(3):
            signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
    assert [told.get(timeout=WAIT)] == ["SIGHUP"]
    assert told.empty()


def test_an_ignored_signal_is_left_alone(listening: Interruption) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with listening.install():
            signal.raise_signal(signal.SIGHUP)
            assert not listening.requested
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_pause_ends_when_a_signal_comes(listening: Interruption) -> None:
    main = threading.main_thread().ident
    assert main is not None
    sender = threading.Thread(target=signal.pthread_kill, args=(main, signal.SIGTERM))
    with listening.install():
        sender.start()
        with pytest.raises(Interrupted, match="SIGTERM"):
            listening.pause(10 * WAIT)
        sender.join()


def test_a_pause_lasts_as_long_as_it_should(listening: Interruption) -> None:
    began = time.monotonic()
    listening.pause(0.05)
    assert time.monotonic() - began >= 0.05


def test_nothing_of_it_stays(listening: Interruption) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with listening.install():
        signal.raise_signal(signal.SIGINT)
        assert len(os.listdir("/proc/self/fd")) == len(before) + 2
        assert "interruption" in {thread.name for thread in threading.enumerate() if thread.daemon}
    assert set(os.listdir("/proc/self/fd")) == before
    assert "interruption" not in {thread.name for thread in threading.enumerate()}


def test_what_was_asked_for_first_is_the_reason(listening: Interruption, told: queue.Queue[str]) -> None:
    listening.request("the lock was lost")
    listening.request("SIGINT")
    with pytest.raises(Interrupted, match="the lock was lost"):
        listening.check()
    assert [told.get_nowait()] == ["the lock was lost"]
    assert told.empty()


def test_nobody_has_to_listen() -> None:
    interruption = Interruption()
    with interruption.install():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Interrupted):
            interruption.pause(10 * WAIT)
