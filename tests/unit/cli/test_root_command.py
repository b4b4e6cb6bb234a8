"""The one door: global options anywhere, problems to exit codes, one JSON object, quiet pipes, a quick start."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from upgrade_guard import errors
from upgrade_guard.cli.invocation import Front
from upgrade_guard.cli.main import app
from upgrade_guard.cli.root_command import Door, without_global_options
from upgrade_guard.errors import ExitCode, GuardError
from upgrade_guard.model.plain import plain
from upgrade_guard.model.run import State
from upgrade_guard.model.version import Version

PROBLEMS: tuple[tuple[Exception, int, str], ...] = (
    (errors.UsageProblem("wrong key", hint="upgrade-guard config show"), 2, "usage"),
    (errors.Refused("gate closed", reasons=("no snapshot", "no copy")), 3, "refused"),
    (errors.JournalProblem("newer version"), 3, "journal"),
    (errors.StepFailed("apply failed"), 4, "step-failed"),
    (errors.HostUnreachable("w1 is gone"), 4, "host-unreachable"),
    (errors.CommandFailed("kubeadm ended with 1", exit_status=1, stderr="a\nFATAL: b\n"), 4, "command-failed"),
    (errors.LockHeld("held by 12"), 5, "locked"),
    (errors.DecisionNeeded("which way"), 6, "decision-needed"),
    (errors.RolledBack("it failed"), 7, "rolled-back"),
    (errors.RollbackFailed("it stopped"), 8, "rollback-failed"),
    (errors.Interrupted("stopped"), 130, "interrupted"),
    (KeyboardInterrupt("in doubt: snapshot/save"), 130, "interrupted"),
    (EOFError(), 6, "decision-needed"),
    (OSError(errno.ENOSPC, "No space left on device", "/var/lib"), 4, "step-failed"),
    (ValueError("nobody\nexpected this"), 1, "bug"),
)


def program(problem: BaseException) -> typer.Typer:
    """A program with the real door and one command that fails."""
    made = typer.Typer(cls=Door, pretty_exceptions_enable=False, rich_markup_mode=None)

    @made.callback()
    def root() -> None:
        """Nothing."""

    @made.command("fail")
    def fail() -> None:
        raise problem

    return made


def invoke(arguments: list[str], program: typer.Typer = app, **environ: str) -> Any:
    return CliRunner().invoke(program, arguments, env=environ)


@pytest.mark.parametrize(("problem", "exit_code", "code"), PROBLEMS, ids=lambda value: str(value)[:30])
def test_every_problem_has_its_exit_code_and_envelope(
    tmp_path: Path, problem: Exception, exit_code: int, code: str
) -> None:
    state_dir = ["--state-dir", str(tmp_path)]
    told = invoke(["fail", *state_dir], program(problem))
    assert told.exit_code == exit_code
    assert told.stdout == ""
    assert "Traceback" not in told.output
    answered = invoke(["--json", "fail", *state_dir], program(problem))
    assert answered.exit_code == exit_code
    assert answered.stderr == ""
    envelope = json.loads(answered.stdout)
    assert (envelope["schema"], envelope["command"], envelope["ok"], envelope["data"]) == (1, "fail", False, None)
    assert envelope["error"]["code"] == code
    assert set(envelope["error"]) == {"code", "message", "hint", "reasons"}


def test_the_exit_codes_are_the_promised_ones() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GuardError)]
    assert {kind.exit_code for kind in kinds} | {ExitCode.DONE} == set(ExitCode)


def test_the_last_lines_say_what_why_and_what_to_type_next(tmp_path: Path) -> None:
    problem = errors.CommandFailed(
        "kubeadm on cp1 ended with status 1",
        exit_status=1,
        stderr="W1 slow\nFATAL: \x1b[31mnot ready\n",
        hint="upgrade-guard resume",
    )
    problem.reasons = ("the API server does not answer",)
    told = invoke(["fail", "--state-dir", f"{tmp_path}/a b", "--config", "c.toml"], program(problem))
    assert told.stderr.splitlines() == [
        "Failed: kubeadm on cp1 ended with status 1",
        "  it said: FATAL: \\x1b[31mnot ready",
        "  - the API server does not answer",
        f"Next: upgrade-guard --config c.toml --state-dir '{tmp_path}/a b' resume",
    ]


def test_a_bug_keeps_its_traceback_in_a_private_file(tmp_path: Path) -> None:
    told = invoke(["fail", "--state-dir", str(tmp_path)], program(ValueError("nobody\nexpected this")))
    (log,) = (tmp_path / "logs").iterdir()
    first, last = told.stderr.splitlines()
    assert first == f"Bug: ValueError: nobody expected this (the traceback is in {log})"
    assert last.startswith("Next: ")
    assert "Traceback (most recent call last)" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_an_answer_known_before_the_problem_stands_beside_it() -> None:
    made = typer.Typer(cls=Door, rich_markup_mode=None)

    @made.callback()
    def root() -> None:
        """Nothing."""

    @made.command("check")
    def check(context: typer.Context) -> None:
        Front.of(context).answer([1], lambda: "one")
        raise errors.Refused("in the way")

    assert json.loads(invoke(["check", "--json"], made).stdout) == {
        "schema": 1,
        "command": "check",
        "ok": False,
        "data": [1],
        "error": {"code": "refused", "message": "in the way", "hint": "", "reasons": []},
    }
    assert invoke(["check"], made).stdout == "one\n"


@pytest.mark.parametrize(
    ("words", "rest", "noted"),
    [
        (["status", "--json"], ["status"], {"json": True}),
        (["-q", "run", "v1.2.3", "-v"], ["run", "v1.2.3"], {"quiet": True, "verbose": True}),
        (["run", "--config", "c", "v1"], ["run", "v1"], {"config_path": Path("c")}),
        (["--state-dir=s", "status"], ["status"], {"state_dir": Path("s")}),
        (["show", "--", "--json"], ["show", "--", "--json"], {"json": False}),
        (["run", "--no-color"], ["run"], {"no_color": True}),
    ],
)
def test_global_options_stand_anywhere(words: list[str], rest: list[str], noted: dict[str, Any]) -> None:
    front = Front()
    assert without_global_options(words, front) == rest
    assert {name: getattr(front, name) for name in noted} == noted


def test_a_global_option_without_its_path_is_refused() -> None:
    answered = invoke(["status", "--json", "--config"])
    assert answered.exit_code == 2
    assert json.loads(answered.stdout)["error"]["message"] == "--config needs a path"


@pytest.mark.parametrize(
    ("words", "command", "message"),
    [
        (["bogus"], "", "No such command 'bogus'."),
        (["run", "--bogus"], "run", "No such option: --bogus"),
        (["history", "--limit", "x"], "history", "valid integer"),
        (["history", "--limit", "0"], "history", "1"),
        (["config", "bogus"], "config", "No such command 'bogus'."),
        (["lab", "run"], "lab run", "Missing argument 'VERSION'"),
        (["lab", "up", "--control-planes", "2"], "lab up", "--control-planes 2: a lab has 1, 3 or 5"),
        (["run", "one.two"], "run", "'one.two' is not a version of the form v1.28.0"),
        (["run", "v1.28.0-rc.1"], "run", "is not a version of the form v1.28.0"),
    ],
)
def test_wrong_usage_exits_2(tmp_path: Path, words: list[str], command: str, message: str) -> None:
    environ = {"UPGRADE_GUARD_STATE_DIR": str(tmp_path), "HOME": str(tmp_path)}
    answered = invoke([*words, "--json"], **environ)
    envelope = json.loads(answered.stdout)
    assert answered.exit_code == 2
    assert envelope["command"] == command
    assert envelope["error"]["code"] == "usage"
    assert message in envelope["error"]["message"]
    told = invoke(words, **environ)
    assert (told.exit_code, told.stdout) == (2, "")
    assert message in told.stderr
    assert list(tmp_path.iterdir()) == [], "wrong usage leaves nothing behind"


def test_values_become_json() -> None:
    version = Version(1, 28, 0)
    assert plain({"a": (version, State.COPIED, Path("/x")), "b": {2, 1}}) == {
        "a": ["v1.28.0", "copied", "/x"],
        "b": [1, 2],
    }
    with pytest.raises(TypeError):
        plain(object())


def test_every_command_helps(tmp_path: Path) -> None:
    for words in (
        *(
            [name]
            for name in ("run", "resume", "rollback", "abort", "status", "plan", "check", "history", "show", "graph")
        ),
        *(["config", name] for name in ("init", "show")),
        *(["lab", name] for name in ("up", "down", "faults", "run")),
    ):
        told = invoke([*words, "--help"])
        assert told.exit_code == 0, words
        assert told.stdout.startswith(f"Usage: upgrade-guard {' '.join(words)}")


def test_the_version(tmp_path: Path) -> None:
    from upgrade_guard import __version__

    assert invoke(["--version"]).stdout == f"upgrade-guard {__version__}\n"
    assert json.loads(invoke(["--version", "--json"]).stdout)["data"] == {"version": __version__}


PROGRAM = "import sys; from upgrade_guard.cli.main import main; main()"
HEAVY = ("sqlalchemy", "alembic", "cattrs", "questionary", "prompt_toolkit", "yaml", "transitions", "pydantic", "rich")


def test_a_reader_that_leaves_causes_no_traceback(tmp_path: Path) -> None:
    """The reader closes the pipe before the first byte is written: what `| head -0` does, without the race."""
    for words in (["graph"], ["graph", "--json"], ["config", "show"], ["--help"]):
        child = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words, "--state-dir", str(tmp_path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert child.stdout is not None and child.stderr is not None
        child.stdout.close()
        said = child.stderr.read()
        child.stderr.close()
        child.wait(timeout=60)
        assert said == b"", words


@pytest.mark.parametrize("words", [["--help"], ["status"]])
def test_starting_is_not_slowed_by_what_it_does_not_need(tmp_path: Path, words: list[str]) -> None:
    looking = (
        "import sys\n"
        "from upgrade_guard.cli.main import main\n"
        "try: main()\n"
        f"except SystemExit: print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", looking, *words, "--state-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout.splitlines()[-1] == "loaded: []"
