"""Commands and their results, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


class Secret(str):
    """A string that shows itself as `***`; its real text is only for the process that needs it (`reveal`)."""

    __slots__ = ()

    def __str__(self) -> str:
        return "***"

    def __repr__(self) -> str:
        return "'***'"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def reveal(self) -> str:
        """The secret text itself."""
        return str.__str__(self)


@dataclass(frozen=True)
class Command:
    """One program to run on one host. `timeout` is in seconds and always given.

    `changes` marks a command that changes the node: it runs in a session of its own, so that an interrupt at the
    terminal does not reach it, and it is recorded in the journal every time. `stdin` is bytes or a local file;
    with `stdout_to`, standard output goes to that local file (created 0600) instead of into the result, at most
    `stdout_limit` bytes of it.
    """

    argv: tuple[str, ...]
    timeout: float
    changes: bool = False
    stdin: bytes | Path | None = None
    stdout_to: Path | None = None
    stdout_limit: int | None = None

    @property
    def shown(self) -> tuple[str, ...]:
        """The argv with secrets masked, for people and for the journal."""
        return tuple(str(word) for word in self.argv)


@dataclass(frozen=True)
class Result:
    """How a command ended. `exit_status` is None when it ran out of time: then its effect is unknown.

    `begun` is False when whoever should have started the program over there never did: the rest is what it said.
    """

    exit_status: int | None
    stdout: str = field(default="", repr=False)
    stderr: str = ""
    duration: float = 0.0
    begun: bool = True

    @property
    def ok(self) -> bool:
        """The program itself reported success, which is a hint and not a proof."""
        return self.exit_status == 0
