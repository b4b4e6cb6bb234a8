"""Rows as they are stored to frozen values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

from upgrade_guard.journal.encoding import instant
from upgrade_guard.journal.rows import Row
from upgrade_guard.model.run import CopyRecord, Kind, Outcome, ProofRecord, Run, SnapshotRecord, State, StepRow

Stored = TypeVar("Stored", bound=Enum)
_SHOWN = 60  # characters of a spoilt value in our messages


class StrangeValueError(Exception):
    """A stored value that this version does not know."""


class SpoiltValueError(Exception):
    """A stored value that no version writes: somebody edited it."""


def run_of(row: Row) -> Run:
    """A run; without a kind it is an upgrade, from before there were others."""
    return Run(
        id=row["id"],
        cluster=row["cluster"],
        from_version=row["from_version"],
        target=row["target"],
        state=known(State, row["state"]),
        outcome=row["outcome"],
        started_at=when(row["started_at"]),
        finished_at=None if row["finished_at"] is None else when(row["finished_at"]),
        offsite_required=whole(row["offsite_required"]),
        snapshot_max_age=number(row["snapshot_max_age"]),
        settings=mapping(row["settings"]),
        operator=row["operator"],
        host=row["host"],
        tool_version=row["tool_version"],
        kind=Kind.UPGRADE if row["kind"] is None else known(Kind, row["kind"]),
    )


def step_of(row: Row) -> StepRow:
    """A row of a step."""
    return StepRow(
        seq=whole(row["seq"]),
        run_id=row["run_id"],
        name=row["name"],
        lane=row["lane"],
        attempt=whole(row["attempt"]),
        state=known(State, row["state"]),
        outcome=known(Outcome, row["outcome"]),
        changes_node=bool(row["changes_node"]),
        at=when(row["at"]),
        result=mapping(row["result"]),
        detail=row["detail"],
    )


def snapshot_of(row: Row) -> SnapshotRecord:
    """A bundle that was published."""
    return SnapshotRecord(
        bundle=row["bundle"],
        path=row["path"],
        snapshot_sha256=row["snapshot_sha256"],
        manifest_sha256=row["manifest_sha256"],
        size=whole(row["size"]),
        revision=whole(row["revision"]),
        cluster_id=row["cluster_id"],
        taken_at=when(row["taken_at"]),
    )


def proof_of(row: Row) -> ProofRecord:
    """A proof."""
    return ProofRecord(
        bundle=row["bundle"],
        snapshot_sha256=row["snapshot_sha256"],
        ok=bool(row["ok"]),
        revision=whole(row["revision"]),
        hashkv=whole(row["hashkv"]),
        restore_seconds=number(row["restore_seconds"]),
        proven_at=when(row["proven_at"]),
        levels=mapping(row["levels"]),
    )


def copy_of(row: Row) -> CopyRecord:
    """A copy."""
    return CopyRecord(
        bundle=row["bundle"],
        target=row["target"],
        location=row["location"],
        sha256=row["sha256"],
        read_back=bool(row["read_back"]),
        off_control_plane=bool(row["off_control_plane"]),
        copied_at=when(row["copied_at"]),
    )


def when(text: object) -> datetime:
    """A time. Raises SpoiltValueError."""
    try:
        return instant(str(text))
    except ValueError:
        raise SpoiltValueError(f"{_shown(text)} is no time") from None


def mapping(text: object) -> Mapping[str, Any]:
    """A JSON object. Raises SpoiltValueError."""
    value = _read(text)
    if not isinstance(value, dict):
        raise SpoiltValueError(f"{_shown(text)} is no JSON object")
    return value


def words(text: object) -> tuple[str, ...]:
    """A JSON list of strings. Raises SpoiltValueError."""
    value = _read(text)
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise SpoiltValueError(f"{_shown(text)} is no JSON list of strings")
    return tuple(value)


def number(value: object) -> float:
    """A number. Raises SpoiltValueError."""
    if not isinstance(value, int | float):
        raise SpoiltValueError(f"{_shown(value)} is no number")
    return value


def whole(value: object) -> int:
    """A whole number. Raises SpoiltValueError."""
    if not isinstance(value, int):
        raise SpoiltValueError(f"{_shown(value)} is no whole number")
    return value


def _read(text: object) -> Any:
    try:
        return json.loads(str(text))
    except (ValueError, RecursionError):
        raise SpoiltValueError(f"{_shown(text)} is no JSON") from None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def known(kind: type[Stored], value: str) -> Stored:
    """The member with that value. Raises StrangeValueError."""
    try:
        return kind(value)
    except ValueError as error:
        what = kind.__name__.lower()
        raise StrangeValueError(f"the {what} {value!r} is unknown to this one") from error


# ROLLBACK_FAILED has an outcome, but the run stays open: the rollback can be taken up again.
OUTCOMES = {
    State.COMPLETED: "completed",
    State.ABORTED: "aborted",
    State.ROLLED_BACK: "rolled-back",
    State.ROLLBACK_FAILED: "rollback-failed",
    State.RESTORED: "restored",
    State.FAILED: "failed",
}
