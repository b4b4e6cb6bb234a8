"""The smallest durable unit of a run, the phases that order them, and what a failure is answered with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from upgrade_guard.model.run import Event, Record


@dataclass(frozen=True)
class Done:
    """The world is as the step wants it. `result` is small JSON that later steps read from the journal."""

    result: Mapping[str, Any] = field(default_factory=dict)
    records: tuple[Record, ...] = ()


@dataclass(frozen=True)
class NotDone:
    """The world is not yet as the step wants it, so acting is right."""

    why: str = ""


@dataclass(frozen=True)
class Unknown:
    """The probe cannot tell. On resume the engine stops and asks."""

    why: str


Seen = Done | NotDone | Unknown


@dataclass(frozen=True)
class Facts:
    """The results of steps that succeeded in this run, read from the journal: never from memory."""

    run_id: str
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    started: frozenset[str] = frozenset()

    def of(self, step: str) -> Mapping[str, Any]:
        """The result of a step that must have succeeded. Raises KeyError with the step's name."""
        return self.results[step]

    def has(self, step: str) -> bool:
        """Did the step succeed (and was not voided since)?"""
        return step in self.results

    def touched(self, step: str) -> bool:
        """Was the step ever started in this run, whatever came of it?"""
        return step in self.started


@dataclass(frozen=True)
class Step:
    """Started on the record, done once, seen to be true.

    `probe` looks at the world and changes nothing; `act` changes it; both get the journal's facts. An act raises
    GuardError for what the operator can cure. `lasting=False` holds only for a moment (a health check) and is looked
    at again on resume. The gate stands before the first step with `changes_node`. Steps of one lane run in order.
    """

    name: str
    summary: str
    probe: Callable[[Facts], Seen]
    act: Callable[[Facts], None]
    changes_node: bool = False
    lasting: bool = True
    lane: str = ""


def never(_: Exception) -> bool:
    """No problem of one lane leaves the others alone."""
    return False


def always(_: Exception) -> bool:
    """Every lane is walked to its end."""
    return True


@dataclass(frozen=True)
class Phase:
    """Steps that end in one event. A phase begins when the one before it has ended in every lane.

    `at_once` lanes run at the same time. `amends` says what a failure of one lane means: None, the run has failed (and
    rolls back once something has changed); otherwise the steps it returns for that lane put it back (there may be
    none), and the run then stops for a person's decision. `weighs`: first the workflow is asked what such a failure is
    answered with, and a lane is put back where it says so. `decides`: what comes behind it depends on what it finds,
    so the workflow is asked again once it was walked. `goes_on`: after such a problem in one lane the other lanes are
    walked to their end all the same. `pauses`: on a way back, what fails here leaves it to a person and does not stop
    the way back as failed.
    """

    name: str
    title: str
    steps: tuple[Step, ...]
    event: Event | None = None
    at_once: int = 1
    amends: Callable[[str], tuple[Step, ...]] | None = None
    decides: bool = False
    goes_on: Callable[[Exception], bool] = never
    pauses: bool = False
    weighs: bool = False


@dataclass(frozen=True)
class Answer:
    """`everything_back`, or a pause in which a person decides while the cluster serves; `why` as a sentence.

    `lanes_back`: before the pause, what failed is put back by itself, as its phase amends it.
    """

    everything_back: bool
    why: str
    lanes_back: bool = False
