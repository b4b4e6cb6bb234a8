"""Rows as they are stored to frozen values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from upgrade_guard.journal.rows import Row
from upgrade_guard.journal.text import instant
from upgrade_guard.model.run import CopyRecord, Kind, Outcome, ProofRecord, Run, SnapshotRecord, State, StepRow

Stored = TypeVar("Stored", bound=Enum)


class StrangeValueError(Exception):
    """A stored value that this version does not know."""


def run_of(row: Row) -> Run:
    """A run; without a kind it is an upgrade, from before there were others."""
    return Run(
        id=row["id"],
        cluster=row["cluster"],
        from_version=row["from_version"],
        target=row["target"],
        state=known(State, row["state"]),
        outcome=row["outcome"],
        started_at=instant(row["started_at"]),
        finished_at=None if row["finished_at"] is None else instant(row["finished_at"]),
        offsite_required=row["offsite_required"],
        snapshot_max_age=row["snapshot_max_age"],
        settings=mapping(row["settings"]),
        operator=row["operator"],
        host=row["host"],
        tool_version=row["tool_version"],
        kind=Kind.UPGRADE if row["kind"] is None else known(Kind, row["kind"]),
    )


def step_of(row: Row) -> StepRow:
    """A row of a step."""
    return StepRow(
        seq=row["seq"],
        run_id=row["run_id"],
        name=row["name"],
        lane=row["lane"],
        attempt=row["attempt"],
        state=known(State, row["state"]),
        outcome=known(Outcome, row["outcome"]),
        changes_node=bool(row["changes_node"]),
        at=instant(row["at"]),
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
        size=row["size"],
        revision=row["revision"],
        cluster_id=row["cluster_id"],
        taken_at=instant(row["taken_at"]),
    )


def proof_of(row: Row) -> ProofRecord:
    """A proof."""
    return ProofRecord(
        bundle=row["bundle"],
        snapshot_sha256=row["snapshot_sha256"],
        ok=bool(row["ok"]),
        revision=row["revision"],
        hashkv=row["hashkv"],
        restore_seconds=row["restore_seconds"],
        proven_at=instant(row["proven_at"]),
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
        copied_at=instant(row["copied_at"]),
    )


def mapping(text: str) -> Mapping[str, Any]:
    """A JSON object."""
    value: Mapping[str, Any] = json.loads(text)
    return value


def known(kind: type[Stored], value: str) -> Stored:
    """The member with that value. Raises StrangeValueError."""
    try:
        return kind(value)
    except ValueError as error:
        what = kind.__name__.lower()
        raise StrangeValueError(f"the {what} {value!r} is unknown to this one") from error
