"""What holds for every test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import S3, Sshd

MEMORY = Path("/dev/shm")
ROOM = 4 << 30  # bytes; an etcd takes 128 MiB at once for its log, and a lab has up to three


def pytest_configure() -> None:
    """Keep the tests' files in memory where that is possible, and hear signals as a program in the foreground does."""
    if not os.environ.get("PYTEST_DEBUG_TEMPROOT") and has_room(MEMORY):
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)
    # `nohup make test &` starts with some ignored, for good.
    for number, heard in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, heard)


def has_room(directory: Path) -> bool:
    """May programs be made there, and is there space for labs? Half of a test's time was waiting for fsync."""
    if not os.access(directory, os.W_OK | os.X_OK):
        return False
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize >= ROOM and not found.f_flag & os.ST_NOEXEC


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What a matrix tried, also where its test passed in another process."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in getattr(report, "user_properties", ()):
                if name == "matrix" and report.when == "call":
                    terminalreporter.section(report.nodeid)
                    terminalreporter.write_line(str(value))


@pytest.fixture(autouse=True)
def no_terminal_of_the_tester(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests has a terminal of some width and taste (pytest-xdist too); what is tested has not."""
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "UPGRADE_GUARD_CONFIG", "UPGRADE_GUARD_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A real sshd on loopback."""
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A real S3 server on loopback."""
    server = S3(tmp_path_factory.mktemp("s3") / "buckets")
    server.start()
    yield server
    server.kill()
