"""What a run ends in, and which commands it offers: a command that leads nowhere would be worse than none."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from unit.engine.test_gate import open_evidence

from upgrade_guard.engine import outcomes
from upgrade_guard.engine.evidence_check import GateClosed
from upgrade_guard.engine.gate import closed_because
from upgrade_guard.engine.phase_runner import StepProblem
from upgrade_guard.engine.states import allowed, states
from upgrade_guard.errors import (
    CommandFailed,
    DecisionNeeded,
    EvidenceLost,
    GuardError,
    HostUnreachable,
    Interrupted,
    LockHeld,
    Refused,
    StepFailed,
    UsageProblem,
)
from upgrade_guard.model.evidence import Evidence
from upgrade_guard.model.run import FINAL, OF_THE_CLUSTER, Event, Kind, Run, State
from upgrade_guard.model.step import Done, Phase, Step

PHASE = Phase("nodes", "Upgrade nodes", ())
RESUME, ROLLBACK, ABORT = "upgrade-guard resume", "upgrade-guard rollback", "upgrade-guard abort"
OPEN = [(kind, state) for kind in OF_THE_CLUSTER for state in states(kind) if state not in FINAL]
BACK = (State.ROLLING_BACK, State.ROLLBACK_FAILED)


def run(state: State = State.PLANNED, kind: Kind = Kind.UPGRADE, tool_version: str = "1.0") -> Run:
    began = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
    return Run(
        *("r1", "prod", "v1.27.16", "v1.28.0", state, "", began, None, 1, 1800.0),
        tool_version=tool_version,
        kind=kind,
    )


def failed(problem: GuardError, lane: str = "w1") -> StepProblem:
    return StepProblem(Step(f"nodes/{lane}", "", lambda _: Done(), lambda _: None, lane=lane), problem)


def problem(message: str, *reasons: str, hint: str = "") -> StepFailed:
    return StepFailed(message, hint=hint, reasons=reasons)


def commands(text: str) -> list[str]:
    return re.findall(r"`([^`]*)`", text)


@pytest.mark.parametrize(("kind", "state"), OPEN, ids=lambda value: value.value)
def test_what_is_offered_is_what_the_state_allows(kind: Kind, state: State) -> None:
    offered = commands(outcomes.choices(kind, state))
    events = allowed(kind, state)
    assert offered[0] == RESUME
    assert (ROLLBACK in offered) == (
        kind is Kind.UPGRADE and Event.ROLLBACK_BEGUN in events and state is not State.ROLLBACK_FAILED
    )
    assert (ABORT in offered) == (Event.RUN_ABORTED in events)
    assert set(offered) <= {RESUME, ROLLBACK, ABORT}


@pytest.mark.parametrize("state", BACK)
@pytest.mark.parametrize(("kind", "way"), [(Kind.UPGRADE, "rollback"), (Kind.RESTORE, "restore")])
def test_a_way_back_is_named_as_what_it_is(kind: Kind, way: str, state: State) -> None:
    assert outcomes.choices(kind, state).endswith(f"with the {way}.")


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in OF_THE_CLUSTER])
def test_what_leaves_nothing_half_way_is_begun_again(kind: Kind) -> None:
    assert commands(outcomes.choices(kind, State.STARTED)) == [outcomes.AGAIN[kind]]
    assert outcomes.in_words_of(kind, f"Type `{RESUME}`") == f"Type `{outcomes.AGAIN[kind]}`"


@pytest.mark.parametrize("kind", OF_THE_CLUSTER)
def test_what_changes_the_cluster_is_resumed(kind: Kind) -> None:
    assert outcomes.in_words_of(kind, f"Type `{RESUME}`") == f"Type `{RESUME}`"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (StepFailed("x"), True),
        (CommandFailed("x", exit_status=1), True),
        (EvidenceLost("x"), True),
        (Refused("x"), True),
        (HostUnreachable("x"), False),
        (DecisionNeeded("x"), False),
        (Interrupted("x"), False),
        (UsageProblem("x"), False),
        (LockHeld("x"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_a_failure(said: GuardError, expected: bool) -> None:
    assert outcomes.calls_for_rollback(said) is expected


def test_reasons_are_told_once_and_in_order() -> None:
    problems = (failed(problem("a", "b", "c")), failed(problem("b", "a", "d")))
    assert outcomes.reasons_of(problems) == ("a", "b", "c", "d")


def test_the_first_problem_keeps_its_own_words_and_carries_the_others() -> None:
    first = problem("a", "b", hint="cure it")
    assert outcomes.as_it_is((failed(first), failed(problem("c", "b"))), run()) is first
    assert (first.message, first.hint, first.reasons) == ("a", "cure it", ("b", "c"))


def test_a_problem_without_a_cure_gets_the_ways_on() -> None:
    told = outcomes.as_it_is((failed(problem("a")),), run(State.NODES_UPGRADED))
    assert (told.hint, told.reasons) == (outcomes.choices(Kind.UPGRADE, State.NODES_UPGRADED), ())


def test_a_run_that_has_ended_is_named() -> None:
    told = outcomes.ended(run(State.COMPLETED))
    assert "r1" in told.message
    assert "completed" in told.message
    assert commands(told.hint) == ["upgrade-guard history"]


def test_a_lane_that_failed_is_named_once_with_what_was_put_back() -> None:
    problems = (failed(problem("no room.", "x")), failed(problem("later")), failed(problem("gone"), "w2"))
    told = outcomes.lane_failed(run(), PHASE, problems, ("w1", "w2"))
    assert told.message == "Upgrade nodes: w1, w2 failed: no room. Put back: w1, w2."
    assert told.reasons == ("no room.", "x", "later", "gone")
    assert told.hint == outcomes.choices(Kind.UPGRADE, State.PLANNED)


def test_what_belongs_to_no_node_is_the_clusters() -> None:
    told = outcomes.lane_failed(run(), PHASE, (failed(problem("no"), ""),), ())
    assert told.message == "Upgrade nodes: the cluster failed: no."


def test_who_wants_to_be_asked_is_asked() -> None:
    told = outcomes.stopped_without_rollback(run(), PHASE, (failed(problem("no", "why")),))
    assert told.message == "Upgrade nodes failed: no"
    assert told.hint == outcomes.choices(Kind.UPGRADE, State.PLANNED)
    assert told.reasons == ("no", "why")


@pytest.mark.parametrize(
    ("put_back", "said"),
    [
        ((), "Nothing was taken back: all serve."),
        (("w1",), "Only w1 went back: all serve."),
        (("w1", "w2"), "Only w1 and w2 went back: all serve."),
    ],
)
def test_a_pause_says_what_went_back_and_why_no_more(put_back: tuple[str, ...], said: str) -> None:
    problems = (failed(problem("no.", "x", hint="cure it")), failed(problem("no.", "y")))
    told = outcomes.paused(run(), PHASE, problems, "all serve", put_back)
    ways_on = outcomes.choices(Kind.UPGRADE, State.PLANNED)
    assert told.message == f"Upgrade nodes: no. {said}"
    assert (told.hint, told.reasons) == ("cure it", ("no.", "x", "y", ways_on))
    assert outcomes.paused(run(), PHASE, problems, "all serve").message.endswith("Nothing was taken back: all serve.")


@pytest.mark.parametrize(
    ("blind", "kind"),
    [
        (HostUnreachable("cp2 is gone", reasons=("x", "no route")), HostUnreachable),
        (CommandFailed("kubectl ended with 1", exit_status=1), StepFailed),
        (LockHeld("ben has it"), StepFailed),
    ],
)
def test_who_cannot_see_decides_nothing(blind: GuardError, kind: type[GuardError]) -> None:
    told = outcomes.cannot_answer(run(), PHASE, (failed(problem("no.", "x")),), blind)
    assert type(told) is kind
    assert told.message == f"Upgrade nodes: no; nothing is decided yet: {blind.message}"
    assert told.hint == outcomes.choices(Kind.UPGRADE, State.PLANNED)
    assert told.reasons == tuple(dict.fromkeys(("no.", "x", *blind.reasons)))


def test_nodes_that_are_left_are_named_once() -> None:
    problems = (failed(problem("not Ready")), failed(problem("again")), failed(problem("gone"), "w2"))
    told = outcomes.nodes_left(run(State.ROLLING_BACK), PHASE, problems)
    assert told.message == "Upgrade nodes: the control plane is back, and these nodes are not: w1, w2: not Ready"
    ways_on = outcomes.choices(Kind.UPGRADE, State.ROLLING_BACK)
    assert (told.hint, told.reasons) == (ways_on, ("not Ready", "again", "gone", ways_on))


def closed(*, edited: bool = False, **different: object) -> GateClosed:
    evidence: Evidence = open_evidence(**different)
    return GateClosed(evidence, closed_because(evidence), edited=edited)


OLD = {"proven_at": datetime(2026, 2, 1, tzinfo=UTC)}
LOST = {"proof_succeeded": False}


@pytest.mark.parametrize(
    ("gate", "touched", "offered", "longer"),
    [
        (closed(**OLD), False, RESUME, True),
        (closed(**LOST), False, RESUME, False),
        (closed(edited=True, **OLD), False, ABORT, False),
        (closed(**OLD), True, ROLLBACK, False),
        (closed(edited=True, **LOST), True, ROLLBACK, False),
    ],
)
def test_a_closed_gate_offers_what_cures_it(gate: GateClosed, touched: bool, offered: str, longer: bool) -> None:
    told = outcomes.gate_closed(gate, touched=touched)
    assert commands(told.hint) == [offered]
    assert ("snapshot_max_age" in told.hint) is longer
    assert ("control plane" in told.message) is touched
    assert told.reasons == gate.reasons != ()
    assert str(gate) == "; ".join(gate.reasons)


@pytest.mark.parametrize(("version", "named"), [("1.0", "upgrade-guard 1.0"), ("", "the version of upgrade-guard")])
def test_a_plan_that_changed_names_the_version_that_knows_it(version: str, named: str) -> None:
    told = outcomes.plan_changed(run(State.COPIED, tool_version=version), ("a/old", "b/old"))
    assert f"with {named}," in told.hint
    assert commands(told.hint) == [RESUME]
    assert [reason.split()[0] for reason in told.reasons] == ["a/old", "b/old"]
    assert all("copied" in reason for reason in told.reasons)


@pytest.mark.parametrize(
    ("one", "touched", "said", "offered"),
    [
        (run(State.COMPLETED), False, "has ended: completed", ["upgrade-guard history"]),
        (run(State.RESTORED, Kind.RESTORE), False, "has ended: restored", ["upgrade-guard history"]),
        (run(State.ROLLING_BACK, Kind.RESTORE), False, "r1 has begun to change the cluster", [RESUME]),
        (run(State.PLANNED), True, "r1 cannot be closed as it is: the control plane has begun to change", [ROLLBACK]),
        (run(State.ROLLING_BACK), False, "r1 cannot be closed as it is: the run is rolling-back", [ROLLBACK]),
    ],
)
def test_what_cannot_be_closed(one: Run, touched: bool, said: str, offered: list[str]) -> None:
    told = outcomes.cannot_abort(one, touched=touched)
    assert said in told.message
    assert commands(told.hint) == offered


@pytest.mark.parametrize(
    ("one", "said", "offered"),
    [
        (run(State.PLANNED, Kind.RESTORE), "a restore cannot be rolled back", [RESUME]),
        (run(State.RESTORED, Kind.RESTORE), "has ended: restored", ["upgrade-guard history"]),
        (run(State.COMPLETED), "has ended: completed", ["upgrade-guard history"]),
        (run(State.VERIFIED), "verified: no node was changed", [ABORT]),
    ],
)
def test_what_cannot_be_rolled_back(one: Run, said: str, offered: list[str]) -> None:
    told = outcomes.cannot_roll_back(one)
    assert said in told.message
    assert "r1" in told.message
    assert commands(told.hint) == offered


def test_an_upgrade_that_was_taken_back_says_to_what() -> None:
    told = outcomes.rolled_back(run(State.ROLLED_BACK), ("no room",))
    assert "v1.28.0 failed" in told.message
    assert "to v1.27.16" in told.message
    assert commands(told.hint) == ["upgrade-guard show r1"]
    assert told.reasons == ("no room",)


@pytest.mark.parametrize(("kind", "way"), [(Kind.UPGRADE, "rollback"), (Kind.RESTORE, "restore")])
def test_a_way_back_that_failed_says_why_and_why_it_began(kind: Kind, way: str) -> None:
    problems = (failed(problem("no room", "x")),)
    told = outcomes.rollback_failed(run(State.ROLLING_BACK, kind), problems, ("apply failed", "x"))
    assert told.message == f"The {way} failed: no room"
    assert told.reasons == ("no room", "x", "apply failed")
    assert commands(told.hint) == [RESUME]
