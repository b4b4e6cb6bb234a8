"""What an operator decided with an option: recorded like an answer to a question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upgrade_guard.errors import Refused, UsageProblem
from upgrade_guard.model.run import ApprovalRecord
from upgrade_guard.model.step_results import CLUSTER
from upgrade_guard.runs.resources import now, operator

if TYPE_CHECKING:
    from upgrade_guard.journal import Journal
    from upgrade_guard.nodes.site import Site


def given_up(names: tuple[str, ...]) -> dict[str, ApprovalRecord]:
    """The approval for each node that the operator gave up by name."""
    return {
        name: ApprovalRecord(
            f"Give {name} up for good: the cluster is rolled back and verified without it",
            operator(),
            f"--without {name}",
            "yes",
            now(),
        )
        for name in names
    }


def wants_everything(cluster: str) -> ApprovalRecord:
    """The approval for taking everything back where one control plane would have gone back alone."""
    subject = f"Take everything of {cluster} back, etcd's data too, and not one control plane alone"
    return ApprovalRecord(subject, operator(), "--everything", "yes", now())


def refuse_to_give_up(site: Site, journal: Journal, run_id: str, names: tuple[str, ...]) -> None:
    """Raise UsageProblem for a node that the cluster does not have, Refused for one whose machine answers."""
    from upgrade_guard.model.cluster import Cluster
    from upgrade_guard.model.codec import from_json
    from upgrade_guard.steps.lost_nodes import answers_now

    facts = journal.facts(run_id)
    nodes = from_json(Cluster, facts.of(CLUSTER)).nodes if facts.has(CLUSTER) else ()
    known = {node.name: node for node in nodes}
    for name in names:
        if name not in known:
            raise UsageProblem(
                f"the cluster of this run has no node {name}", hint=f"its nodes are: {', '.join(known) or 'not known'}"
            )
        if answers_now(site, known[name]):
            raise Refused(
                f"the machine of {name} answers, so it goes back with the others and is not given up",
                hint="upgrade-guard rollback",
            )
