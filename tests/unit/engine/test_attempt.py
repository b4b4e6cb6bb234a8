"""How an attempt ends, for everything that a probe and an act can say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from upgrade_guard.engine.attempt import attempt
from upgrade_guard.errors import (
    CommandFailed,
    DecisionNeeded,
    GuardError,
    HostUnreachable,
    Interrupted,
    Refused,
    StepFailed,
    UnexpectedOutput,
)
from upgrade_guard.model.run import Outcome
from upgrade_guard.model.step import Done, Facts, NotDone, Seen, Step, Unknown

FACTS = Facts("r")
TIMEOUT = CommandFailed("kubeadm ran out of time", exit_status=None)
FAILURE = CommandFailed("kubeadm ended with 1", exit_status=1)
GONE = HostUnreachable("cp1 is gone")
Said = Seen | GuardError | Exception


def step(looks: list[Said], act: Exception | None = None, acted: list[str] | None = None) -> Step:
    """A step whose probe says these things one after the other, and no more."""
    waiting: Iterator[Said] = iter(looks)

    def probe(facts: Facts) -> Seen:
        said = next(waiting, None)
        assert said is not None, "one look too many"
        if isinstance(said, Exception):
            raise said
        return said

    def do(facts: Facts) -> None:
        if acted is not None:
            acted.append("acted")
        if act is not None:
            raise act

    return Step("apply", "Apply", probe, do)


CASES: dict[str, tuple[list[Said], Exception | None, Outcome, type[Exception] | None]] = {
    "already true": ([Done()], None, Outcome.SUCCEEDED, None),
    "brought about": ([NotDone(), Done()], None, Outcome.SUCCEEDED, None),
    "acted in vain": ([NotDone(), NotDone("still old")], None, Outcome.FAILED, StepFailed),
    "cannot tell at first": ([Unknown("no answer")], None, Outcome.UNKNOWN, DecisionNeeded),
    "cannot tell after": ([NotDone(), Unknown("no answer")], None, Outcome.UNKNOWN, DecisionNeeded),
    "first look times out": ([TIMEOUT], None, Outcome.UNKNOWN, DecisionNeeded),
    "first look fails": ([FAILURE], None, Outcome.FAILED, CommandFailed),
    "first look finds nobody": ([GONE], None, Outcome.FAILED, HostUnreachable),
    "act times out, done": ([NotDone(), Done()], TIMEOUT, Outcome.SUCCEEDED, None),
    "act times out, not done": ([NotDone(), NotDone("old")], TIMEOUT, Outcome.FAILED, CommandFailed),
    "act times out, cannot tell": ([NotDone(), Unknown("?")], TIMEOUT, Outcome.UNKNOWN, DecisionNeeded),
    "act times out, look times out": ([NotDone(), TIMEOUT], TIMEOUT, Outcome.UNKNOWN, DecisionNeeded),
    "act times out, nobody there": ([NotDone(), GONE], TIMEOUT, Outcome.UNKNOWN, HostUnreachable),
    "connection lost, done": ([NotDone(), Done()], GONE, Outcome.SUCCEEDED, None),
    "connection lost, not done": ([NotDone(), NotDone()], GONE, Outcome.FAILED, HostUnreachable),
    "connection lost, cannot tell": ([NotDone(), Unknown("?")], GONE, Outcome.UNKNOWN, DecisionNeeded),
    "connection lost for good": ([NotDone(), GONE], GONE, Outcome.UNKNOWN, HostUnreachable),
    "act fails, done all the same": ([NotDone(), Done()], FAILURE, Outcome.SUCCEEDED, None),
    "act fails, not done": ([NotDone(), NotDone("old")], FAILURE, Outcome.FAILED, CommandFailed),
    "act fails, cannot tell": ([NotDone(), Unknown("?")], FAILURE, Outcome.FAILED, CommandFailed),
    "act fails, look fails": ([NotDone(), UnexpectedOutput("{")], FAILURE, Outcome.FAILED, CommandFailed),
    "act fails, then nobody there": ([NotDone(), GONE], FAILURE, Outcome.UNKNOWN, HostUnreachable),
    "act ends well, look fails": ([NotDone(), UnexpectedOutput("{")], None, Outcome.FAILED, UnexpectedOutput),
    "act needs a person": ([NotDone()], DecisionNeeded("who?"), Outcome.INTERRUPTED, DecisionNeeded),
    "act refuses": ([NotDone()], Refused("no"), Outcome.FAILED, Refused),
    "act is interrupted": ([NotDone()], Interrupted("stop"), Outcome.INTERRUPTED, Interrupted),
    "first look is interrupted": ([Interrupted("stop")], None, Outcome.INTERRUPTED, Interrupted),
    "last look is interrupted": ([NotDone(), Interrupted("stop")], None, Outcome.INTERRUPTED, Interrupted),
    "act has a bug": ([NotDone()], ZeroDivisionError("x"), Outcome.FAILED, ZeroDivisionError),
    "look has a bug": ([ZeroDivisionError("x")], None, Outcome.FAILED, ZeroDivisionError),
}


@pytest.mark.parametrize("case", CASES)
def test_how_an_attempt_ends(case: str) -> None:
    looks, act, outcome, problem = CASES[case]
    ending = attempt(step(looks, act), FACTS, in_doubt=False)
    assert ending.outcome is outcome
    assert type(ending.problem) is (problem or type(None))
    assert (ending.seen is not None) is (outcome is Outcome.SUCCEEDED)
    if ending.problem is not None:
        assert ending.detail


def test_what_is_done_is_not_done_again() -> None:
    acted: list[str] = []
    attempt(step([Done()], acted=acted), FACTS, in_doubt=True)
    assert acted == []


def test_an_unreachable_host_leaves_an_earlier_doubt_in_place() -> None:
    assert attempt(step([GONE]), FACTS, in_doubt=True).outcome is Outcome.UNKNOWN


def test_success_against_the_exit_code_says_so() -> None:
    ending = attempt(step([NotDone(), Done()], FAILURE), FACTS, in_doubt=False)
    assert ending.detail == "The cluster shows it done, although: kubeadm ended with 1"


def test_a_failure_carries_what_the_act_said_and_what_the_probe_saw() -> None:
    failure = CommandFailed("kubeadm ended with 1", exit_status=1)
    ending = attempt(step([NotDone(), NotDone("cp1 runs v1.27.16")], failure), FACTS, in_doubt=False)
    assert ending.detail == "kubeadm ended with 1; then: cp1 runs v1.27.16"
    assert failure.reasons == ("Apply: cp1 runs v1.27.16",)


def test_doubt_names_the_step_and_the_way_on() -> None:
    problem = attempt(step([Unknown("no answer")]), FACTS, in_doubt=True).problem
    assert isinstance(problem, DecisionNeeded)
    assert "no answer" in problem.message
    assert "apply" in problem.hint
    assert "upgrade-guard resume" in problem.hint


def test_a_second_interrupt_passes_through_and_leaves_the_step_in_doubt() -> None:
    def act(facts: Facts) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(Step("apply", "Apply", lambda facts: NotDone(), act), FACTS, in_doubt=False)
