"""What holds for every test."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path

import pytest
from memory import directory_in_memory
from scenario import forked
from servers import S3, Sshd

CRASH, SCENARIO = (Path(__file__).with_name(name) for name in ("crash", "scenario"))


def pytest_configure() -> None:
    """Keep files in memory where that is possible, and what is compiled; hear signals as in the foreground."""
    if memory := directory_in_memory():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", memory)
    # Where nothing that is compiled may be kept, each worker rewrites every assertion, and each command of the product
    # compiles all of it.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # `nohup make test &` starts with some ignored, for good.
    for number, heard in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, heard)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first, dealt by modules to the processes: each is given an equal number of tests that lie together,
    and who has none left takes short ones from another's end.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    hands: list[list[pytest.Item]] = [[] for _ in range(processes)]
    long = [item for place in (CRASH, SCENARIO) for item in items if item.path.is_relative_to(place)]
    for number, (_, module) in enumerate(groupby(long, key=lambda item: item.path)):
        hands[number % processes].extend(module)
    rest = iter([item for item in items if item not in set(long)])
    for number, hand in enumerate(hands):
        share = len(items) * (number + 1) // processes - len(items) * number // processes
        hand.extend(islice(rest, max(0, share - len(hand))))
    items[:] = [*(item for hand in hands for item in hand), *rest]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What a matrix tried, also where its test passed in another process."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in getattr(report, "user_properties", ()):
                if name == "matrix" and report.when == "call":
                    terminalreporter.section(report.nodeid)
                    terminalreporter.write_line(str(value))


def pytest_sessionfinish() -> None:
    """Nothing that the tests started is left."""
    forked.end()


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
