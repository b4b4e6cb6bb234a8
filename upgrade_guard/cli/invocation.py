"""What every command shares: the global options, the two ways of answering, and how a problem is told."""

from __future__ import annotations

import errno
import io
import os
import re
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TextIO

from upgrade_guard.errors import CommandFailed, ExitCode, GuardError, StepFailed
from upgrade_guard.ui.vocabulary import visible

if TYPE_CHECKING:
    import typer

    from upgrade_guard.config import Settings
    from upgrade_guard.ui.console import Screen

SCHEMA = 1
STANDARD_OUTPUT = "standard output"
_PLACE_PROBLEMS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


@dataclass
class Front:
    """The front door of one invocation.

    With --json the answer is kept until the command has ended: stdout carries exactly one object whatever happens.
    `passing` says that what the command worked on is gone when it ends, so that no next command is named.
    """

    command: str = ""
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    no_color: bool = False
    passing: bool = False
    config_path: Path | None = None
    state_dir: Path | None = None
    aftermath: str = ""
    stdin_is_terminal: Callable[[], bool] = field(default=lambda: sys.stdin.isatty() and sys.stderr.isatty())
    _data: Any = None
    _beside: Mapping[str, Any] = field(default_factory=dict)
    _answered: bool = False
    _screen: Screen | None = None

    @staticmethod
    def of(context: typer.Context) -> Front:
        """The one that the door made."""
        front = context.find_object(Front)
        if front is None:
            raise TypeError("this command was not started through the front door")
        return front

    def note_flag(self, name: str) -> None:
        """Switch on one of the global flags."""
        setattr(self, name, True)

    @property
    def screen(self) -> Screen:
        """The two consoles, opened when first used."""
        if self._screen is None:
            from upgrade_guard.ui.console import open_screen

            self._screen = open_screen(quiet=self.quiet, verbose=self.verbose, color=not self.no_color)
        return self._screen

    def settings(self, offsite: tuple[str, ...] = ()) -> Settings:
        """The effective configuration. Raises UsageProblem, and Refused where its directories could be anybody's."""
        from upgrade_guard.hosts.ownership import refuse_foreign, refuse_foreign_content

        settings = self.settings_alone(offsite)
        for place in (settings.config.state_dir, settings.config.vault.path):
            refuse_foreign(place)
            refuse_foreign_content(place)
        return settings

    def settings_alone(self, offsite: tuple[str, ...] = ()) -> Settings:
        """The same for a command that looks at nothing else. Raises UsageProblem."""
        from upgrade_guard import config

        return config.load(self.config_path, os.environ, os.geteuid() == 0, state_dir=self.state_dir, offsite=offsite)

    def answer(
        self,
        data: Any,
        show: Callable[[], object] | None = None,
        beside: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """The command's answer: `data` for --json, otherwise what `show` returns, on stdout.

        An answer that is known before a problem is told beside it in the same JSON object. `beside` has further keys of
        that object, for what is worth telling where `data` is null.
        """
        self._data, self._beside, self._answered = data, beside, True
        if show is None or self.json:
            return
        if self._screen is not None:
            self._screen.settle()  # the story comes before its end
        shown = show()
        if isinstance(shown, str):  # as it is: not folded, so that a command in it can be pasted
            sys.stdout.write(visible(shown) + "\n")
        else:
            self.screen.answer.print(shown)

    def pasteable(self, hint: str) -> str:
        """The hint with this invocation's --config and --state-dir in it, so that it can be pasted as it is."""
        given = [
            f"{name} {shlex.quote(str(value))}"
            for name, value in (("--config", self.config_path), ("--state-dir", self.state_dir))
            if value is not None
        ]
        return re.sub(r"\bupgrade-guard (?=[a-z])", f"upgrade-guard {' '.join(given)} ", hint) if given else hint

    def conclude(self, problem: Exception | None) -> int:
        """Say how it ended and return the exit code: the one place where problems become exit codes."""
        guard_error = None if problem is None else self._understood(problem)
        in_json = self.json and (self._answered or guard_error is not None)
        try:
            if in_json:
                self._print_envelope(guard_error)
            sys.stdout.flush()
        except BrokenPipeError:
            _discard(sys.stdout)
        except OSError as failed:
            _discard(sys.stdout)
            guard_error, in_json = guard_error or self._unwritten(failed), False
        if guard_error is not None and not in_json:
            self._tell(guard_error)
        if self._screen is not None:
            self._screen.settle()
        return int(ExitCode.DONE if guard_error is None else guard_error.exit_code)

    def _understood(self, problem: Exception) -> GuardError:
        if isinstance(problem, GuardError):
            return problem
        if _is_usage(problem):
            return _UsageError(problem)
        if isinstance(problem, OSError) and problem.errno in _PLACE_PROBLEMS:
            where = str(problem.filename or "")
            if where == STANDARD_OUTPUT:
                _discard(sys.stdout)
                return self._unwritten(problem)
            look = f"df -h {shlex.quote(where)}" if where else "df -h"
            return StepFailed(
                f"{where or 'a file could not be written'}: {problem.strerror}",
                hint=f"make room or give access, then go on; look with: {look}",
            )
        return _BugError(problem, self._keep_traceback(problem))

    def _unwritten(self, problem: OSError) -> GuardError:
        """The answer did not reach whoever asked; what was done is done."""
        verb = self.command.partition(" ")[0]
        again = "history" if verb in _DOING else self.command or "status"
        return StepFailed(
            f"{STANDARD_OUTPUT} cannot be written: {problem.strerror}",
            hint=f"make room where it goes (df -h), then ask again: upgrade-guard {again}",
        )

    def _keep_traceback(self, problem: Exception) -> Path | None:
        text = "".join(traceback.format_exception(problem))
        name = f"bug-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}.log"
        for directory in self._log_directories():
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor = os.open(directory / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            except OSError:
                continue
            with os.fdopen(descriptor, "w", errors="backslashreplace") as file:
                file.write(text)
            return directory / name
        _complain(visible(text))
        return None

    def _log_directories(self) -> tuple[Path, ...]:
        try:
            own: tuple[Path, ...] = (self.settings().config.state_dir / "logs",)
        except (GuardError, OSError):
            own = ()
        return (*own, Path(tempfile.gettempdir()))

    def _print_envelope(self, problem: GuardError | None) -> None:
        import json

        from upgrade_guard.model.plain import plain

        error: Mapping[str, Any] | None = None
        if problem is not None:
            error = {
                "code": problem.code,
                "message": problem.message,
                "hint": self.pasteable(problem.hint),
                "reasons": list(problem.reasons),
            }
        envelope = {
            "schema": SCHEMA,
            "command": self.command,
            "ok": problem is None,
            "data": plain(self._data),
            "error": error,
            **plain(self._beside),
        }
        sys.stdout.write(json.dumps(envelope) + "\n")

    def _tell(self, problem: GuardError) -> None:
        if isinstance(problem, _UsageError):
            told_by_typer = io.StringIO()
            problem.show(file=told_by_typer)
            _complain(visible(told_by_typer.getvalue()))
            return
        from upgrade_guard.ui.console import told

        stderr = problem.stderr if isinstance(problem, CommandFailed) else ""
        told(
            self.screen.story,
            problem.message,
            word=_WORDS.get(problem.exit_code, "Failed"),
            said=stderr,
            reasons=problem.reasons,
            standing=self.aftermath,
            hint=self.pasteable(problem.hint),
        )


def _complain(text: str) -> None:
    """On standard error; that nobody can read it there is no other problem."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    from upgrade_guard.ui.console import discard  # late: rich is slow to import

    discard(stream)


_DOING = frozenset({"run", "resume", "rollback", "abort", "restore", "backup", "lab"})
_WORDS = {
    ExitCode.USAGE: "Cannot do that",
    ExitCode.REFUSED: "Refused",
    ExitCode.LOCKED: "Locked",
    ExitCode.DECISION_NEEDED: "Your decision is needed",
    ExitCode.ROLLED_BACK: "Rolled back",
    ExitCode.ROLLBACK_FAILED: "The rollback failed",
    ExitCode.INTERRUPTED: "Interrupted",
    ExitCode.BUG: "Bug",
}


def _is_usage(problem: Exception) -> bool:
    # typer carries its own copy of click, under names that move between versions; what its usage errors can do stays.
    return getattr(problem, "exit_code", None) == ExitCode.USAGE and callable(getattr(problem, "show", None))


class _UsageError(GuardError):
    """What typer itself refused."""

    exit_code = ExitCode.USAGE
    code = "usage"

    def __init__(self, problem: Any) -> None:
        context = getattr(problem, "ctx", None)
        hint = f"{context.command_path} --help" if context is not None else "upgrade-guard --help"
        super().__init__(str(problem.format_message()), hint=hint)
        self.show = problem.show


class _BugError(GuardError):
    """Not curable by the operator; its traceback is in a file."""

    exit_code = ExitCode.BUG
    code = "bug"

    def __init__(self, problem: Exception, log: Path | None) -> None:
        where = f"the traceback is in {log}" if log else "the traceback is above"
        what = " ".join(f"{type(problem).__name__}: {problem}".split())
        super().__init__(
            f"{what} ({where})", hint="report it with that file; upgrade-guard status says where the run stands"
        )
