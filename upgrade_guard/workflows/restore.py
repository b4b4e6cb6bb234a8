"""Disaster recovery: the cluster of a proven bundle, brought back on control planes that are down or have lost data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from upgrade_guard.errors import Refused, StepFailed
from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.codec import from_json
from upgrade_guard.model.run import ApprovalRecord, Event, State
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.model.step_results import APPROVE_RESTORE, GIVEN_BUNDLE
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import Site, etcd_of
from upgrade_guard.steps import etcd_restore, failure_archive, fencing, verify
from upgrade_guard.steps.canary import canary
from upgrade_guard.steps.files_back import bundled_files_back
from upgrade_guard.steps.inspect import cluster as known_cluster
from upgrade_guard.steps.proof import proving
from upgrade_guard.steps.quiesce import Rest, quiesce
from upgrade_guard.steps.restore_bundle import Recorded, WantedBundle, find_bundle, see_cluster
from upgrade_guard.steps.restore_nodes import GIVEN_UP, NODES, in_service, see_nodes
from upgrade_guard.steps.restore_survey import GROUND, certificates_hold, etcd_programs, see_ground
from upgrade_guard.steps.snapshot import bundle_of, problems_of
from upgrade_guard.steps.step_helpers import noting, observation
from upgrade_guard.vault.drill import stated
from upgrade_guard.vault.proof import Expected, Proof
from upgrade_guard.workflows.ungated import Ungated
from upgrade_guard.workflows.whole_rollback import nodes_and_watchers, start

T = TypeVar("T")
THEIRS, OURS = "rollback", "restore"


def as_restore(*phases: Phase) -> tuple[Phase, ...]:
    """`rollback/cp1/swap` becomes `restore/cp1/swap`, in the journal and in what one step reads of another."""
    return tuple(
        replace(phase, name=_ours(phase.name, "-"), steps=tuple(_step(step) for step in phase.steps))
        for phase in phases
    )


def _step(step: Step) -> Step:
    return replace(
        step, name=_ours(step.name, "/"), probe=_with_their_names(step.probe), act=_with_their_names(step.act)
    )


def _ours(name: str, mark: str) -> str:
    first, found, rest = name.partition(mark)
    return f"{OURS}{found}{rest}" if first == THEIRS else name


def _theirs(name: str) -> str:
    first, found, rest = name.partition("/")
    return f"{THEIRS}{found}{rest}" if first == OURS else name


def _with_their_names(look: Callable[[Facts], T]) -> Callable[[Facts], T]:
    def renamed(facts: Facts) -> T:
        results = {_theirs(name): result for name, result in facts.results.items()}
        started = frozenset(_theirs(name) for name in facts.started)
        return look(Facts(facts.run_id, {**results, **facts.results}, started | facts.started))

    return renamed


ConfirmCluster = Callable[[str, str], ApprovalRecord]
"""Ask for the cluster's name, with what the restore costs. Raises DecisionNeeded when it is not given."""


class RestoreWorkflow(Ungated):
    """The phases of one restore from `what`, built anew from the journal's facts whenever the engine asks."""

    def __init__(self, site: Site, what: WantedBundle, recorded: Recorded, confirm: ConfirmCluster) -> None:
        self.site = site
        self.what = what
        self.recorded = recorded
        self.confirm = confirm

    def ahead(self, state: State, facts: Facts) -> tuple[Phase, ...]:
        """What leads from `state` to the next one; without an event at the end the engine asks again."""
        match state:
            case State.STARTED:
                return (proven(self.site, self.what, self.recorded),)
            case State.INSPECTED:
                return (Phase("restore-approve", "Your approval", (approve(self.site, self.confirm),), _BEGUN),)
            case State.ROLLING_BACK:
                return restoring(self.site, known_cluster(facts), facts)
            case _:
                return ()


_BEGUN = Event.ROLLBACK_BEGUN


def proven(site: Site, what: WantedBundle, recorded: Recorded) -> Phase:
    """From started to inspected: the bundle is whole and proven, and this is its cluster. Nothing is touched."""
    return Phase(
        "restore-inspect",
        "The bundle, and what is left of the cluster",
        (find_bundle(site, what, recorded), etcd_programs(site), see_cluster(site), see_ground(site), prove(site)),
        event=Event.BUNDLE_PROVEN,
    )


def prove(site: Site) -> Step:
    """Restored here into scratch, started and compared, in this run: what was proven once may have rotted since."""

    def expected(facts: Facts) -> Expected:
        return stated(bundle_of(site, facts))

    def failed(verdict: Proof) -> Refused:
        return Refused(
            f"the bundle cannot be restored: {verdict.message}; nothing was touched",
            hint="close this run and name another bundle: upgrade-guard abort; upgrade-guard backup list",
        )

    return proving(
        site,
        lambda facts: site.local_etcd_tools(etcd_of(known_cluster(facts).control_planes[0]).image),
        expected,
        failed,
    )


def approve(site: Site, confirm: ConfirmCluster) -> Step:
    """A person types the cluster's name, or gave it: what was written since the snapshot is lost."""
    given: list[ApprovalRecord] = []

    def probe(_: Facts) -> Seen:
        if given:
            return Done({"by": given[-1].by, "how": given[-1].how}, records=(given[-1],))
        return NotDone("the restore is not approved yet")

    def act(facts: Facts) -> None:
        given.append(confirm(known_cluster(facts).name, cost(site, facts)))

    return Step(APPROVE_RESTORE, "approve the restore", probe, act)


