"""What the journal answers: one SELECT for each question, rows in, frozen values out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from upgrade_guard.journal.encoding import instant_text
from upgrade_guard.journal.rows import Row, Rows
from upgrade_guard.journal.values import (
    copy_of,
    known,
    mapping,
    number,
    proof_of,
    run_of,
    snapshot_of,
    step_of,
    when,
    whole,
    words,
)
from upgrade_guard.model.run import (
    ApprovalRecord,
    CommandRow,
    CopyRecord,
    Event,
    Kind,
    NodeRecord,
    Outcome,
    ProofRecord,
    ProvenSnapshot,
    Recorded,
    Run,
    SnapshotRecord,
    State,
    StepRow,
    Transition,
)
from upgrade_guard.model.step import Facts


def run_named(rows: Rows, prefix: str) -> tuple[Run, ...]:
    """The run of exactly that id, else up to two whose ids begin so."""
    exact = tuple(run_of(row) for row in rows.select("SELECT * FROM runs WHERE id = :id", {"id": prefix}))
    if exact or not prefix:
        return exact
    sql = "SELECT * FROM runs WHERE id >= :low AND id < :high ORDER BY id LIMIT 2"
    return tuple(run_of(row) for row in rows.select(sql, {"low": prefix, "high": prefix + "\U0010ffff"}))


def state(rows: Rows, run_id: str) -> State | None:
    """What a run has reached, None when there is no such run."""
    for row in rows.select("SELECT state FROM runs WHERE id = :id", {"id": run_id}):
        return known(State, row["state"])
    return None


def open_run(rows: Rows, kinds: Collection[Kind]) -> Run | None:
    """The newest run of these kinds that is not finished."""
    of_kind, parameters = _of_kinds(kinds)
    sql = f"SELECT * FROM runs WHERE finished_at IS NULL AND {of_kind} ORDER BY seq DESC LIMIT 1"  # noqa: S608
    for row in rows.select(sql, parameters):
        return run_of(row)
    return None


def runs(
    rows: Rows,
    *,
    kinds: Collection[Kind],
    limit: int | None,
    cluster: str | None,
    target: str | None,
    outcome: str | None,
    since: datetime | None,
) -> tuple[Run, ...]:
    """Newest first."""
    asked = {
        "cluster = :cluster": cluster,
        "target = :target": target,
        "outcome = :outcome": outcome,
        "started_at >= :since": None if since is None else instant_text(since),
    }
    parameters: dict[str, Any] = {text.rpartition(":")[2]: value for text, value in asked.items() if value is not None}
    of_kind, of_kind_parameters = _of_kinds(kinds)
    parameters |= of_kind_parameters
    where = " AND ".join((of_kind, *(text for text, value in asked.items() if value is not None)))
    sql = f"SELECT * FROM runs WHERE {where} ORDER BY seq DESC"  # noqa: S608 (the texts above)
    if limit is not None:
        sql, parameters["limit"] = f"{sql} LIMIT :limit", limit
    return tuple(run_of(row) for row in rows.select(sql, parameters))


_COPIES_OF = "SELECT * FROM copies WHERE bundle = :bundle ORDER BY seq"


def newest_proven(rows: Rows, cluster: str) -> ProvenSnapshot | None:
    """The newest snapshot with a good proof of its own run, as the run tells that took it: a restore and a drill record
    an old one once more.
    """
    sql = (
        "SELECT s.run_id, s.bundle FROM snapshots s WHERE EXISTS "
        "(SELECT 1 FROM proofs p WHERE p.run_id = s.run_id AND p.bundle = s.bundle AND p.ok = 1) "
        "AND (:cluster = '' OR (SELECT cluster FROM runs WHERE id = s.run_id) = :cluster) "
        "ORDER BY COALESCE((SELECT kind FROM runs WHERE id = s.run_id), 'upgrade') NOT IN ('upgrade', 'backup'), "
        "s.seq DESC LIMIT 1"
    )
    for row in rows.select(sql, {"cluster": cluster}):
        run_id = row["run_id"]
        found = [one for one in snapshots(rows, run_id) if one.bundle == row["bundle"]][-1]
        proof = [one for one in proofs(rows, run_id) if one.bundle == found.bundle and one.ok][-1]
        made = (copy_of(copy) for copy in rows.select(_COPIES_OF, {"bundle": found.bundle}))
        equal = [one for one in made if one.read_back]
        return ProvenSnapshot(
            run=run_named(rows, run_id)[0],
            snapshot=found,
            proof=proof,
            copies=len({one.target for one in equal}),
            kept_at=max((one.copied_at for one in equal), default=None),
        )
    return None


def latest(rows: Rows, run_id: str, step_name: str) -> StepRow | None:
    """The newest row of a step."""
    sql = "SELECT * FROM steps WHERE run_id = :run_id AND name = :name ORDER BY seq DESC LIMIT 1"
    for row in rows.select(sql, {"run_id": run_id, "name": step_name}):
        return step_of(row)
    return None


def facts(rows: Rows, run_id: str) -> Facts:
    """Results of the steps whose newest row says that they succeeded, and the names of all that ever started."""
    sql = (
        "SELECT name, outcome, result FROM steps WHERE seq IN "
        "(SELECT MAX(seq) FROM steps WHERE run_id = :run_id GROUP BY name)"
    )
    newest = list(rows.select(sql, {"run_id": run_id}))
    return Facts(
        run_id=run_id,
        results={
            row["name"]: mapping(row["result"]) for row in newest if known(Outcome, row["outcome"]) is Outcome.SUCCEEDED
        },
        started=frozenset(row["name"] for row in newest),
    )


def results_of(rows: Rows, step_name: str) -> tuple[Mapping[str, Any], ...]:
    """What a step has left behind in every run in which it succeeded, oldest first."""
    sql = (
        "SELECT s.result FROM runs r JOIN steps s ON s.run_id = r.id AND s.name = :name "
        "WHERE s.outcome = :succeeded ORDER BY s.seq"
    )
    found = rows.select(sql, {"name": step_name, "succeeded": Outcome.SUCCEEDED.value})
    return tuple(mapping(row["result"]) for row in found)


def transitions(rows: Rows, run_id: str) -> tuple[Transition, ...]:
    """Oldest first."""
    return tuple(
        Transition(
            seq=row["seq"],
            run_id=row["run_id"],
            event=known(Event, row["event"]),
            from_state=known(State, row["from_state"]),
            to_state=known(State, row["to_state"]),
            at=when(row["at"]),
            reasons=words(row["reasons"]),
        )
        for row in _of_run(rows, "transitions", run_id)
    )


def steps(rows: Rows, run_id: str) -> tuple[StepRow, ...]:
    """Oldest first."""
    return tuple(step_of(row) for row in _of_run(rows, "steps", run_id))


def commands(rows: Rows, run_id: str) -> tuple[CommandRow, ...]:
    """Oldest first."""
    return tuple(
        CommandRow(
            run_id=row["run_id"],
            step=row["step"],
            attempt=whole(row["attempt"]),
            host=row["host"],
            argv=words(row["argv"]),
            exit_status=row["exit_status"],
            started_at=when(row["started_at"]),
            duration=number(row["duration"]),
            changes=bool(row["changes"]),
            stdout=row["stdout"],
            stderr=row["stderr"],
            seq=row["seq"],
        )
        for row in _of_run(rows, "commands", run_id)
    )


def approvals(rows: Rows, run_id: str) -> tuple[ApprovalRecord, ...]:
    """Oldest first."""
    return tuple(
        ApprovalRecord(
            subject=row["subject"], by=row["by"], how=row["how"], said=row["said"], at=when(row["approved_at"])
        )
        for row in _of_run(rows, "approvals", run_id)
    )


def nodes(rows: Rows, run_id: str) -> tuple[NodeRecord, ...]:
    """Oldest first."""
    return tuple(
        NodeRecord(
            name=row["name"],
            role=row["role"],
            address=row["address"],
            kubelet_version=row["kubelet_version"],
            packages=mapping(row["packages"]),
        )
        for row in _of_run(rows, "nodes", run_id)
    )


def snapshots(rows: Rows, run_id: str) -> tuple[SnapshotRecord, ...]:
    """Oldest first."""
    return tuple(snapshot_of(row) for row in _of_run(rows, "snapshots", run_id))


def proofs(rows: Rows, run_id: str) -> tuple[ProofRecord, ...]:
    """Oldest first."""
    return tuple(proof_of(row) for row in _of_run(rows, "proofs", run_id))


def copies(rows: Rows, run_id: str) -> tuple[CopyRecord, ...]:
    """Oldest first."""
    return tuple(copy_of(row) for row in _of_run(rows, "copies", run_id))


def recorded(rows: Rows) -> tuple[Recorded, ...]:
    """Every bundle that was ever published, oldest first, with its newest proof and its newest copies."""
    newest_proof = {row["bundle"]: proof_of(row) for row in rows.select("SELECT * FROM proofs ORDER BY seq")}
    newest_copies: dict[str, dict[str, CopyRecord]] = {}
    for row in rows.select("SELECT * FROM copies ORDER BY seq"):
        newest_copies.setdefault(row["bundle"], {})[row["target"]] = copy_of(row)
    return tuple(
        Recorded(
            run_id=row["run_id"],
            snapshot=snapshot_of(row),
            proof=newest_proof.get(row["bundle"]),
            copies=tuple(newest_copies.get(row["bundle"], {}).values()),
        )
        for row in rows.select("SELECT * FROM snapshots ORDER BY seq")
    )


def _of_kinds(kinds: Collection[Kind]) -> tuple[str, dict[str, Any]]:
    """The condition and its parameters; a run without a kind is an upgrade, from before there were others."""
    parameters = {f"kind_{number}": kind.value for number, kind in enumerate(kinds)}
    named = f"kind IN ({', '.join(f':{name}' for name in parameters)})"
    return (f"({named} OR kind IS NULL)" if Kind.UPGRADE in kinds else named), parameters


def _of_run(rows: Rows, table: str, run_id: str) -> list[Row]:
    # The table's name is one of the constants above.
    return list(rows.select(f"SELECT * FROM {table} WHERE run_id = :run_id ORDER BY seq", {"run_id": run_id}))  # noqa: S608
