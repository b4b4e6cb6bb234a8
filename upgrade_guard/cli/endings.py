"""How a run that was driven ended: told to the person who typed the command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from upgrade_guard.cli import common
from upgrade_guard.cli.common import took
from upgrade_guard.cli.invocation import Front
from upgrade_guard.model.plain import run_answer
from upgrade_guard.model.run import Kind, Run, State
from upgrade_guard.model.step_results import GIVEN_BUNDLE, RESTORE, of_node
from upgrade_guard.runs.session import Choices

if TYPE_CHECKING:
    from upgrade_guard.config import Config
    from upgrade_guard.journal import Journal
    from upgrade_guard.model.step import Facts


def go_on(front: Front, journal: Journal, config: Config, run: Run, choices: Choices) -> None:
    """Drive the run, and say how it ended."""
    ended = common.drive(front, journal, config, run, choices, lambda runner: runner.go_on(run.id))
    if ended.kind is Kind.RESTORE:
        answer_restore(front, journal, ended)
        return
    answer_upgrade(front, ended, _not_upgraded(journal, ended))


def _not_upgraded(journal: Journal, run: Run) -> dict[str, str]:
    """The nodes that a completed upgrade left as they were, with the reason."""
    from upgrade_guard.steps.inspect import cluster

    return dict(cluster(journal.facts(run.id)).left_out) if run.state is State.COMPLETED else {}


def answer_upgrade(front: Front, run: Run, not_upgraded: Mapping[str, str]) -> None:
    """How an upgrade ended, and which nodes it left as they were."""
    from upgrade_guard.ui import vocabulary

    ended = run.outcome or run.state.value
    text = f"Run {run.id}: {ended} after {took(run)}. {vocabulary.standing(run.kind, run.state)}"
    for node, why in not_upgraded.items():
        text += f"\n{node} was not upgraded: {why}"
    if not front.passing:
        text += f"\nNext: {front.pasteable(f'upgrade-guard show {run.id}')}"
    front.answer(run_answer(run) | {"not_upgraded": not_upgraded}, lambda: text)


def answer_restore(front: Front, journal: Journal, run: Run) -> None:
    """How a restore ended: what is lost, where the old data is, and what to look at next."""
    from upgrade_guard.ui import vocabulary

    facts = journal.facts(run.id)
    found = _told(facts)
    lines = [
        f"Run {run.id}: {run.outcome or run.state.value} after {took(run)}. {vocabulary.standing(run.kind, run.state)}",
        found["lost"],
        *(f"Old data of {node}: {path}" for node, path in found["aside"].items() if node not in found["had_no_data"]),
        "Look at next:",
        *(f"  - {one}" for one in found["look_at_next"]),
        f"Next: {front.pasteable('upgrade-guard backup create')}",
    ]
    front.answer(run_answer(run) | found, lambda: "\n".join(lines))


def _told(facts: Facts) -> dict[str, Any]:
    from upgrade_guard.steps.inspect import cluster as known_cluster
    from upgrade_guard.steps.restore_nodes import NODES, given_up
    from upgrade_guard.steps.restore_survey import GROUND
    from upgrade_guard.workflows.restore import lost_writes

    planes = known_cluster(facts).control_planes
    seen = facts.of(NODES)
    follow_up = [
        f"{node} could not be reached: once it is back, restart its kubelet there (systemctl restart kubelet)"
        for node in seen["unreachable"]
    ]
    follow_up += [f"{node} did not come up: {why}" for node, why in given_up(facts).items()]
    follow_up += [
        f"kubelet of {one} is newer than the API server, which Kubernetes does not support: bring its package back"
        for one in seen["newer"]
    ]
    follow_up += [
        "kubectl get nodes: a node that joined after the snapshot is unknown until its kubelet is restarted",
        "kubectl get pods --all-namespaces: workloads are those of the snapshot; what was created since is gone",
        "volumes and load balancers that were made or removed since the snapshot: the API no longer knows of it",
    ]
    return {
        "bundle": facts.of(GIVEN_BUNDLE)["bundle"],
        "lost": lost_writes(facts),
        "aside": {node.name: facts.of(of_node(RESTORE, node.name, "swap"))["aside"] for node in planes},
        "had_no_data": list(facts.of(GROUND)["lost"]),
        "unreachable": dict(seen["unreachable"]),
        "not_up": given_up(facts),
        "look_at_next": follow_up,
    }
