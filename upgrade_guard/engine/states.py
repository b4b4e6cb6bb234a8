"""The state machine: a table for each kind of run, as data, and a typed door to `transitions`, for this module alone.

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
from upgrade_guard.model.run import FINAL, Event, Kind, State

# A guard answers with every reason against; none means that the way is open.
Guard = Callable[[Evidence], tuple[str, ...]]


@dataclass(frozen=True)
class Edge:
    """One event, the states from which it is legal, the state it reaches, and the guard before it."""

    event: Event
    sources: tuple[State, ...]
    target: State
    guard: Guard | None = None


_UPGRADE: tuple[Edge, ...] = (
    Edge(Event.CLUSTER_INSPECTED, (State.STARTED,), State.INSPECTED),
    Edge(Event.SNAPSHOT_TAKEN, (State.INSPECTED,), State.SNAPSHOTTED),
    Edge(Event.SNAPSHOT_PROVEN, (State.SNAPSHOTTED,), State.VERIFIED),
    Edge(Event.COPIES_READ_BACK, (State.VERIFIED,), State.COPIED),
    Edge(Event.PLAN_APPROVED, (State.COPIED,), State.PLANNED, closed_because),
    Edge(Event.CONTROL_PLANE_CHANGED, (State.PLANNED,), State.CONTROL_PLANE_UPGRADED),
    Edge(Event.NODES_CHANGED, (State.CONTROL_PLANE_UPGRADED,), State.NODES_UPGRADED),
    Edge(Event.UPGRADE_CONFIRMED, (State.NODES_UPGRADED,), State.COMPLETED),
    Edge(
        Event.EVIDENCE_EXPIRED,
        (State.SNAPSHOTTED, State.VERIFIED, State.COPIED, State.PLANNED),
        State.INSPECTED,
    ),
    Edge(
        Event.RUN_ABORTED,
        (State.STARTED, State.INSPECTED, State.SNAPSHOTTED, State.VERIFIED, State.COPIED, State.PLANNED),
        State.ABORTED,
    ),
    Edge(
        Event.ROLLBACK_BEGUN,
        (State.COPIED, State.PLANNED, State.CONTROL_PLANE_UPGRADED, State.NODES_UPGRADED, State.ROLLBACK_FAILED),
        State.ROLLING_BACK,
    ),
    Edge(Event.ROLLBACK_CONFIRMED, (State.ROLLING_BACK,), State.ROLLED_BACK),
    Edge(Event.ROLLBACK_STOPPED, (State.ROLLING_BACK,), State.ROLLBACK_FAILED),
)
# A backup changes no node, so no gate stands in it. One that failed is closed; one that was killed is resumed.
_BACKUP: tuple[Edge, ...] = (
    Edge(Event.CLUSTER_INSPECTED, (State.STARTED,), State.INSPECTED),
    Edge(Event.SNAPSHOT_TAKEN, (State.INSPECTED,), State.SNAPSHOTTED),
    Edge(Event.SNAPSHOT_PROVEN, (State.SNAPSHOTTED,), State.VERIFIED),
    Edge(Event.COPIES_READ_BACK, (State.VERIFIED,), State.COPIED),
    Edge(Event.BACKUP_KEPT, (State.COPIED,), State.COMPLETED),
    Edge(Event.EVIDENCE_EXPIRED, (State.SNAPSHOTTED, State.VERIFIED, State.COPIED), State.INSPECTED),
    Edge(
        Event.RUN_FAILED,
        (State.STARTED, State.INSPECTED, State.SNAPSHOTTED, State.VERIFIED, State.COPIED),
        State.FAILED,
    ),
    Edge(
        Event.RUN_ABORTED,
        (State.STARTED, State.INSPECTED, State.SNAPSHOTTED, State.VERIFIED, State.COPIED),
        State.ABORTED,
    ),
)
_DRILL: tuple[Edge, ...] = (
    Edge(Event.DRILL_PASSED, (State.STARTED,), State.COMPLETED),
    Edge(Event.RUN_FAILED, (State.STARTED,), State.FAILED),
    Edge(Event.RUN_ABORTED, (State.STARTED,), State.ABORTED),
)
# The bundle is read and proven before anything is stopped; from then on a restore is a rollback to that bundle.
_RESTORE: tuple[Edge, ...] = (
    Edge(Event.BUNDLE_PROVEN, (State.STARTED,), State.INSPECTED),
    Edge(Event.ROLLBACK_BEGUN, (State.INSPECTED, State.ROLLBACK_FAILED), State.ROLLING_BACK),
    Edge(Event.RESTORE_CONFIRMED, (State.ROLLING_BACK,), State.RESTORED),
    Edge(Event.ROLLBACK_STOPPED, (State.ROLLING_BACK,), State.ROLLBACK_FAILED),
    Edge(Event.RUN_ABORTED, (State.STARTED, State.INSPECTED), State.ABORTED),
)
_COPY: tuple[Edge, ...] = (
    Edge(Event.COPIES_READ_BACK, (State.STARTED,), State.COMPLETED),
    Edge(Event.RUN_FAILED, (State.STARTED,), State.FAILED),
    Edge(Event.RUN_ABORTED, (State.STARTED,), State.ABORTED),
)
_PRUNE: tuple[Edge, ...] = (
    Edge(Event.VAULT_PRUNED, (State.STARTED,), State.COMPLETED),
    Edge(Event.RUN_FAILED, (State.STARTED,), State.FAILED),
    Edge(Event.RUN_ABORTED, (State.STARTED,), State.ABORTED),
)
TABLES: dict[Kind, tuple[Edge, ...]] = {
    Kind.UPGRADE: _UPGRADE,
    Kind.BACKUP: _BACKUP,
    Kind.DRILL: _DRILL,
    Kind.RESTORE: _RESTORE,
    Kind.COPY: _COPY,
    Kind.PRUNE: _PRUNE,
}


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


def _machine(kind: Kind) -> Machine:
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
            for way in TABLES[kind]
        ],
        # `model_override` would be the typed way, but logs a warning for each of the thirty methods not declared; the
        # events of the machine itself are typed as they are.
        auto_transitions=False,
    )


def states(kind: Kind) -> tuple[State, ...]:
    """The states that a run of this kind can be in, in the order in which they are declared."""
    found = {State.STARTED} | {way.target for way in TABLES[kind]}
    return tuple(state for state in State if state in found)


def allowed(kind: Kind, state: State) -> tuple[Event, ...]:
    """The events that are legal in this state, guards aside, in the order of the table."""
    return tuple(way.event for way in TABLES[kind] if state in way.sources)


def is_guarded(kind: Kind, event: Event) -> bool:
    """Does this event need evidence?"""
    return any(way.guard is not None for way in TABLES[kind] if way.event is event)


def advance(kind: Kind, state: State, event: Event, evidence: Evidence | None = None) -> State:
    """The state that the event leads to. Raises TransitionRefused with every reason."""
    position = _Position()
    machine = _machine(kind)
    machine.add_model(position, initial=state)
    if event.value not in machine.events:  # no way of this kind has it
        raise _impossible(kind, state, event)
    try:
        moved = machine.events[event.value].trigger(position, evidence)
    except MachineError as error:
        raise _impossible(kind, state, event) from error
    if not moved:
        raise TransitionRefused(
            f"The gate is closed: {event.value} is refused.",
            hint="Type `upgrade-guard resume` to take a new snapshot.",
            reasons=_reasons(kind, event, evidence),
        )
    return position.state


def mermaid(kind: Kind = Kind.UPGRADE) -> str:
    """The table of that kind as a mermaid state diagram, with guards in brackets."""
    names = {state: state.value.replace("-", "_") for state in states(kind)}
    lines = ["stateDiagram-v2"]
    lines += [f'    state "{state.value}" as {name}' for state, name in names.items()]
    lines.append(f"    [*] --> {names[State.STARTED]}")
    for way in TABLES[kind]:
        guard = " [gate]" if way.guard is not None else ""
        lines += [f"    {names[source]} --> {names[way.target]}: {way.event.value}{guard}" for source in way.sources]
    lines += [f"    {names[state]} --> [*]" for state in names if state in FINAL]
    return "\n".join(lines) + "\n"


def _impossible(kind: Kind, state: State, event: Event) -> TransitionRefused:
    legal = ", ".join(known.value for known in allowed(kind, state)) or "nothing"
    return TransitionRefused(
        f"{event.value} is not possible while the run is {state.value}.",
        hint="Type `upgrade-guard status` to see where the run stands.",
        reasons=(f"Possible while {state.value}: {legal}.",),
    )


def _reasons(kind: Kind, event: Event, evidence: Evidence | None) -> tuple[str, ...]:
    if evidence is None:
        return ("No evidence was gathered.",)
    return tuple(
        reason for way in TABLES[kind] if way.event is event and way.guard is not None for reason in way.guard(evidence)
    )
