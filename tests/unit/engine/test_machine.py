from __future__ import annotations

import pytest
from unit.engine.test_gate import open_evidence

from upgrade_guard.engine.machine import FINAL, TABLE, TransitionRefused, advance, allowed, is_guarded, mermaid
from upgrade_guard.model.run import Event, State

LEGAL = [(source, way.event, way.target) for way in TABLE for source in way.sources]
ILLEGAL = [(state, event) for state in State for event in Event if event not in allowed(state)]


@pytest.mark.parametrize(("source", "event", "target"), LEGAL, ids=lambda value: value.value)
def test_every_row_of_the_table_leads_where_it_says(source: State, event: Event, target: State) -> None:
    assert advance(source, event, open_evidence()) is target


@pytest.mark.parametrize(("state", "event"), ILLEGAL, ids=lambda value: value.value)
def test_everything_else_is_refused_with_what_is_possible(state: State, event: Event) -> None:
    with pytest.raises(TransitionRefused) as refused:
        advance(state, event, open_evidence())
    assert state.value in refused.value.message
    assert refused.value.hint
    possible = ", ".join(legal.value for legal in allowed(state)) or "nothing"
    assert possible in refused.value.reasons[0]


def test_one_event_leads_to_one_state() -> None:
    assert len({way.event for way in TABLE}) == len(TABLE) == len(Event)


def test_every_state_is_reachable_from_the_first() -> None:
    reached = {State.STARTED}
    while True:
        further = {way.target for way in TABLE if reached & set(way.sources)}
        if further <= reached:
            break
        reached |= further
    assert reached == set(State)


@pytest.mark.parametrize("state", State, ids=lambda state: state.value)
def test_only_final_states_have_no_way_out(state: State) -> None:
    assert (allowed(state) == ()) is (state in FINAL)


def test_the_gate_stands_before_planned_alone() -> None:
    assert [way.target for way in TABLE if way.guard is not None] == [State.PLANNED]
    assert is_guarded(Event.PLAN_APPROVED)
    assert not is_guarded(Event.ROLLBACK_BEGUN)


def test_the_gate_refuses_with_every_reason() -> None:
    evidence = open_evidence(alarms=("NOSPACE",), copies_off_control_plane=0)
    with pytest.raises(TransitionRefused) as refused:
        advance(State.COPIED, Event.PLAN_APPROVED, evidence)
    assert len(refused.value.reasons) == 2


def test_without_evidence_the_gate_stays_closed() -> None:
    with pytest.raises(TransitionRefused, match="gate is closed") as refused:
        advance(State.COPIED, Event.PLAN_APPROVED)
    assert refused.value.reasons == ("No evidence was gathered.",)


def test_the_diagram_shows_every_way() -> None:
    diagram = mermaid()
    assert diagram.startswith("stateDiagram-v2\n")
    assert diagram.count(" --> ") == len(LEGAL) + 1 + len(FINAL)
    assert "    copied --> planned: plan-approved [gate]\n" in diagram
    assert '    state "rollback-failed" as rollback_failed\n' in diagram
