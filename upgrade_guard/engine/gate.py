"""The gate: pure functions over gathered evidence, which say every reason and not only the first.

A second, independent guard is the trigger in the journal's database, which looks at the rows alone.
"""

from __future__ import annotations

from upgrade_guard.model.evidence import Evidence

# A clock may be stepped back a little by NTP; a proof from further ahead means that its age cannot be told.
_CLOCK_STEP_SECONDS = 60.0


def closed_because(evidence: Evidence) -> tuple[str, ...]:
    """Why no node may be changed now, each a full sentence; empty when the gate is open."""
    return (
        *_snapshot_reasons(evidence),
        *_age_reasons(evidence),
        *_copy_reasons(evidence),
        *_cluster_reasons(evidence),
        *evidence.problems,
    )


def only_age(evidence: Evidence) -> bool:
    """Is the gate closed for nothing but the age of the proof, which a new snapshot cures by itself?"""
    reasons = closed_because(evidence)
    return bool(reasons) and reasons == _age_reasons(evidence)


def _snapshot_reasons(evidence: Evidence) -> tuple[str, ...]:
    if not evidence.snapshot_taken:
        return ("This run has no snapshot.",)
    reasons = []
    if not evidence.proof_succeeded:
        reasons.append("The snapshot of this run has not been proven restorable.")
    elif evidence.age_matters and evidence.proven_at is None:
        reasons.append("The journal does not say when the snapshot was proven.")
    if evidence.node_files_missing:
        names = ", ".join(evidence.node_files_missing)
        reasons.append(f"The bundle lacks the files of {_counted(len(evidence.node_files_missing), 'node')}: {names}.")
    return tuple(reasons)


def _age_reasons(evidence: Evidence) -> tuple[str, ...]:
    if not (evidence.age_matters and evidence.snapshot_taken and evidence.proof_succeeded and evidence.proven_at):
        return ()
    age = (evidence.now - evidence.proven_at).total_seconds()
    if age < -_CLOCK_STEP_SECONDS:
        return (f"The proof is dated {_minutes(-age)} in the future, so its age cannot be told.",)
    if age >= evidence.max_age:
        return (f"The proof is {_minutes(age)} old; it may be at most {_minutes(evidence.max_age)} old.",)
    return ()


def _copy_reasons(evidence: Evidence) -> tuple[str, ...]:
    reasons = []
    if evidence.copies_read_back < evidence.copies_required:
        required = _counted(evidence.copies_required, "required off-site copy", "required off-site copies")
        reasons.append(f"Only {evidence.copies_read_back} of {required} read back equal.")
    if evidence.copies_off_control_plane < 1:
        reasons.append("No copy that read back equal is off the control-plane nodes.")
    return tuple(reasons)


def _cluster_reasons(evidence: Evidence) -> tuple[str, ...]:
    reasons = []
    if evidence.live_cluster_id is None:
        reasons.append("The cluster's etcd did not say its cluster id, so the snapshot cannot be matched with it.")
    elif evidence.snapshot_taken and evidence.live_cluster_id != evidence.snapshot_cluster_id:
        reasons.append(
            f"The snapshot comes from etcd cluster {evidence.snapshot_cluster_id or 'unknown'}, "
            f"but the live cluster is {evidence.live_cluster_id}."
        )
    reasons.extend(f"etcd has an alarm: {alarm}." for alarm in evidence.alarms)
    return tuple(reasons)


def _minutes(seconds: float) -> str:
    """Minutes for people: whole ones unless that would read as none."""
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes >= 10 else f"{minutes:.1f} min"


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