def cost(site: Site, facts: Facts) -> str:
    """What is lost and what happens to each control plane, as an operator reads it before the yes."""
    cluster, seen, bundle = known_cluster(facts), facts.of(GROUND), bundle_of(site, facts)
    taken = bundle.manifest.taken_at
    about = f"Kubernetes {cluster.version}, taken at {taken:%Y-%m-%d %H:%M:%SZ}, revision {bundle.manifest.revision}"
    lines = [f"Restore cluster {cluster.name} from {bundle.name}: {about}.", f"  {lost_writes(facts)}"]
    for node in cluster.control_planes:
        fate = "its etcd data is lost already" if node.name in seen["lost"] else "its etcd data is moved aside"
        lines.append(f"  {node.name}: the control plane is stopped, {fate}, its files become those of the bundle.")
    return "\n".join([*lines, *(f"  {note}" for note in seen["notes"])])


def lost_writes(facts: Facts) -> str:
    """Which writes the restore loses, as far as it is known."""
    taken = facts.of(GIVEN_BUNDLE)
    now = facts.of(GROUND)["revision_now"]
    if now is None:
        return f"Lost: everything written after {taken['taken_at'][:19]}Z; etcd did not answer, so nobody can count it."
    written = max(0, int(now) - int(taken["revision"]))
    return (
        f"Lost: {written} revision{'' if written == 1 else 's'} written since the snapshot; etcd was at revision {now}."
    )


def restoring(site: Site, cluster: Cluster, facts: Facts) -> tuple[Phase, ...]:
    """From rolling-back to restored: the whole way of a rollback; once the API answers, every node that it knows."""
    planes, rest = cluster.control_planes, Rest()
    fences = fencing.fence(site, planes, fencing.GRACE_WHILE_AWAY)
    control_planes = (
        Phase("restore-bundle", "The bundle", (still_sound(site),)),
        *as_restore(
            failure_archive.keep(site, cluster, etcd_answers=facts.of(GROUND)["revision_now"] is not None),
            *etcd_restore.prepare(site, cluster, facts.run_id, lambda facts: bump(site, facts)),
            *quiesce(site, cluster, facts.run_id, rest, meanwhile=fences),
            etcd_restore.swap_all(site, cluster, facts.run_id, rest),
            Phase(
                "rollback-files",
                "Files back",
                tuple(bundled_files_back(site, node, manifests=False) for node in planes),
                at_once=len(planes),
            ),
        ),
        Phase(
            "restore-certificates",
            "Certificates",
            tuple(certificates_hold(site, node) for node in planes),
            at_once=len(planes),
        ),
        *as_restore(*start(site, cluster)),
        Phase("restore-find-nodes", "Find the nodes", (see_nodes(site, cluster),)),
    )
    if not facts.has(NODES):
        return control_planes
    nodes = (*control_planes, *as_restore(*every_node(site, from_json(Cluster, facts.of(NODES)["cluster"]), facts)))
    if not facts.has("restore/watchers"):
        return nodes
    return (*nodes, verification(site, cluster, in_service(facts)))


def verification(site: Site, cluster: Cluster, working: Cluster) -> Phase:
    """etcd, the nodes that came up, and a canary on each of them."""
    versions = {node.name: Version.parse(node.kubelet_version) for node in working.nodes}
    return Phase(
        "restore-verify",
        "Verification",
        (
            verify.manifests_as_before(site, working, "restore/verify"),
            verify.etcd_sound(site, working, "restore/verify"),
            verify.nodes_ready(
                site, working, versions, Version.parse(cluster.version), "restore/verify", restored=True
            ),
            canary(site, working, "restore/verify/canary", restored=True),
        ),
        event=Event.RESTORE_CONFIRMED,
    )


def bump(site: Site, facts: Facts) -> int:
    """Beyond what the cluster has seen: the live etcd knows it, or else the newest of its bundles and its age."""
    manifest = bundle_of(site, facts).manifest
    known = [other.manifest.revision for other in site.vault.bundles() if other.manifest.cluster == manifest.cluster]
    age = (site.clock.now() - manifest.taken_at).total_seconds()
    return etcd_restore.bump_beyond(age, manifest.revision, max([*known, facts.of(GROUND)["revision_now"] or 0]))


def still_sound(site: Site) -> Step:
    """The bundle is still as it was proven: seen again before anything is stopped for it."""

    def look(facts: Facts) -> Seen:
        bundle = bundle_of(site, facts)
        problems = problems_of(bundle, facts)
        if problems:
            raise StepFailed(
                "the bundle changed since it was proven; nothing was stopped",
                hint=f"put a copy of it in the place of {bundle.path}, then: upgrade-guard resume",
                reasons=problems,
            )
        return Done({"bundle": bundle.name})

    return observation("restore/sound", "see that the bundle is still as it was proven", look, lasting=True)


def every_node(site: Site, cluster: Cluster, facts: Facts) -> tuple[Phase, ...]:
    """As in a rollback, but a worker that does not come up holds nobody up: the disaster may have struck it too."""
    workers = {node.name for node in cluster.workers}
    kubelets, fences = fencing.stop_kubelets(site, cluster.workers), fencing.fence(site, cluster.workers, fencing.GRACE)
    holding = (
        Phase("rollback-hold-workers", "Stop kubelet on workers", kubelets, at_once=len(workers)),
        Phase("rollback-fence-workers", "End what workers began since", fences, at_once=len(workers)),
    )
    return (
        *(holding if workers else ()),
        *(
            replace(phase, steps=tuple(noting(one, GIVEN_UP) if one.lane in workers else one for one in phase.steps))
            for phase in nodes_and_watchers(site, cluster, cluster, facts)
        ),
    )
