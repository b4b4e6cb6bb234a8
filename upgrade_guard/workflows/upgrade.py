"""An upgrade as the engine sees it: which phases lead on from a state, and what the gate is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType

from upgrade_guard.errors import GuardError, HostUnreachable, Refused
from upgrade_guard.model.evidence import Evidence
from upgrade_guard.model.run import ApprovalRecord, Event, State
from upgrade_guard.model.step import Answer, Done, Facts, NotDone, Phase, Seen
from upgrade_guard.model.step_results import CLUSTER, PROVEN, PUBLISHED, copies_made
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps import lost_nodes
from upgrade_guard.steps.control_planes import control_plane
from upgrade_guard.steps.copies import copies, target
from upgrade_guard.steps.inspect import cluster as inspected_cluster
from upgrade_guard.steps.inspect import inspect
from upgrade_guard.steps.plan import Approve, keeping, plan
from upgrade_guard.steps.proof import mismatches, proof
from upgrade_guard.steps.rollback_choice import CHOICE, control_plane_touched
from upgrade_guard.steps.snapshot import bundle_of, problems_of, snapshot
from upgrade_guard.steps.staging import staging
from upgrade_guard.steps.step_helpers import until
from upgrade_guard.steps.target_images import images
from upgrade_guard.steps.verify import verify
from upgrade_guard.steps.workers import nodes
from upgrade_guard.vault.bundle import Bundle
from upgrade_guard.workflows import ladder
from upgrade_guard.workflows import rollback as way_back

ETCD_PATIENCE = 60.0
"""Seconds for which the gate waits for an etcd that does not answer."""


class UpgradeWorkflow:
    """The phases of one upgrade to `target`, built anew from the journal's facts whenever the engine asks.

    Nothing is kept here: a resumed run and a straight run therefore take the same path.
    """

    def __init__(
        self,
        site: Site,
        target: Version,
        approve: Approve,
        given_up: Mapping[str, ApprovalRecord] = MappingProxyType({}),
        everything: ApprovalRecord | None = None,
    ) -> None:
        """`given_up` has the approval for each node that a rollback is not to wait for, `everything` the one for taking
        everything back where one control plane would go back alone.
        """
        self.site = site
        self.target = target
        self.approve = approve
        self.given_up = given_up
        self.everything = everything

    def ahead(self, state: State, facts: Facts) -> tuple[Phase, ...]:
        """What leads from `state` to the next one; without an event at the end the engine asks again."""
        if state is State.STARTED:
            return (inspect(self.site, self.target),)
        cluster = inspected_cluster(facts)
        site, target = self.site, self.target
        match state:
            case State.INSPECTED:
                return (snapshot(site, cluster),)
            case State.SNAPSHOTTED:
                return (proof(site, cluster),)
            case State.VERIFIED:
                return (copies(site, cluster),)
            case State.COPIED:
                return (
                    keeping(site, cluster),
                    staging(site, cluster, target),
                    images(site, cluster, target),
                    plan(site, cluster, target, self.approve),
                )
            case State.PLANNED:
                return (control_plane(site, cluster, target),)
            case State.CONTROL_PLANE_UPGRADED:
                return (nodes(site, cluster, target, facts.run_id),)
            case State.NODES_UPGRADED:
                return (verify(site, cluster, target),)
            case State.ROLLING_BACK:
                return way_back.rollback(site, cluster, facts, self.given_up, self.everything)
            case _:
                return ()

    def aborting(self, facts: Facts) -> tuple[Phase, ...]:
        """Packages go back before a run is closed; a run that changed none is closed at once."""
        close = Phase("abort", "Close the run", (), event=Event.RUN_ABORTED)
        if not facts.has(CLUSTER):
            return (close,)
        cluster = inspected_cluster(facts)
        return (*way_back.packages_only(self.site, cluster, cluster, facts), close)

    def control_plane_touched(self, facts: Facts) -> bool:
        """Has kubeadm run on a control plane?"""
        return facts.has(CLUSTER) and control_plane_touched(inspected_cluster(facts), facts)

    def outdated(self, facts: Facts) -> tuple[str, ...]:
        """Who goes back now and who later, where a machine was lost or came back since that was decided."""
        return lost_nodes.outdated(self.site, inspected_cluster(facts), facts, CHOICE)

    def given_up_steps(self, facts: Facts) -> tuple[str, ...]:
        """The way back that was begun on nodes that were given up since, or was not wide enough."""
        return way_back.given_up_steps(facts, everything=self.everything is not None)

    def answer(self, failures: Iterable[tuple[str, GuardError]], facts: Facts) -> Answer:
        """The mildest means that is right."""
        return ladder.answer(self.site, inspected_cluster(facts), facts, failures)

    def evidence(self, facts: Facts) -> Evidence:
        """Everything the gate asks for, read again from the vault, the targets and the cluster."""
        cluster = inspected_cluster(facts)
        problems: list[str] = []
        notes: list[str] = []
        touched = self.control_plane_touched(facts)
        proven_at: datetime | None = None
        missing: tuple[str, ...] = tuple(node.name for node in cluster.control_planes)
        snapshot_cluster_id = ""
        equal: list[str] = []
        off = 0
        taken = facts.has(PUBLISHED)
        if taken:
            try:
                bundle = bundle_of(self.site, facts)
            except GuardError as problem:
                taken = False
                problems.append(f"{problem.message}.")
            else:
                problems += problems_of(bundle, facts)
                snapshot_cluster_id = bundle.manifest.cluster_id
                missing = tuple(
                    node.name
                    for node in cluster.control_planes
                    if node.name not in bundle.manifest.node_files or not bundle.node_archive(node.name).exists()
                )
                for copy in copies_made(facts):
                    if not copy.read_back:
                        continue
                    differing = self._read_back(copy.target, bundle)
                    if differing and not touched:
                        problems += differing
                    else:
                        # Once the control plane has begun to change, the way forward loses nothing and the way back
                        # needs the bundle of this machine: a copy that is away for an hour must not end the upgrade.
                        notes += differing
                        equal.append(copy.target)
                        off += copy.off_control_plane
        live_id, alarms = self._etcd_now(facts)
        proven = facts.has(PROVEN)
        if proven:
            not_of_it = mismatches(facts) if facts.has(PUBLISHED) else ()
            problems += not_of_it
            proven = not not_of_it
            proven_at = datetime.fromisoformat(facts.of(PROVEN)["proven_at"])
        return Evidence(
            now=self.site.clock.now(),
            snapshot_taken=taken,
            proof_succeeded=proven,
            proven_at=proven_at,
            max_age=self.site.config.upgrade.snapshot_max_age,
            copies_read_back=len(equal),
            copies_off_control_plane=off,
            copies_required=self.site.config.vault.offsite_required,
            node_files_missing=missing,
            snapshot_cluster_id=snapshot_cluster_id,
            live_cluster_id=live_id,
            alarms=alarms,
            problems=tuple(problems),
            age_matters=not touched,
            notes=tuple(notes),
        )

    def _read_back(self, url: str, bundle: Bundle) -> tuple[str, ...]:
        try:
            return target(self.site, url).read_back(bundle)
        except GuardError as problem:
            return (f"The copy at {url} cannot be read back: {problem.message}.",)

    def _etcd_now(self, facts: Facts) -> tuple[str | None, tuple[str, ...]]:
        """Cluster id and alarms from the first member that answers, waited for; None when none does.

        A process that was killed while etcd was being replaced comes back to an etcd that is only starting.
        """
        answers: list[tuple[str, tuple[str, ...]]] = []

        def look() -> Seen:
            answer = self._etcd_answer(facts)
            if answer is None:
                return NotDone("no etcd member answers")
            answers.append(answer)
            return Done()

        until(self.site.clock, min(ETCD_PATIENCE, self.site.config.upgrade.ready_timeout), look)
        return answers[-1] if answers else (None, ())

    def _etcd_answer(self, facts: Facts) -> tuple[str, tuple[str, ...]] | None:
        for node in inspected_cluster(facts).control_planes:
            try:
                etcdctl = self.site.etcdctl(node)
                statuses = etcdctl.endpoint_status(cluster=False)
                return str(statuses[0].cluster_id), tuple(alarm.kind for alarm in etcdctl.alarms())
            except (HostUnreachable, Refused):
                raise  # a program that is not run has not said that etcd does not answer
            except GuardError:
                continue
        return None
