"""What a whole rollback would lose: the writes since the snapshot of this run."""

from __future__ import annotations

from collections.abc import Iterable

from upgrade_guard.errors import GuardError
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.step import Facts
from upgrade_guard.model.step_results import PUBLISHED
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.rollback_choice import Path, chosen
from upgrade_guard.steps.snapshot import bundle_of


def revision_now(site: Site, nodes: Iterable[Node]) -> int | None:
    """The revision of etcd, from the first member that answers; None when none does."""
    for node in nodes:
        try:
            return site.etcdctl(node).revision()
        except GuardError:
            continue
    return None


def written_since(site: Site, cluster: Cluster, facts: Facts) -> int | None:
    """How many revisions etcd has had since the snapshot; None when it does not answer."""
    now = revision_now(site, cluster.control_planes)
    return None if now is None else max(0, now - int(facts.of(PUBLISHED)["revision"]))


def beyond_budget(site: Site, cluster: Cluster, facts: Facts) -> str:
    """Why a person is asked before everything is taken back: too much would be lost, and the API serves. Else ""."""
    if not facts.has(PUBLISHED) or not _serves(site, cluster):
        return ""
    if chosen(site, cluster, facts)[0] is not Path.WHOLE:
        return ""
    budget = site.config.rollback
    age = (site.clock.now() - bundle_of(site, facts).manifest.taken_at).total_seconds()
    if budget.ask_beyond and age > budget.ask_beyond:
        return f"the API serves, and going back would lose what was written in {round(age / 60)} min (ask_beyond)"
    written = written_since(site, cluster, facts) if budget.ask_beyond_revisions else None
    if written is not None and written > budget.ask_beyond_revisions:
        return f"the API serves, and going back would lose {written} revisions (ask_beyond_revisions)"
    return ""


def _serves(site: Site, cluster: Cluster) -> bool:
    return any(site.api_server(node).ready() for node in cluster.control_planes)
