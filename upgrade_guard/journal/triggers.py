"""What the database itself refuses, whoever writes: changes to history, and a way around the gate.

Triggers are rules and not history, so they are not migrated: every journal that is opened for writing first sees to it
that exactly these stand (`missing_or_changed`), which also puts back one that somebody dropped.
"""

from __future__ import annotations

from upgrade_guard.journal.chain import HISTORY, TABLES
from upgrade_guard.journal.problems import APPEND_ONLY, GATE
from upgrade_guard.journal.rows import Rows

_FROZEN_OF_RUN = (
    "id, seq, started_at, target, offsite_required, snapshot_max_age, settings, operator, host, tool_version, "
    "kind, previous, digest"
)

# The newest bundle of the run is the only one that counts: older ones belong to evidence that has expired.
_BUNDLE = "(SELECT bundle FROM snapshots WHERE run_id = NEW.run_id ORDER BY seq DESC LIMIT 1)"
_SHA256 = "(SELECT snapshot_sha256 FROM snapshots WHERE run_id = NEW.run_id ORDER BY seq DESC LIMIT 1)"
# A later proof or copy overrules an earlier one: what was equal once and differs now is no evidence.
_NEWEST_PROOF = (
    f"(SELECT seq FROM proofs WHERE run_id = NEW.run_id AND bundle = {_BUNDLE} AND snapshot_sha256 = {_SHA256} "  # noqa: S608
    "ORDER BY seq DESC LIMIT 1)"
)
_NEWEST_COPIES = f"(SELECT MAX(seq) FROM copies WHERE run_id = NEW.run_id AND bundle = {_BUNDLE} GROUP BY target)"  # noqa: S608
# From the first control-plane step on, a newer snapshot cannot be had: the proven one stays bound to the run.
# '0' is the character after '/', so this range is the prefix 'control-plane/' and uses the index.
_TOUCHED = (
    "EXISTS (SELECT 1 FROM steps WHERE run_id = NEW.run_id AND outcome = 'started' "
    "AND name >= 'control-plane/' AND name < 'control-plane0')"
)
_AGE = f"(SELECT (julianday(NEW.at) - julianday(proven_at)) * 86400.0 FROM proofs WHERE seq = {_NEWEST_PROOF})"  # noqa: S608
_MAX_AGE = "(SELECT snapshot_max_age FROM runs WHERE id = NEW.run_id)"
_REQUIRED = "(SELECT offsite_required FROM runs WHERE id = NEW.run_id)"

# A proof from the future (a clock that was set back) is as little worth as an old one, hence the absolute age.
_REFUSALS = (
    ("this run has no snapshot", f"{_BUNDLE} IS NULL"),
    (
        "the snapshot of this run has no proof that succeeded",
        f"NOT EXISTS (SELECT 1 FROM proofs WHERE seq = {_NEWEST_PROOF} AND ok = 1)",  # noqa: S608
    ),
    ("the proof of the snapshot is older than snapshot_max_age", f"NOT {_TOUCHED} AND ABS({_AGE}) > {_MAX_AGE}"),
    (
        "fewer copies of the snapshot than offsite_required were read back equal",
        f"(SELECT COUNT(*) FROM copies WHERE read_back = 1 AND seq IN {_NEWEST_COPIES}) < {_REQUIRED}",  # noqa: S608
    ),
    (
        "no copy of the snapshot is off the control plane",
        f"NOT EXISTS (SELECT 1 FROM copies WHERE read_back = 1 AND off_control_plane = 1 AND seq IN {_NEWEST_COPIES})",  # noqa: S608
    ),
)


def _gate(name: str, table: str, when: str) -> str:
    body = "\n".join(f"  SELECT RAISE(ABORT, '{GATE}{reason}') WHERE {condition};" for reason, condition in _REFUSALS)
    return f"CREATE TRIGGER {name} BEFORE INSERT ON {table} WHEN {when} BEGIN\n{body}\nEND"


def _refuse(name: str, event: str, table: str, why: str, when: str = "") -> str:
    condition = f"WHEN {when} " if when else ""
    body = f"SELECT RAISE(ABORT, '{APPEND_ONLY}{why}');"
    return f"CREATE TRIGGER {name} BEFORE {event} ON {table} {condition}BEGIN {body} END"


TRIGGERS = {
    "gate_transitions": _gate(
        "gate_transitions", "transitions", "NEW.to_state IN ('planned', 'control-plane-upgraded')"
    ),
    "gate_steps": _gate(
        "gate_steps",
        "steps",
        "NEW.outcome = 'started' AND NEW.changes_node = 1 AND (SELECT state FROM runs WHERE id = NEW.run_id) IN "
        "('copied', 'planned', 'control-plane-upgraded', 'nodes-upgraded')",
    ),
    "keep_runs_identity": _refuse(
        "keep_runs_identity", f"UPDATE OF {_FROZEN_OF_RUN}", "runs", "what a run began with does not change"
    ),
    "keep_runs": _refuse("keep_runs", "DELETE", "runs", "a run is never removed"),
    "keep_chain": _refuse("keep_chain", "DELETE", "chain", "the head of the chain is never removed"),
    **{
        f"keep_{table}_{event.lower()}": _refuse(
            f"keep_{table}_{event.lower()}", event, table, f"rows of {table} are never changed or removed"
        )
        for table in HISTORY
        for event in ("UPDATE", "DELETE")
    },
    # Also keeps INSERT OR REPLACE out, which removes rows without asking the triggers above.
    **{
        f"link_{table}": _refuse(
            f"link_{table}",
            "INSERT",
            table,
            "a row goes to the end of the chain",
            "NEW.seq <> (SELECT seq + 1 FROM chain) OR NEW.previous <> (SELECT digest FROM chain)",
        )
        for table in TABLES
    },
}


def missing_or_changed(rows: Rows) -> tuple[str, ...]:
    """Names of triggers that do not stand as they should."""
    gone, changed, _ = unlike(rows)
    return (*gone, *changed)


def unlike(rows: Rows) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Names of triggers that are gone, that were changed, and that are not ours."""
    found = {
        row["name"]: row["sql"] for row in rows.select("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    }
    return (
        tuple(name for name in TRIGGERS if name not in found),
        tuple(name for name, wanted in TRIGGERS.items() if name in found and found[name] != wanted),
        tuple(name for name in found if name not in TRIGGERS),
    )
