"""What a host is: a place where commands run. One seam for local, ssh and scripted.

Names that end in an argv or a file name must not be options or carry control characters.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from upgrade_guard.errors import UsageProblem
from upgrade_guard.model.command import Command, Result

_SHOWN = 200  # characters of a name that is refused


def check_name(name: str, what: str = "host name") -> str:
    """The name itself. Raises UsageProblem when it is empty, looks like an option or has white space in it."""
    if not name or name.startswith("-") or any(letter.isspace() or not letter.isprintable() for letter in name):
        raise UsageProblem(
            f"{name[:_SHOWN]!r} cannot be used as a {what}",
            hint="Give it without white space or control characters, and not beginning with '-'.",
        )
    return name


class Transcript(Protocol):
    """Hears of every command: the journal and the run's log listen here."""

    def started(self, host: str, command: Command) -> None:
        """A command is about to run."""

    def output(self, host: str, text: str) -> None:
        """A piece of its output, while it is produced."""

    def finished(self, host: str, command: Command, result: Result, started_at: datetime) -> None:
        """It ended, or ran out of time."""


class Host(Protocol):
    """A machine, reached somehow. `name` is the node's name in the cluster, or "here" for this machine."""

    @property
    def name(self) -> str:
        """What people call it."""

    def run(self, command: Command) -> Result:
        """Run it and wait. A timeout gives `exit_status` None.

        Raises HostUnreachable when it never got there or the connection broke.
        """
