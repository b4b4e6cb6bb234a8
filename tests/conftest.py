"""What holds for every test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from memory import directory_in_memory
from servers import S3, Sshd


def pytest_configure() -> None:
    """Keep the tests' files in memory where that is possible, and hear signals as a program in the foreground does."""
    if memory := directory_in_memory():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", memory)
    # `nohup make test &` starts with some ignored, for good.
    for number, heard in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, heard)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that several processes end at the same time: matrices, scenarios, then what is short."""
    order = {"crash": 0, "scenario": 1}
    items.sort(key=lambda item: order.get(item.path.relative_to(Path(__file__).parent).parts[0], 2))


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
