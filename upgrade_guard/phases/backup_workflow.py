"""A backup as the engine sees it: an upgrade's first half, without what concerns an upgrade alone."""

from __future__ import annotations

from upgrade_guard.model.run import Event, State
from upgrade_guard.model.step import Facts, Phase
from upgrade_guard.phases.copies import copies
from upgrade_guard.phases.inspect import cluster as inspected_cluster
from upgrade_guard.phases.inspect import etcd_tools, see_cluster
from upgrade_guard.phases.proof import proof
from upgrade_guard.phases.site import Site
from upgrade_guard.phases.snapshot import snapshot
from upgrade_guard.phases.ungated import Ungated


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


def look(site: Site) -> Phase:
    """From started to inspected: what is needed to read etcd. What stands in the way of an upgrade does not matter."""
    return Phase("inspect", "Inspection", (etcd_tools(site), see_cluster(site)), event=Event.CLUSTER_INSPECTED)
