"""A backup as the engine sees it: an upgrade's first half, without what concerns an upgrade alone."""

from __future__ import annotations

from upgrade_guard.checks.catalogue import blocking
from upgrade_guard.checks.disk import disk_space_scratch, disk_space_vault
from upgrade_guard.checks.gathered import Gathered
from upgrade_guard.checks.targets import offsite_target_usable
from upgrade_guard.errors import GuardError, Refused
from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.codec import to_json
from upgrade_guard.model.finding import Severity
from upgrade_guard.model.run import Event, State
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.model.step_results import CLUSTER
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.copies import copies
from upgrade_guard.steps.inspect import cluster as inspected_cluster
from upgrade_guard.steps.inspect import etcd_tools, look_here, see_cluster
from upgrade_guard.steps.proof import proof
from upgrade_guard.steps.snapshot import saved_on_node, snapshot
from upgrade_guard.steps.step_helpers import observation
from upgrade_guard.workflows.ungated import Ungated


class BackupWorkflow(Ungated):
    """The phases of one backup, built anew from the journal's facts whenever the engine asks."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def ahead(self, state: State, facts: Facts) -> tuple[Phase, ...]:
        """What leads from `state` to the next one."""
        site = self.site
        if state is State.STARTED:
            return (look(site),)
        cluster = inspected_cluster(facts)
        match state:
            case State.INSPECTED:
                return (snapshot(site, cluster),)
            case State.SNAPSHOTTED:
                return (proof(site, cluster),)
            case State.VERIFIED if site.config.vault.offsite:
                return (copies(site, cluster),)
            case State.VERIFIED:
                return (Phase("copy", "No off-site copies", (), event=Event.COPIES_READ_BACK),)
            case State.COPIED:
                return (Phase("keep", "Keep it", (), event=Event.BACKUP_KEPT),)
            case _:
                return ()

    def aborting(self, facts: Facts) -> tuple[Phase, ...]:
        """What it had gathered is removed before it is closed."""
        (close,) = super().aborting(facts)
        if not facts.has(CLUSTER):
            return (close,)
        return (Phase("clear", "Clear up", (clear(self.site, inspected_cluster(facts)),)), close)


def look(site: Site) -> Phase:
    """From started to inspected. What stands in the way of an upgrade alone does not matter here."""
    steps = (etcd_tools(site), see_cluster(site), see_room(site))
    return Phase("inspect", "Inspection", steps, event=Event.CLUSTER_INSPECTED)


def see_room(site: Site) -> Step:
    """Room for the bundle and for its proof, and targets that can take it: asked before hours go into a snapshot."""
    judges = (disk_space_vault, disk_space_scratch, *((offsite_target_usable,) if site.config.vault.offsite else ()))

    def look_at_it(facts: Facts) -> Seen:
        cluster = inspected_cluster(facts)
        gathered = Gathered(cluster, site.clock.now().timestamp(), machine=look_here(site, cluster))
        found = tuple(finding for judge in judges for finding in judge(gathered, Version.parse(cluster.version)))
        wrong = blocking(found)
        if wrong:
            raise Refused(
                "there is no usable storage for the backup",
                hint=wrong[0].hint,
                reasons=tuple(f"{one.check}: {one.message}; {one.hint}" for one in wrong),
            )
        worth_reading = [to_json(one) for one in found if one.severity is not Severity.OK]
        return Done({"findings": worth_reading, "asked": len(found)})

    return observation("inspect/room", "look for room here and at the targets", look_at_it)


def clear(site: Site, cluster: Cluster) -> Step:
    """Remove what a backup that is given up had gathered: staged files here, a snapshot on the node that took it.

    A node that does not answer keeps its file, and the step says so: closing a backup must always be possible.
    """

    tried: list[list[str]] = []

    def probe(_: Facts) -> Seen:
        return Done({"left": tried[-1]}) if tried else NotDone("files of this run may be there")

    def act(facts: Facts) -> None:
        left = []
        for node in cluster.control_planes:
            path = saved_on_node(site, node, facts.run_id)
            try:
                site.on(node).files.remove_own(path)
            except GuardError:
                left.append(f"{node.name}:{path}")
        site.vault.discard_staging(facts.run_id)
        tried.append(left)

    return Step("abort/clear", "remove what the backup had gathered", probe, act, lasting=False)
