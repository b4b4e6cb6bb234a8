from __future__ import annotations

from pathlib import Path

import pytest

from upgrade_guard.errors import HostUnreachable
from upgrade_guard.hosts.scripted import ScriptedHost, SimulatedCrash
from upgrade_guard.model.command import Command, Result


def ask(host: ScriptedHost, *argv: str) -> Result:
    return host.run(Command(argv, timeout=5.0))


def test_an_unexpected_command_fails_the_test() -> None:
    host = ScriptedHost("cp1")
    host.answers("echo", "a")
    with pytest.raises(AssertionError, match=r"unexpected command on cp1: \('echo', 'b'\)"):
        ask(host, "echo", "b")


def test_answers_come_in_order_and_the_last_one_stays() -> None:
    host = ScriptedHost()
    host.answers("date", stdout="1")
    host.answers("date", stdout="2")
    assert [ask(host, "date").stdout for _ in range(3)] == ["1", "2", "2"]


def test_an_ellipsis_stands_for_any_words() -> None:
    host = ScriptedHost()
    host.answers("kubectl", ..., "nodes", ..., stdout="n")
    assert ask(host, "kubectl", "--kubeconfig=x", "get", "nodes", "-o", "json").stdout == "n"
    assert ask(host, "kubectl", "nodes").stdout == "n"
    with pytest.raises(AssertionError):
        ask(host, "kubectl", "get", "pods")


def test_trouble_at_the_nth_command() -> None:
    host = ScriptedHost("cp1")
    host.answers("true")
    host.fail_at(1, stderr="no\n")
    host.hang_at(2)
    host.unreachable_at(3)
    host.crash_at(4)
    assert ask(host, "true") == Result(1, "", "no\n", 0.0)
    assert ask(host, "true").exit_status is None
    with pytest.raises(HostUnreachable):
        ask(host, "true")
    with pytest.raises(SimulatedCrash):
        ask(host, "true")
    assert ask(host, "true").ok
    assert len(host.argvs) == 5


def test_no_handler_of_errors_survives_a_simulated_crash() -> None:
    assert not issubclass(SimulatedCrash, Exception)


def test_output_to_a_file_is_written_there(tmp_path: Path) -> None:
    host = ScriptedHost()
    host.answers("cat", "/x", stdout="content")
    result = host.run(Command(("cat", "/x"), timeout=5.0, stdout_to=tmp_path / "x"))
    assert (result.stdout, (tmp_path / "x").read_text()) == ("", "content")
