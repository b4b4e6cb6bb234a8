from __future__ import annotations

import re
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from upgrade_guard.hosts.scripted import ScriptedHost
from upgrade_guard.hosts.transcript import RunTranscript, SharedTranscript, SilentTranscript
from upgrade_guard.model.command import Command, Result, Secret
from upgrade_guard.model.run import CommandRow


class Noted:
    def __init__(self, directory: Path) -> None:
        self.rows: list[CommandRow] = []
        self.log = directory / "logs" / "run-1.log"
        self.transcript = RunTranscript(self.rows.append, self.log, "run-1")
        self.host = ScriptedHost("cp1", self.transcript)
        self.host.answers(..., stdout="same\n")

    def ask(self, *argv: str, changes: bool = False) -> None:
        self.host.run(Command(argv, timeout=5.0, changes=changes))


@pytest.fixture
def noted(tmp_path: Path) -> Noted:
    return Noted(tmp_path)


def test_a_command_belongs_to_the_attempt_of_its_thread(noted: Noted) -> None:
    def other() -> None:
        with noted.transcript.attribution("run-1", "nodes/w2/drain", 3):
            noted.ask("b")

    with noted.transcript.attribution("run-1", "nodes/w1/drain", 1):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        noted.ask("a")
    noted.ask("c")
    assert {(row.argv[0], row.step, row.attempt) for row in noted.rows} == {
        ("a", "nodes/w1/drain", 1),
        ("b", "nodes/w2/drain", 3),
        ("c", "", 0),
    }


def test_the_attribution_before_comes_back(noted: Noted) -> None:
    with noted.transcript.attribution("run-1", "outer", 1):
        with noted.transcript.attribution("run-1", "inner", 1):
            noted.ask("a")
        noted.ask("b")
    assert [row.step for row in noted.rows] == ["inner", "outer"]


def test_a_repeated_read_with_the_same_answer_is_noted_once_in_an_attempt(noted: Noted) -> None:
    for attempt in (1, 2):
        with noted.transcript.attribution("run-1", "wait", attempt):
            for _ in range(3):
                noted.ask("kubectl", "get", "nodes")
    assert [row.attempt for row in noted.rows] == [1, 2]
    assert noted.log.read_text().count("wait $ kubectl get nodes") == 2


def test_a_read_with_another_answer_is_noted(noted: Noted) -> None:
    noted.host.answers("date", stdout="1\n")
    host = ScriptedHost("cp1", noted.transcript)
    for stdout in ("1\n", "1\n", "2\n"):
        host.answers("date", stdout=stdout)
    with noted.transcript.attribution("run-1", "wait", 1):
        for _ in range(3):
            host.run(Command(("date",), timeout=5.0))
    assert [row.stdout for row in noted.rows] == ["1\n", "2\n"]
    assert noted.log.read_text().count("wait $ date") == 2


def test_every_change_is_noted(noted: Noted) -> None:
    with noted.transcript.attribution("run-1", "change", 1):
        for _ in range(2):
            noted.ask("systemctl", "stop", "kubelet", changes=True)
    assert [row.changes for row in noted.rows] == [True, True]
    assert noted.log.read_text().count("change $ systemctl stop kubelet") == 2


def test_rows_hold_masked_words_and_the_ends_of_long_output(noted: Noted) -> None:
    host = ScriptedHost("cp1", noted.transcript)
    host.answers(..., stdout="ä" * 5000 + "end", stderr="x" * 5000, exit_status=1)
    host.run(Command(("tool", Secret("hidden")), timeout=5.0))
    (row,) = noted.rows
    assert (row.argv, row.exit_status, row.host, row.run_id) == (("tool", "***"), 1, "cp1", "run-1")
    assert row.stdout.endswith("äend")
    assert 4000 < len(row.stdout.encode()) <= 4096
    assert len(row.stderr) == 4096
    assert "hidden" not in noted.log.read_text()


def test_the_log_is_private_and_tells_lines_as_they_come(noted: Noted) -> None:
    command = Command(("kubeadm", "upgrade", "apply", "v1.28.0"), timeout=5.0, changes=True)
    with noted.transcript.attribution("run-1", "control-plane/cp1/apply", 1):
        noted.transcript.started("cp1", command)
        noted.transcript.output("cp1", "first\nsec")
        assert noted.log.read_text().splitlines()[-1].endswith("cp1 | first")
        noted.transcript.output("cp1", "ond\nlast")
        noted.transcript.finished("cp1", command, Result(0, "", "", 1.5), datetime.now(UTC))
    lines = [line.partition(" ") for line in noted.log.read_text().splitlines()]
    assert [rest for _, _, rest in lines] == [
        "cp1 control-plane/cp1/apply $ kubeadm upgrade apply v1.28.0",
        "cp1 | first",
        "cp1 | second",
        "cp1 | last",
        "cp1 exit 0 after 1.500 s",
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", stamp) for stamp, _, _ in lines)
    assert stat.S_IMODE(noted.log.stat().st_mode) == 0o600
    assert stat.S_IMODE(noted.log.parent.stat().st_mode) == 0o700


def test_a_timeout_is_said_in_the_log(noted: Noted) -> None:
    noted.host.hang_at(1)
    noted.ask("sleep")
    assert "ran out of time" in noted.log.read_text()
    assert noted.rows[0].exit_status is None


def test_control_characters_of_a_program_cannot_forge_a_line(noted: Noted) -> None:
    noted.transcript.started("cp1", Command(("x",), timeout=5.0))
    noted.transcript.output("cp1", "a\rb\x1b[2Jc\n")
    assert noted.log.read_text().splitlines()[-1].endswith("| a\\rb\\x1b[2Jc")


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where a directory should be")
    noted = Noted(tmp_path)
    noted.ask("a")
    assert len(noted.rows) == 1
    assert "logs" in noted.transcript.log_problem


def test_several_listeners_hear_the_same(noted: Noted, tmp_path: Path) -> None:
    other = Noted(tmp_path / "other")
    host = ScriptedHost("cp1", SharedTranscript(noted.transcript, other.transcript, SilentTranscript()))
    host.answers("a", stdout="x")
    host.run(Command(("a",), timeout=5.0))
    assert [row.argv for row in noted.rows] == [row.argv for row in other.rows] == [("a",)]
