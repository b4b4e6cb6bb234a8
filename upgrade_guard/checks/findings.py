"""Findings in few words, and questions that may go unanswered without taking the others down.

A finding that is not OK always has a hint: one imperative line, with a command to paste.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from upgrade_guard.checks.gathered import Gathered, Unanswered
from upgrade_guard.errors import GuardError, HostUnreachable
from upgrade_guard.model.finding import Finding, Severity
from upgrade_guard.model.version import Version

Judge = Callable[[Gathered, Version], tuple[Finding, ...]]


@dataclass(frozen=True)
class Check:
    """One named question. `name` is public and stored; `worst` is the worst that it can answer."""

    name: str
    question: str
    worst: Severity
    judge: Judge


def ok(check: str, message: str, where: str = "") -> Finding:
    """As it should be."""
    return Finding(check, Severity.OK, message, where=where)


def warning(check: str, message: str, hint: str, where: str = "") -> Finding:
    """An operator should read it; the run goes on."""
    return Finding(check, Severity.WARNING, message, hint, where)


def blocking(check: str, message: str, hint: str, where: str = "") -> Finding:
    """The run stops before anything is changed."""
    return Finding(check, Severity.BLOCKING, message, hint, where)


def listed(names: Iterable[object], limit: int = 5) -> str:
    """A few names for people: `a, b, c and 7 more`."""
    given = [str(name) for name in names]
    shown = ", ".join(given[:limit])
    return shown if len(given) <= limit else f"{shown} and {len(given) - limit} more"


def size(count: int) -> str:
    """Bytes for people, in binary units."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


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
