"""The state machine: the table as data, and a typed door to `transitions`, which no other module imports.

A transition only says that something may now be believed. No callback does work: the caller writes the outcome and
the new state to the journal in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from transitions import Machine, MachineError

from upgrade_guard.engine.gate import closed_because
from upgrade_guard.errors import Refused
from upgrade_guard.model.evidence import Evidence
from upgrade_guard.model.run import Event, State

# A guard answers with every reason against; none means that the way is open.
Guard = Callable[[Evidence], tuple[str, ...]]


@dataclass(frozen=True)
class Way:
    """One event, the states from which it is legal, the state it reaches, and the guard before it."""

    event: Event
    sources: tuple[State, ...]
    target: State
    guard: Guard | None = None


TABLE: tuple[Way, ...] = (
    Way(Event.CLUSTER_INSPECTED, (State.STARTED,), State.INSPECTED),
    Way(Event.SNAPSHOT_TAKEN, (State.INSPECTED,), State.SNAPSHOTTED),
    Way(Event.SNAPSHOT_PROVEN, (State.SNAPSHOTTED,), State.VERIFIED),
    Way(Event.COPIES_READ_BACK, (State.VERIFIED,), State.COPIED),
    Way(Event.PLAN_APPROVED, (State.COPIED,), State.PLANNED, closed_because),
    Way(Event.CONTROL_PLANE_CHANGED, (State.PLANNED,), State.CONTROL_PLANE_UPGRADED),
    Way(Event.NODES_CHANGED, (State.CONTROL_PLANE_UPGRADED,), State.NODES_UPGRADED),
    Way(Event.UPGRADE_CONFIRMED, (State.NODES_UPGRADED,), State.COMPLETED),
    Way(
        Event.EVIDENCE_EXPIRED,
        (State.SNAPSHOTTED, State.VERIFIED, State.COPIED, State.PLANNED),
        State.INSPECTED,
    ),
    Way(
        Event.RUN_ABORTED,
        (State.STARTED, State.INSPECTED, State.SNAPSHOTTED, State.VERIFIED, State.COPIED, State.PLANNED),
        State.ABORTED,
    ),
    Way(
        Event.ROLLBACK_BEGUN,
        (State.COPIED, State.PLANNED, State.CONTROL_PLANE_UPGRADED, State.NODES_UPGRADED, State.ROLLBACK_FAILED),
        State.ROLLING_BACK,
    ),
    Way(Event.ROLLBACK_CONFIRMED, (State.ROLLING_BACK,), State.ROLLED_BACK),
    Way(Event.ROLLBACK_STOPPED, (State.ROLLING_BACK,), State.ROLLBACK_FAILED),
)
FINAL: frozenset[State] = frozenset({State.COMPLETED, State.ABORTED, State.ROLLED_BACK})


class TransitionRefused(Refused):
    """The event is not legal in this state, or its guard is closed; `reasons` has every one."""

    code = "transition-refused"


class _Position:
    """What `transitions` moves; it hangs its own methods on it, which nothing here calls."""

    state: State


def _condition(guard: Guard) -> Callable[[Evidence | None], bool]:
    def is_open(evidence: Evidence | None) -> bool:
        return evidence is not None and not guard(evidence)

    return is_open


def _machine() -> Machine:
    return Machine(
        model=None,
        states=State,
        initial=State.STARTED,
        transitions=[
            {
                "trigger": way.event.value,
                "source": list(way.sources),
                "dest": way.target,
                "conditions": [] if way.guard is None else [_condition(way.guard)],
            }
            for way in TABLE
        ],
        # `model_override` would be the typed way, but logs a warning for each of the thirty methods not declared; the
        # events of the machine itself are typed as they are.
        auto_transitions=False,
    )


def allowed(state: State) -> tuple[Event, ...]:
    """The events that are legal in this state, guards aside, in the order of the table."""
    return tuple(way.event for way in TABLE if state in way.sources)


def is_guarded(event: Event) -> bool:
    """Does this event need evidence?"""
    return any(way.guard is not None for way in TABLE if way.event is event)


def advance(state: State, event: Event, evidence: Evidence | None = None) -> State:
    """The state that the event leads to. Raises TransitionRefused with every reason."""
    position = _Position()
    machine = _machine()
    machine.add_model(position, initial=state)
    try:
        moved = machine.events[event.value].trigger(position, evidence)
    except MachineError as error:
        legal = ", ".join(known.value for known in allowed(state)) or "nothing"
        raise TransitionRefused(
            f"{event.value} is not possible while the run is {state.value}.",
            hint="Type `upgrade-guard status` to see where the run stands.",
            reasons=(f"Possible while {state.value}: {legal}.",),
        ) from error
    if not moved:
        raise TransitionRefused(
            f"The gate is closed: {event.value} is refused.",
            hint="Type `upgrade-guard resume` to take a new snapshot.",
            reasons=_reasons(event, evidence),
        )
    return position.state


def mermaid() -> str:
    """The table as a mermaid state diagram, with guards in brackets."""
    names = {state: state.value.replace("-", "_") for state in State}
    lines = ["stateDiagram-v2"]
    lines += [f'    state "{state.value}" as {name}' for state, name in names.items()]
    lines.append(f"    [*] --> {names[State.STARTED]}")
    for way in TABLE:
        guard = " [gate]" if way.guard is not None else ""
        lines += [f"    {names[source]} --> {names[way.target]}: {way.event.value}{guard}" for source in way.sources]
    lines += [f"    {names[state]} --> [*]" for state in State if state in FINAL]
    return "\n".join(lines) + "\n"


def _reasons(event: Event, evidence: Evidence | None) -> tuple[str, ...]:
    if evidence is None:
        return ("No evidence was gathered.",)
    return tuple(
        reason for way in TABLE if way.event is event and way.guard is not None for reason in way.guard(evidence)
    )
