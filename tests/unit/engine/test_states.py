from __future__ import annotations

import pytest
from unit.engine.test_gate import open_evidence

from upgrade_guard.engine.states import (
    TABLES,
    TransitionRefused,
    advance,
    allowed,
    is_guarded,
    mermaid,
    states,
)
from upgrade_guard.model.run import FINAL, OF_THE_CLUSTER, Event, Kind, State

LEGAL = [(kind, source, way.event, way.target) for kind in Kind for way in TABLES[kind] for source in way.sources]
ILLEGAL = [
    (kind, state, event)
    for kind in Kind
    for state in states(kind)
    for event in Event
    if event not in allowed(kind, state)
]


@pytest.mark.parametrize(("kind", "source", "event", "target"), LEGAL, ids=lambda value: value.value)
def test_every_row_of_a_table_leads_where_it_says(kind: Kind, source: State, event: Event, target: State) -> None:
    assert advance(kind, source, event, open_evidence()) is target


@pytest.mark.parametrize(("kind", "state", "event"), ILLEGAL, ids=lambda value: value.value)
def test_everything_else_is_refused_with_what_is_possible(kind: Kind, state: State, event: Event) -> None:
    with pytest.raises(TransitionRefused) as refused:
        advance(kind, state, event, open_evidence())
    assert state.value in refused.value.message
    assert event.value in refused.value.message
    assert "`upgrade-guard status`" in refused.value.hint
    possible = ", ".join(legal.value for legal in allowed(kind, state)) or "nothing"
    assert refused.value.reasons == (f"Possible while {state.value}: {possible}.",)


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.value)
def test_one_event_leads_to_one_state(kind: Kind) -> None:
    assert len({way.event for way in TABLES[kind]}) == len(TABLES[kind])


def test_no_event_and_no_state_is_known_to_nobody() -> None:
    assert {way.event for table in TABLES.values() for way in table} == set(Event)
    assert {state for kind in Kind for state in states(kind)} == set(State)


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.value)
def test_every_state_is_reachable_from_the_first(kind: Kind) -> None:
    reached = {State.STARTED}
    while True:
        further = {way.target for way in TABLES[kind] if reached & set(way.sources)}
        if further <= reached:
            break
        reached |= further
    assert reached == set(states(kind))


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.value)
def test_only_final_states_have_no_way_out(kind: Kind) -> None:
    assert {state for state in states(kind) if not allowed(kind, state)} == FINAL & set(states(kind))


def test_the_gate_stands_before_planned_alone() -> None:
    guarded = [(kind, way.target) for kind in Kind for way in TABLES[kind] if way.guard is not None]
    assert guarded == [(Kind.UPGRADE, State.PLANNED)]
    assert is_guarded(Kind.UPGRADE, Event.PLAN_APPROVED)
    assert not is_guarded(Kind.UPGRADE, Event.ROLLBACK_BEGUN)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in OF_THE_CLUSTER], ids=lambda kind: kind.value)
def test_what_only_reads_the_cluster_can_be_closed_from_everywhere(kind: Kind) -> None:
    """A backup that was killed or failed never stands in the way of an upgrade."""
    for state in set(states(kind)) - FINAL:
        assert {Event.RUN_FAILED, Event.RUN_ABORTED} <= set(allowed(kind, state))


def test_the_gate_refuses_with_every_reason() -> None:
    evidence = open_evidence(alarms=("NOSPACE",), copies_off_control_plane=0)
    with pytest.raises(TransitionRefused) as refused:
        advance(Kind.UPGRADE, State.COPIED, Event.PLAN_APPROVED, evidence)
    assert len(refused.value.reasons) == 2
    assert "`upgrade-guard resume`" in refused.value.hint
    assert "plan-approved" in refused.value.message


def test_without_evidence_the_gate_stays_closed() -> None:
    with pytest.raises(TransitionRefused, match="gate is closed") as refused:
        advance(Kind.UPGRADE, State.COPIED, Event.PLAN_APPROVED)
    assert refused.value.reasons == ("No evidence was gathered.",)


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.value)
def test_the_diagram_shows_every_way(kind: Kind) -> None:
    diagram = mermaid(kind)
    ways = [entry for entry in LEGAL if entry[0] is kind]
    assert diagram.startswith("stateDiagram-v2\n")
    assert diagram.count(" --> ") == len(ways) + 1 + len(FINAL & set(states(kind)))


def test_the_diagram_marks_the_gate_and_names_states_as_they_are() -> None:
    diagram = mermaid()
    assert "    copied --> planned: plan-approved [gate]\n" in diagram
    assert diagram.count("[gate]") == 1
    assert "    [*] --> started\n" in diagram
    assert "    rolling_back --> rolled_back: rollback-confirmed\n" in diagram
    assert diagram.endswith("    rolled_back --> [*]\n")
    assert diagram == mermaid(Kind.UPGRADE), "of an upgrade where nobody says of what"
    assert '    state "rollback-failed" as rollback_failed\n' in diagram
