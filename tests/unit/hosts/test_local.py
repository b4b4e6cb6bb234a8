"""Real processes on this machine."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upgrade_guard.errors import UnexpectedOutput, UsageProblem
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.model.command import Command, Result, Secret

PYTHON = sys.executable


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[str, object]] = []
        self.text = ""
        self.got_text = threading.Event()

    def started(self, host: str, command: Command) -> None:
        self.heard.append(("started", command.argv))

    def output(self, host: str, text: str) -> None:
        self.text += text
        self.got_text.set()

    def finished(self, host: str, command: Command, result: Result, started_at: object) -> None:
        self.heard.append(("finished", result.exit_status))


def run(*argv: str, **settings_: object) -> Result:
    return LocalHost("here").run(Command(argv, timeout=20.0, **settings_))  # type: ignore[arg-type]


def gone(pid: int) -> bool:
    """A process that ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until(true: object) -> None:
    deadline = time.monotonic() + 20
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_output_and_status_are_complete() -> None:
    result = run(PYTHON, "-c", "import sys; print('x' * 3_000_000); print('why', file=sys.stderr); sys.exit(7)")
    assert (result.exit_status, len(result.stdout), result.stderr) == (7, 3_000_001, "why\n")
    assert not result.ok


def test_arguments_arrive_as_they_are() -> None:
    words = ("$HOME", "a b", "*", "'; echo x", "", "ü")
    assert run("printf", "%s|", *words).stdout == "".join(f"{word}|" for word in words)


def test_standard_input_from_bytes_and_from_a_file(tmp_path: Path) -> None:
    content = os.urandom(2_000_000)
    (tmp_path / "in").write_bytes(content)
    run("cat", stdin=content, stdout_to=tmp_path / "out1")
    run("cat", stdin=tmp_path / "in", stdout_to=tmp_path / "out2")
    assert (tmp_path / "out1").read_bytes() == (tmp_path / "out2").read_bytes() == content


def test_without_input_a_program_sees_the_end_at_once() -> None:
    assert run("cat").exit_status == 0


def test_output_to_a_file_is_private_and_not_in_the_result(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_text("a longer old content that must go")
    target.chmod(0o644)
    assert run("echo", "new", stdout_to=target).stdout == ""
    assert (target.read_text(), stat.S_IMODE(target.stat().st_mode)) == ("new\n", 0o600)


def test_output_to_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        run("echo", "x", stdout_to=tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def test_bytes_that_are_no_text_do_not_break_the_result() -> None:
    assert run("printf", r"\377ok").stdout == "\ufffdok"


@pytest.mark.parametrize(("name", "status"), [("no-such-program-here", 127), ("/", 126)])
def test_a_program_that_cannot_start_ends_as_in_a_shell(name: str, status: int) -> None:
    assert run(name).exit_status == status


def test_a_program_killed_by_a_signal_has_a_status_as_in_a_shell() -> None:
    assert run(PYTHON, "-c", "import os; os.kill(os.getpid(), 9)").exit_status == 128 + 9


def test_a_timeout_ends_the_whole_group_and_leaves_the_effect_unknown(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {pid_file}; echo begun; wait"
    result = LocalHost("here").run(Command(("bash", "-c", script), timeout=0.5))
    assert (result.exit_status, result.stdout) == (None, "begun\n")
    wait_until(lambda: gone(int(pid_file.read_text())))


def test_a_grandchild_that_keeps_the_output_open_is_not_waited_for(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    result = run("bash", "-c", f"setsid sleep 600 & echo $! > {pid_file}; echo done")
    assert result.stdout == "done\n"
    os.kill(int(pid_file.read_text()), signal.SIGKILL)


def test_output_is_told_while_it_is_produced(tmp_path: Path) -> None:
    """The program waits for a file that is only made once its first line has been heard."""
    listener, go_on = Listener(), tmp_path / "go-on"
    script = f"echo first; while [ ! -e {go_on} ]; do sleep 0.02; done; echo second"
    threading.Thread(target=lambda: listener.got_text.wait(20) and go_on.touch()).start()
    result = LocalHost("here", listener).run(Command(("bash", "-c", script), timeout=30.0))
    assert result.ok
    assert listener.text == "first\nsecond\n"
    assert listener.heard == [("started", ("bash", "-c", script)), ("finished", 0)]


def test_every_command_has_a_session_of_its_own() -> None:
    session = int(run(PYTHON, "-c", "import os; print(os.getsid(0))").stdout)
    assert session != os.getsid(0)


def test_path_is_replaced_and_words_are_english(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\necho mine $LC_ALL\n")
    (tmp_path / "tool").chmod(0o755)
    host = LocalHost("cp1", path=f"{tmp_path}:/usr/bin:/bin")
    assert host.run(Command(("tool",), timeout=20.0)).stdout == "mine C\n"


def test_a_secret_reaches_the_program_and_not_the_listener() -> None:
    command = Command(("printf", "%s", Secret("hidden")), timeout=20.0)
    assert LocalHost("here").run(command).stdout == "hidden"
    assert command.shown == ("printf", "%s", "***")


def test_a_reading_program_that_never_stops_printing_is_ended() -> None:
    with pytest.raises(UnexpectedOutput, match="64 MiB"):
        run("yes")


def test_a_change_outlives_our_own_death_and_leaves_its_output(tmp_path: Path) -> None:
    """SIGKILL of the process that waits: the command goes on printing, finishes its work, and what it said is kept."""
    spool, go_on, done = tmp_path / "spool", tmp_path / "go-on", tmp_path / "done"
    script = f"echo first; while [ ! -e {go_on} ]; do sleep 0.02; done; echo second; touch {done}"
    program = (
        "from pathlib import Path\n"
        "from upgrade_guard.hosts.local import LocalHost\n"
        "from upgrade_guard.model.command import Command\n"
        f"host = LocalHost('here', spool_dir=Path({str(spool)!r}))\n"
        f"host.run(Command(('bash', '-c', {script!r}), timeout=60.0, changes=True))\n"
    )
    waiting = subprocess.Popen([PYTHON, "-c", program])
    wait_until(lambda: spool.is_dir() and any(path.read_text() for path in spool.glob("bash-*.out")))
    waiting.kill()
    waiting.wait()
    assert stat.S_IMODE(spool.stat().st_mode) == 0o700
    go_on.touch()
    wait_until(done.exists)
    (output,) = spool.glob("bash-*.out")
    assert output.read_text() == "first\nsecond\n"


def test_the_spool_is_empty_after_a_command_that_ended(tmp_path: Path) -> None:
    host = LocalHost("here", spool_dir=tmp_path / "spool")
    assert host.run(Command(("echo", "x"), timeout=20.0, changes=True)).stdout == "x\n"
    assert host.run(Command(("no-such-program-here",), timeout=20.0, changes=True)).exit_status == 127
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("name", ["", "-x", "a b", "a\nb", "a\x1b[0m"])
def test_a_hostile_name_is_refused(name: str) -> None:
    with pytest.raises(UsageProblem):
        LocalHost(name)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20), max_size=4))
def test_any_words_arrive_as_they_are(words: list[str]) -> None:
    assert run("printf", "%s\\0", "x", *words).stdout == "".join(f"{word}\0" for word in ("x", *words))
