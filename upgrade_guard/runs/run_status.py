"""Where a run stands, from its record: what `status` says and what `show` tells."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upgrade_guard.engine.gate import closed_because
from upgrade_guard.errors import UsageProblem
from upgrade_guard.model.evidence import Evidence
from upgrade_guard.model.lock import LockOwner
from upgrade_guard.model.plain import run_answer
from upgrade_guard.model.run import Kind, Outcome, Run, SnapshotRecord, State, StepRow
from upgrade_guard.runs import resources
from upgrade_guard.runs.preview import GoingBack
from upgrade_guard.runs.rollback_cost import going_back
from upgrade_guard.ui import vocabulary
from upgrade_guard.ui.run_card import Card, next_words, reached_by, render
from upgrade_guard.ui.tables import Story

if TYPE_CHECKING:
    from rich.console import RenderableType

    from upgrade_guard.config import Config
    from upgrade_guard.journal import Holder, Journal

CONTROL_PLANE_STEPS = "control-plane/"
_NOTHING_CHANGED = (State.STARTED, State.INSPECTED, State.SNAPSHOTTED, State.VERIFIED)


@dataclass(frozen=True)
class Standing:
    """A run's standing. `holder` is the living process at work on it, `stranger` another run that has the cluster."""

    story: Story
    holder: Holder | None
    stranger: LockOwner | None
    gate_reasons: tuple[str, ...]
    cost: GoingBack
    under_way: tuple[StepRow, ...]
    failed: tuple[StepRow, ...]

    @property
    def next_command(self) -> str:
        """What to type, unless a process is at it."""
        return "upgrade-guard show" if self.holder else "upgrade-guard resume"

    def answer(self) -> dict[str, Any]:
        """The JSON answer of `status`."""
        run = self.story.run
        rolling = run.state in vocabulary.ROLLBACK
        back = State.RESTORED if run.kind is Kind.RESTORE else State.ROLLED_BACK
        following = back if rolling else vocabulary.next_stage(run.state, run.kind)
        return run_answer(run) | {
            "next": following,
            "next_stage": next_words(run),
            "standing": vocabulary.standing(run.kind, run.state),
            "gate": {"open": not self.gate_reasons, "reasons": self.gate_reasons},
            "going_back": self.cost,
            "process": self.holder,
            "locked_by": self.stranger,
            "under_way" if self.holder else "in_doubt": [row.name for row in self.under_way],
            "failed": [{"step": row.name, "detail": row.detail} for row in self.failed],
            "next_command": self.next_command,
        }


def story_of(journal: Journal, run: Run) -> Story:
    """Everything the journal knows of a run."""
    return Story(
        run,
        journal.transitions(run.id),
        journal.steps(run.id),
        journal.commands(run.id),
        journal.approvals(run.id),
        journal.snapshots(run.id),
        journal.proofs(run.id),
        journal.copies(run.id),
        journal.edited(run.id),
        journal.nodes(run.id),
        journal.head(),
    )


def story_to_tell(config: Config, journal: Journal | None, run_id: str | None) -> Story:
    """The story of the run that is named, or of the newest upgrade or restore. Raises UsageProblem."""
    if journal is not None and run_id:
        return story_of(journal, journal.run(run_id))
    if journal is not None and (newest := journal.runs(limit=1)):
        return story_of(journal, newest[0])
    raise UsageProblem(
        f"there are no runs in {config.state_dir}; is that the right state directory?", hint="upgrade-guard config show"
    )


def standing(config: Config, journal: Journal, run: Run) -> Standing:
    """Gather it. The cluster is asked who holds it, and once a rollback can cost something, what."""
    from upgrade_guard.journal import RunLock

    story = story_of(journal, run)
    latest: dict[str, StepRow] = {row.name: row for row in story.steps}
    holder = RunLock.holder(config.lock_path)
    return Standing(
        story,
        holder,
        None if holder else _stranger(config, journal, run),
        gate_reasons(story),
        _cost(config, journal, run),
        tuple(row for row in latest.values() if row.outcome is Outcome.STARTED),
        tuple(row for row in latest.values() if row.outcome in (Outcome.FAILED, Outcome.UNKNOWN)),
    )


def _stranger(config: Config, journal: Journal, run: Run) -> LockOwner | None:
    """Another run that has the cluster now; None also where no control plane answers."""
    from upgrade_guard.errors import GuardError
    from upgrade_guard.model.step_results import known_cluster
    from upgrade_guard.runs.cluster_hold import cluster_lock

    try:
        with resources.looking(config) as site:
            return cluster_lock(site, journal, run, "").stranger(known_cluster(journal.facts(run.id)))
    except GuardError:
        return None


def _cost(config: Config, journal: Journal, run: Run) -> GoingBack:
    if run.state in _NOTHING_CHANGED:
        return GoingBack(0, 0.0, "nothing was changed; upgrade-guard abort closes the run")
    if run.state in vocabulary.ROLLBACK:
        return GoingBack(None, None, "")
    from upgrade_guard.errors import GuardError

    try:
        with resources.looking(config) as site:
            return going_back(site, journal, run.id)
    except GuardError as problem:
        return GoingBack(None, None, f"not known: {problem.message}")


