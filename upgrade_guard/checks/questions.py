"""Questions that may go unanswered without taking the others down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from upgrade_guard.checks.gathered import Unanswered
from upgrade_guard.errors import GuardError, HostUnreachable

T = TypeVar("T")
U = TypeVar("U")


@dataclass
class Questions:
    """Asks, and keeps what could not be answered. A host that cannot be reached ends the gathering."""

    unanswered: list[Unanswered] = field(default_factory=list)

    def ask(self, check: str, where: str, question: Callable[[], T], otherwise: U) -> T | U:
        """The answer, or `otherwise` with a note that `check` could not be asked."""
        try:
            return question()
        except HostUnreachable:
            raise
        except GuardError as problem:
            self.cannot(check, where, problem.message, problem.hint)
            return otherwise

    def cannot(self, check: str, where: str, message: str, hint: str = "") -> None:
        """That question has no answer."""
        self.unanswered.append(Unanswered(check, where, message, hint))
