"""What would happen, and what going back would cost: read from the cluster, nothing changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from upgrade_guard.checks.versions import no_way
from upgrade_guard.errors import DecisionNeeded, GuardError, Refused
from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.codec import to_json
from upgrade_guard.model.finding import Finding
from upgrade_guard.model.run import ApprovalRecord, State
from upgrade_guard.model.step import Facts, Phase
from upgrade_guard.model.step_results import CLUSTER, PROVEN, PUBLISHED
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.discovery import oldest_served, read_control_planes
from upgrade_guard.steps.inspect import findings as judged
from upgrade_guard.steps.inspect import read_cluster
from upgrade_guard.steps.loss import written_since
from upgrade_guard.steps.packages import installed_version
from upgrade_guard.steps.rollback_choice import Path as WayBack
from upgrade_guard.steps.rollback_choice import chosen, control_plane_touched, packages_touched
from upgrade_guard.workflows.upgrade import UpgradeWorkflow

AHEAD = (
    State.STARTED,
    State.INSPECTED,
    State.SNAPSHOTTED,
    State.VERIFIED,
    State.COPIED,
    State.PLANNED,
    State.CONTROL_PLANE_UPGRADED,
    State.NODES_UPGRADED,
)
"""Every state that an undisturbed run passes, in order."""

REST_SECONDS = 45.0
"""What a whole rollback takes beside restoring etcd: measured 34 to 48 s on one and on three control planes."""


def already_there(site: Site, target: Version) -> bool:
    """Do kubeadm's own record, every API server and every node say `target`? False where they do not answer."""
    kubectl = site.first_control_plane().kubectl
    try:
        return (
            kubectl.kubeadm_config().kubernetes_version == str(target)
            and all(row.kubelet_version == str(target) for row in kubectl.nodes())
            and _running(site) == target
        )
    except GuardError:
        return False  # the inspection says what is wrong


def refuse_no_way(site: Site, target: Version) -> None:
    """Raises Refused where no upgrade leads to `target`: known by one question, before the cluster is inspected.

    An API that does not answer tells nothing here; the inspection says what is wrong.
    """
    try:
        now = _running(site)
    except GuardError:
        return
    why, hint = no_way(now, target)
    if why:
        raise Refused(why, hint=hint)


@dataclass(frozen=True)
class Preview:
    """What `run` would do: every phase with its steps, and what the checks found."""

    cluster: Cluster
    target: Version
    phases: tuple[Phase, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Choice:
    """A version that can be upgraded to, and why it may be chosen."""

    version: Version
    why: str


class Changed(Enum):
    """How much an upgrade has changed so far."""

    NOTHING = "nothing"
    PACKAGES = "packages"
    CONTROL_PLANE = "control plane"


@dataclass(frozen=True)
class GoingBack:
    """What a rollback would cost now: revisions lost (None: unknown) and seconds (None: no restore)."""

    revisions: int | None
    seconds: float | None
    text: str
    changed: Changed = Changed.CONTROL_PLANE


def preview(site: Site, target: Version) -> Preview:
    """Look at the cluster and lay out the whole run. Raises what the looking raises."""
    cluster = read_cluster(site)
    facts = Facts("preview", {CLUSTER: to_json(cluster)})
    workflow = UpgradeWorkflow(site, target, _nobody)
    phases = tuple(phase for state in AHEAD for phase in workflow.ahead(state, facts))
    return Preview(cluster, target, phases, judged(site, target, cluster))


def findings(site: Site, target: Version) -> tuple[Finding, ...]:
    """The preflight alone."""
    return judged(site, target)


def choices(site: Site) -> tuple[Choice, ...]:
    """Newer versions in the package source of the first control plane, at most one minor ahead, newest first."""
    tools = site.first_control_plane()
    running = _running(site)
    shown = {installed_version(text) for text in tools.apt.available("kubeadm")} - {None}
    found = sorted((one for one in shown if one is not None and one > running), reverse=True)
    seen = tuple(
        Choice(one, "a newer patch of this minor" if one.series == running.series else "the next minor")
        for one in found
        if one.major == running.major and one.minor <= running.minor + 1
    )
    if any(choice.version.minor > running.minor for choice in seen):
        return seen
    unseen = Version(running.major, running.minor + 1, 0)
    return (*seen, Choice(unseen, "the next minor; its packages are seen once the package source is switched"))


def next_series(site: Site) -> str:
    """The minor that may follow the one that is running: `v1.28`."""
    running = _running(site)
    return Version(running.major, running.minor + 1, 0).series


def _running(site: Site) -> Version:
    """The version that the cluster runs: that of its oldest API server."""
    return oldest_served(site, read_control_planes(site))


def going_back(site: Site, state: State, facts: Facts, cluster: Cluster | None, *, ask: bool = True) -> GoingBack:
    """What `rollback` or `abort` would cost at this moment; without `ask` as far as the record tells."""
    nothing = GoingBack(0, 0.0, "nothing was changed; abort closes the run", Changed.NOTHING)
    if cluster is None or state in (State.STARTED, State.INSPECTED, State.SNAPSHOTTED, State.VERIFIED):
        return nothing
    if not control_plane_touched(cluster, facts):
        if not packages_touched(cluster, facts):
            return nothing
        text = "only packages were changed; abort puts them back and loses nothing"
        if state is State.PLANNED and facts.has(PROVEN):
            text += f"; from the next step on, going back means restoring etcd: {_restoring(facts)}"
        return GoingBack(0, None, text, Changed.PACKAGES)
    if not facts.has(PUBLISHED):
        return GoingBack(None, None, "the snapshot of this run is not known")
    seconds = _restore_seconds(facts)
    if not ask:
        text = f"what was written since the snapshot would be lost; about {_minutes(seconds)}"
        if len(cluster.control_planes) > 1:
            text = f"one control plane goes back alone where the others serve; else {text}"
        return GoingBack(None, seconds, text)
    written = written_since(site, cluster, facts)
    lost = "an unknown number of revisions" if written is None else f"{written} revisions"
    if state is State.PLANNED and _goes_back_alone(site, cluster, facts):
        text = f"as it stands one control plane would go back alone and nothing be lost; else {lost}"
        return GoingBack(written, seconds, text)
    return GoingBack(written, seconds, f"{lost} written since the snapshot would be lost; about {_minutes(seconds)}")


def _goes_back_alone(site: Site, cluster: Cluster, facts: Facts) -> bool:
    """Would one of several control planes go back alone, by what is seen now?"""
    if len(cluster.control_planes) == 1:
        return False
    try:
        return chosen(site, cluster, facts, patience=0.0)[0] is WayBack.ALONE
    except GuardError:
        return False


def _restore_seconds(facts: Facts) -> float:
    return float(facts.of(PROVEN)["restore_seconds"]) + REST_SECONDS


def _restoring(facts: Facts) -> str:
    return f"about {_minutes(_restore_seconds(facts))}, and what was written since the snapshot is lost"


def _minutes(seconds: float) -> str:
    return f"{max(1, round(seconds / 60))} min"


def _nobody(subject: str, shown: str, step: str) -> ApprovalRecord:
    raise DecisionNeeded(subject, reasons=(shown, step))
