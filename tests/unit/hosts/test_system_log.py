"""The line for the log of the machine: it arrives where there is one, and holds nobody up where there is none."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from upgrade_guard.hosts.system_log import tell_system_log


@pytest.fixture
def log(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        log.settimeout(10)
        yield log


def test_a_line_arrives_with_who_wrote_it(log: socket.socket, tmp_path: Path) -> None:
    assert tell_system_log("history head 49bc", tmp_path / "log")
    heard = log.recv(4096).decode()
    assert heard.startswith("<30>upgrade-guard[")
    assert heard.endswith("]: history head 49bc")


def test_without_a_log_nothing_is_claimed(tmp_path: Path) -> None:
    assert not tell_system_log("history head 49bc", tmp_path / "log")
    (tmp_path / "log").write_text("a file")
    assert not tell_system_log("history head 49bc", tmp_path / "log")
    assert (tmp_path / "log").read_text() == "a file"


def test_a_log_that_is_stuck_holds_nobody_up(log: socket.socket, tmp_path: Path) -> None:
    told = 0
    while tell_system_log("x" * 4096, tmp_path / "log"):
        told += 1
    assert told > 0
