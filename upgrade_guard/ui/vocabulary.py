"""One vocabulary: how states, outcomes, times and sizes read to a person."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

from upgrade_guard.model.run import Kind, Outcome, Run, State

# In the order in which an upgrade reaches them: what is done to get there.
STAGES: tuple[tuple[State, str], ...] = (
    (State.INSPECTED, "Inspect the cluster"),
    (State.SNAPSHOTTED, "Take the snapshot"),
    (State.VERIFIED, "Prove that it restores"),
    (State.COPIED, "Copy it off the control plane"),
    (State.PLANNED, "Plan, and your approval"),
    (State.CONTROL_PLANE_UPGRADED, "Change the control plane"),
    (State.NODES_UPGRADED, "Change the workers"),
    (State.COMPLETED, "Confirm against the baseline"),
)

STAGES_OF: dict[Kind, tuple[tuple[State, str], ...]] = {
    Kind.UPGRADE: STAGES,
    Kind.BACKUP: (*STAGES[:4], (State.COMPLETED, "Keep it")),
    Kind.DRILL: ((State.COMPLETED, "Restore into scratch, start and compare"),),
    Kind.RESTORE: ((State.INSPECTED, "Read the bundle and prove it"), (State.RESTORED, "Bring the cluster back")),
    Kind.COPY: ((State.COMPLETED, "Copy it and read it back"),),
    Kind.PRUNE: ((State.COMPLETED, "Remove what is no longer kept"),),
}
"""The same for every kind of run."""

STANDING: dict[State, str] = {
    State.STARTED: "The cluster is untouched.",
    State.INSPECTED: "The cluster is untouched.",
    State.SNAPSHOTTED: "The cluster is untouched; a snapshot of it is in the vault, not yet proven.",
    State.VERIFIED: "The cluster is untouched; its proven snapshot is in the vault.",
    State.COPIED: "The control plane runs the old version; its proven snapshot is in the vault and off site.",
    State.PLANNED: "The control plane may be partly changed; its proven snapshot is in the vault and off site.",
    State.CONTROL_PLANE_UPGRADED: "The control plane runs the new version; workers may still run the old one.",
    State.NODES_UPGRADED: "Every node runs the new version; the comparison with the baseline is not finished.",
    State.COMPLETED: "The cluster runs the new version and was compared with its baseline.",
    State.ABORTED: "The run is closed; the control plane was not changed.",
    State.ROLLING_BACK: "The cluster is being brought back and may be down until that ends.",
    State.ROLLED_BACK: "The cluster is back on the old version and was compared with its baseline.",
    State.ROLLBACK_FAILED: "The rollback stopped half-way: the cluster may be down. Nothing was deleted.",
    State.RESTORED: "The cluster was brought back from the bundle.",
    State.FAILED: "The run failed and is closed; the cluster was only read.",
}
_STANDING_OF: dict[Kind, dict[State, str]] = {
    Kind.BACKUP: {
        State.COPIED: "The cluster is untouched; its proven snapshot is in the vault, and its copies were read back.",
        State.COMPLETED: "The snapshot is proven and kept; the cluster was only read.",
        State.ABORTED: "The backup was given up; the cluster was only read.",
    },
    Kind.DRILL: {
        State.STARTED: "The bundle is being tried; nothing of the cluster is touched.",
        State.COMPLETED: "The bundle was restored into scratch and compared; nothing of the cluster was touched.",
        State.ABORTED: "The drill was given up; nothing of the cluster was touched.",
        State.FAILED: "The drill failed; nothing of the cluster was touched.",
    },
    Kind.RESTORE: {
        State.INSPECTED: "The cluster is as it was found; the bundle is proven.",
        State.ABORTED: "The run is closed; the cluster is as it was found.",
        State.ROLLBACK_FAILED: "The restore stopped half-way: the cluster may be down. Nothing was deleted.",
    },
    Kind.COPY: {
        State.STARTED: "The bundle is being copied; nothing of the cluster is touched.",
        State.COMPLETED: "Its copies were read back equal; nothing of the cluster was touched.",
        State.ABORTED: "The copying was given up; what is whole at a target stays there.",
        State.FAILED: "The copying failed; what is whole at a target stays there.",
    },
    Kind.PRUNE: {
        State.STARTED: "Bundles that are no longer kept are being removed.",
        State.COMPLETED: "What was no longer kept is removed; the rest is as it was.",
        State.ABORTED: "The pruning was given up; what it had removed by then is on record.",
        State.FAILED: "The pruning failed; what it had removed by then is on record.",
    },
}

ROLLBACK = frozenset({State.ROLLING_BACK, State.ROLLED_BACK, State.ROLLBACK_FAILED})

ENDED: dict[Outcome, str] = {
    Outcome.STARTED: "started",
    Outcome.SUCCEEDED: "done",
    Outcome.FAILED: "FAILED",
    Outcome.UNKNOWN: "UNKNOWN",
    Outcome.INTERRUPTED: "interrupted",
    Outcome.VOIDED: "taken back",
}


def visible(text: str) -> str:
    """The text with every control and direction-changing character written out, so that it cannot drive a terminal."""
    if text.isprintable():  # nearly always, and by far the quicker look
        return text
    return "".join(
        character
        if character == "\n" or unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )


def one_line(text: str, width: int = 0) -> str:
    """Visible text on one line, cut to `width` characters with "..." when a width is given."""
    joined = " ".join(visible(text).split())
    return joined if not width or len(joined) <= width else joined[: max(width - 3, 0)] + "..."


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `4 min 05 s`, `2 h 07 min`."""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, left = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {left:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def size(count: int) -> str:
    """Bytes in binary units: `812 B`, `20.5 MiB`."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if value < 1024 or unit == "TiB":
            break
    return f"{value:.1f} {unit}"


def moment(at: datetime | None) -> str:
    """UTC to the second: `2025-03-01 02:14:09Z`; "-" when it has not come."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if at else "-"


def ago(at: datetime, now: datetime) -> str:
    """`4 min 05 s ago`."""
    return f"{duration((now - at).total_seconds())} ago"


def standing(kind: Kind, state: State) -> str:
    """How the cluster, or the vault, stands while a run of this kind is in that state."""
    return _STANDING_OF.get(kind, {}).get(state, STANDING[state])


def subject(run: Run) -> str:
    """What a run is about: the two versions of an upgrade, else its kind with the bundle where there is one."""
    if run.kind is Kind.UPGRADE:
        return f"{run.from_version} -> {run.target}" if run.from_version else f"to {run.target}"
    return f"{run.kind.value} {run.target}".rstrip()


def stage_label(state: State, kind: Kind = Kind.UPGRADE) -> str:
    """What is done to reach that state; the state's own name outside of the path."""
    return dict(STAGES_OF[kind]).get(state, state.value)


def next_stage(state: State, kind: Kind = Kind.UPGRADE) -> State | None:
    """The state that a run reaches after this one; None at the end, and off its path."""
    path = (State.STARTED, *(reached for reached, _ in STAGES_OF[kind]))
    if state not in path or state is path[-1]:
        return None
    return path[path.index(state) + 1]
