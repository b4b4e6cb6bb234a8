"""What was changed in a row that does not give its digest, where trying the few values that a column can have tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from upgrade_guard.journal.chain import computed
from upgrade_guard.model.run import Event, Outcome, State

_STATES = tuple(state.value for state in State)
_EXIT_STATUSES = (None, *range(256))
_FEW = tuple(range(10))

# Text from the world cannot be guessed; what an editor would like to look better can.
_CANDIDATES: Mapping[tuple[str, str], Iterable[Any]] = {
    ("steps", "outcome"): tuple(outcome.value for outcome in Outcome),
    ("steps", "state"): _STATES,
    ("steps", "changes_node"): (0, 1),
    ("steps", "detail"): ("",),
    ("transitions", "event"): tuple(event.value for event in Event),
    ("transitions", "from_state"): _STATES,
    ("transitions", "to_state"): _STATES,
    ("transitions", "reasons"): ("[]",),
    ("commands", "exit_status"): _EXIT_STATUSES,
    ("commands", "changes"): (0, 1),
    ("commands", "stderr"): ("",),
    ("proofs", "ok"): (0, 1),
    ("copies", "read_back"): (0, 1),
    ("copies", "off_control_plane"): (0, 1),
    ("runs", "offsite_required"): _FEW,
}


def what_would_hold(table: str, row: Mapping[str, Any], wanted: str) -> str:
    """The column and the value with which the row would give its digest, "" when it is not one of the few tried."""
    for (other, column), values in _CANDIDATES.items():
        if other == table:
            for value in values:
                if computed(table, {**row, column: value}) == wanted:
                    return f"{column} = {'NULL' if value is None else repr(value)}"
    return ""
