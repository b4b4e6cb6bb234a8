"""A host for unit tests: it knows its answers beforehand, and an unexpected command fails the test."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import EllipsisType

from upgrade_guard.errors import HostUnreachable
from upgrade_guard.hosts.base import Transcript
from upgrade_guard.hosts.transcript import SilentTranscript
from upgrade_guard.model.command import Command, Result

Pattern = tuple[str | EllipsisType, ...]


class SimulatedCrash(BaseException):
    """Stands for the death of our own process: nothing may catch it."""


@dataclass
class _Script:
    """The answers to one pattern, in order; the last one stays."""

    pattern: Pattern
    replies: deque[Callable[[Command], Result]] = field(default_factory=deque)


class ScriptedHost:
    """Answers by argv, exactly or up to an ellipsis: `("kubectl", ..., "nodes", ...)`.

    Several answers to one pattern are given in order, the last one for ever. `fail_at`, `hang_at`, `unreachable_at` and
    `crash_at` (counted from 1) replace the answer to that command. `commands` keeps all that was run.
    """

    def __init__(self, name: str = "node", transcript: Transcript | None = None) -> None:
        self._name = name
        self._transcript = transcript or SilentTranscript()
        self._scripts: list[_Script] = []
        self._troubles: dict[int, Callable[[Command], Result]] = {}
        self.commands: list[Command] = []

    @property
    def name(self) -> str:
        """What people call it."""
        return self._name

    @property
    def argvs(self) -> list[tuple[str, ...]]:
        """The argv of every command that was run, in order."""
        return [command.shown for command in self.commands]

    def answers(
        self, *pattern: str | EllipsisType, stdout: str = "", stderr: str = "", exit_status: int | None = 0
    ) -> None:
        """When this is asked, that is the answer."""
        self.replies(*pattern, reply=lambda _: Result(exit_status, stdout, stderr, 0.0))

    def replies(self, *pattern: str | EllipsisType, reply: Callable[[Command], Result]) -> None:
        """The same, with an answer that is made from the command."""
        for script in self._scripts:
            if script.pattern == pattern:
                script.replies.append(reply)
                return
        self._scripts.append(_Script(pattern, deque([reply])))

    def fail_at(self, number: int, *, exit_status: int = 1, stderr: str = "scripted failure\n") -> None:
        """The n-th command exits with that status."""
        self._troubles[number] = lambda _: Result(exit_status, "", stderr, 0.0)

    def hang_at(self, number: int) -> None:
        """The n-th command runs out of time."""
        self._troubles[number] = lambda command: Result(None, "", "", command.timeout)

    def unreachable_at(self, number: int) -> None:
        """The connection breaks at the n-th command."""

        def break_off(_: Command) -> Result:
            raise HostUnreachable(f"{self._name} cannot be reached: scripted")

        self._troubles[number] = break_off

    def crash_at(self, number: int) -> None:
        """Our own process dies at the n-th command."""

        def crash(_: Command) -> Result:
            raise SimulatedCrash

        self._troubles[number] = crash

    def run(self, command: Command) -> Result:
        """The scripted answer. Raises AssertionError for a command that nobody expected."""
        started_at = datetime.now(UTC)
        self.commands.append(command)
        self._transcript.started(self._name, command)
        trouble = self._troubles.get(len(self.commands))
        result = trouble(command) if trouble else self._reply(command)
        if command.stdout_to is not None:
            command.stdout_to.write_text(result.stdout)
            result = Result(result.exit_status, "", result.stderr, result.duration)
        self._transcript.finished(self._name, command, result, started_at)
        return result

    def _reply(self, command: Command) -> Result:
        argv = tuple(str.__str__(word) for word in command.argv)
        for script in self._scripts:
            if _matches(script.pattern, argv):
                reply = script.replies.popleft() if len(script.replies) > 1 else script.replies[0]
                return reply(command)
        raise AssertionError(f"unexpected command on {self._name}: {command.shown}")


def _matches(pattern: Pattern, argv: tuple[str, ...]) -> bool:
    if not pattern:
        return not argv
    first, rest = pattern[0], pattern[1:]
    if isinstance(first, EllipsisType):
        return any(_matches(rest, argv[start:]) for start in range(len(argv) + 1))
    return bool(argv) and argv[0] == first and _matches(rest, argv[1:])
