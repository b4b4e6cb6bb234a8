"""Steps that only look, and waits that end as soon as the world is as it should be."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from upgrade_guard.errors import EvidenceLost, HostUnreachable, StepFailed
from upgrade_guard.model.clock import Clock
from upgrade_guard.model.step import Done, Facts, NotDone, Seen, Step, Unknown

SIGHT = 60.0
"""Seconds for which a probe waits to see anything at all: an API server is back in well under that, or not at all."""

PACE = 0.5
"""Seconds between two looks of a wait: a look costs a few processes, an operator waits for the answer."""


class NothingWillCome(StepFailed):
    """What is waited for will not come about: seen, so that nobody waits until the time is up."""


def observation(
    name: str, summary: str, look: Callable[[Facts], Seen], *, lasting: bool = False, lane: str = ""
) -> Step:
    """A step that has nothing to do: either the world is right, or the step fails with what it saw."""

    def nothing(facts: Facts) -> None:
        """Looking is all there is."""

    return Step(name, summary, probe=look, act=nothing, lasting=lasting, lane=lane)


def waiting(
    name: str,
    summary: str,
    look: Callable[[Facts], Seen],
    *,
    clock: Clock,
    timeout: float,
    lasting: bool = False,
    lane: str = "",
) -> Step:
    """A step whose act is to wait, at most `timeout` seconds, until its probe is Done."""

    def wait(facts: Facts) -> None:
        until(clock, timeout, lambda: look(facts))

    return Step(name, summary, probe=seeing(clock, timeout, look), act=wait, lasting=lasting, lane=lane)


def until(clock: Clock, timeout: float, look: Callable[[], Seen], *, steady: float = 0.0) -> Seen:
    """Look until Done, `steady` seconds long, or until `timeout` seconds have passed; what was seen last is returned.

    A component that restarts answers with errors for a while: a look that fails is one more "not yet".
    """
    deadline = clock.monotonic() + timeout
    patient = patiently(lambda _: look())
    nothing = Facts(run_id="")
    done_since: float | None = None
    while True:
        seen = patient(nothing)
        now = clock.monotonic()
        if not isinstance(seen, Done):
            done_since = None
        elif done_since is None:
            done_since = now
        if (done_since is not None and now - done_since >= steady) or now >= deadline:
            return seen
        clock.pause(PACE)


def patiently(look: Callable[[Facts], Seen]) -> Callable[[Facts], Seen]:
    """The same look, with a failing command told as "not yet": what is restarting answers with errors for a while."""

    def probe(facts: Facts) -> Seen:
        try:
            return look(facts)
        except (HostUnreachable, NothingWillCome, EvidenceLost):
            raise
        except StepFailed as problem:
            return NotDone(problem.message)

    return probe


def seeing(clock: Clock, timeout: float, look: Callable[[Facts], Seen]) -> Callable[[Facts], Seen]:
    """The same look, repeated while it cannot see: an API that is away says neither yes nor no.

    A new kubelet restarts every static pod seconds after its node is Ready (measured), so a single look may fall into
    the gap. `timeout` is in seconds and at most SIGHT.
    """

    def probe(facts: Facts) -> Seen:
        deadline = clock.monotonic() + min(timeout, SIGHT)
        while True:
            try:
                return look(facts)
            except (HostUnreachable, NothingWillCome, EvidenceLost):
                raise
            except StepFailed as problem:
                if clock.monotonic() >= deadline:
                    return NotDone(problem.message)
            clock.pause(PACE)

    return probe


def required(seen: Seen, what: str) -> Done:
    """Done, or StepFailed that says what was seen instead."""
    if isinstance(seen, Done):
        return seen
    why = seen.why if isinstance(seen, NotDone | Unknown) else ""
    raise StepFailed(f"{what}: {why}")


def noting(step: Step, key: str) -> Step:
    """The same step, which fails nobody: what was seen instead becomes its result, under `key`."""
    tried: list[bool] = []

    def probe(facts: Facts) -> Seen:
        seen: Seen
        try:
            seen = step.probe(facts)
        except StepFailed as problem:
            seen = NotDone(problem.message)
        return seen if isinstance(seen, Done) or not tried else Done({key: seen.why})

    def act(facts: Facts) -> None:
        tried.append(True)
        with suppress(StepFailed):
            step.act(facts)

    return replace(step, probe=probe, act=act)
