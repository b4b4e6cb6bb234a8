"""Values to what JSON knows, without a library: answers only go out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from upgrade_guard.model.run import Run
from upgrade_guard.model.version import Version


def plain(value: Any) -> Any:
    """Dataclasses as objects, times as ISO 8601, enums as their values; functions inside of values are left out."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str | Path | Version):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        entries = ((entry.name, getattr(value, entry.name)) for entry in dataclasses.fields(value))
        return {name: plain(entry) for name, entry in entries if not callable(entry)}
    raise TypeError(f"{type(value).__name__} has no JSON form")


def run_answer(run: Run) -> dict[str, Any]:
    """The keys of a run that every JSON answer about it has."""
    return {
        "id": run.id,
        "kind": run.kind,
        "cluster": run.cluster,
        "from": run.from_version,
        "target": run.target,
        "state": run.state,
        "outcome": run.outcome,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
    }