def gate_reasons(story: Story) -> tuple[str, ...]:
    """Why the gate would be closed, as far as the record and this machine's vault can say; none means open.

    The run itself asks more before it changes anything: the copies are read back again, and the cluster is asked.
    """
    if story.run.kind is Kind.RESTORE:
        return ("A restore asks for the cluster's name; the gate stands before the changes of an upgrade.",)
    if story.run.state in vocabulary.ROLLBACK:
        return ("The run is on its way back; the gate stands before changes, not before the way back.",)
    return (*closed_because(recorded_evidence(story)), *_vault_problems(story))


def recorded_evidence(story: Story) -> Evidence:
    """Evidence from the journal alone: the cluster's etcd counts as unchanged, because it is not asked."""
    reached = reached_by(story.transitions, story.run.kind)
    snapshot = story.snapshots[-1] if story.snapshots and State.SNAPSHOTTED in reached else None
    bundle = snapshot.bundle if snapshot else ""
    proofs = [one for one in story.proofs if one.bundle == bundle and one.ok and State.VERIFIED in reached]
    copies = [one for one in story.copies if one.bundle == bundle and one.read_back and State.COPIED in reached]
    cluster_id = snapshot.cluster_id if snapshot else ""
    return Evidence(
        now=resources.now(),
        snapshot_taken=snapshot is not None,
        proof_succeeded=bool(proofs),
        proven_at=proofs[-1].proven_at if proofs else None,
        max_age=story.run.snapshot_max_age,
        copies_read_back=len({copy.target for copy in copies}),
        copies_off_control_plane=len({copy.target for copy in copies if copy.off_control_plane}),
        copies_required=story.run.offsite_required,
        node_files_missing=(),
        snapshot_cluster_id=cluster_id,
        live_cluster_id=cluster_id,
        alarms=(),
        problems=story.edited,
        age_matters=not any(row.name.startswith(CONTROL_PLANE_STEPS) for row in story.steps),
    )


def _vault_problems(story: Story) -> tuple[str, ...]:
    if not story.snapshots or State.SNAPSHOTTED not in reached_by(story.transitions, story.run.kind):
        return ()
    return bundle_problems(story.snapshots[-1])


def bundle_problems(snapshot: SnapshotRecord) -> tuple[str, ...]:
    """What a quick look at the vault says: is the bundle there, with the manifest that was recorded?"""
    directory = Path(snapshot.path)
    if not directory.is_dir():
        return (f"The bundle {snapshot.bundle} is not in the vault: {directory} is gone.",)
    try:
        manifest = (directory / "manifest.json").read_bytes()
        size = (directory / "snapshot.db").stat().st_size
    except OSError as problem:
        return (f"The bundle {snapshot.bundle} is damaged: {problem.filename}: {problem.strerror}.",)
    found = []
    if hashlib.sha256(manifest).hexdigest() != snapshot.manifest_sha256:
        found.append(f"The manifest of bundle {snapshot.bundle} is not the one that was recorded.")
    if size != snapshot.size:
        found.append(f"The snapshot of bundle {snapshot.bundle} has {size} bytes, but {snapshot.size} were recorded.")
    return tuple(found)


def lines(found: Standing, pasteable: Callable[[str], str]) -> RenderableType:
    """`status` for a person: the card, and who works on it."""
    from rich.console import Group
    from rich.text import Text

    run = found.story.run
    gate = "closed: " + " ".join(found.gate_reasons) if found.gate_reasons else "open, by the record"
    card = Card(
        run,
        found.story.transitions,
        now=_now(found),
        last=tuple(f"{row.name} {vocabulary.ENDED[row.outcome]}: {row.detail}" for row in found.failed),
        gate="" if run.kind is Kind.RESTORE else gate,
        going_back=found.cost.text,
        next_command="" if found.holder else pasteable(found.next_command),
        running=found.holder is not None,
        failed=bool(found.failed) and found.holder is None,
    )
    return Group(render(card), Text(vocabulary.one_line(_who(found))))


def _now(found: Standing) -> tuple[str, ...]:
    if found.holder is None:
        return tuple(
            f"{row.name} was started and never concluded: resume looks at the cluster and decides"
            for row in found.under_way
        )
    now = resources.now()
    return tuple(f"{row.name} ({vocabulary.duration((now - row.at).total_seconds())})" for row in found.under_way)


def _who(found: Standing) -> str:
    if found.stranger is not None:
        other = found.stranger
        who = f"{other.operator} on {other.host} since {other.since} (run {other.run})" if other.run else "another run"
        return f"The cluster is locked by {who}; --take-over takes it from a run that will not go on."
    if found.holder is None:
        return "No process works on this run."
    holder = found.holder
    return f"Process {holder.pid} on {holder.host} works on it since {holder.started_at}: {holder.command}"
