"""Disaster recovery from a bundle: `restore`."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upgrade_guard.cli import wiring
from upgrade_guard.cli.front import Front
from upgrade_guard.cli.quick import QuickCommand
from upgrade_guard.cli.upgrade import ConfirmCluster, TakeOver, Yes, close
from upgrade_guard.cli.wiring import Choices
from upgrade_guard.errors import DecisionNeeded, Refused
from upgrade_guard.model.run import Kind, Run, State

if TYPE_CHECKING:
    from upgrade_guard.config import Config
    from upgrade_guard.journal import Journal
    from upgrade_guard.model.step import Facts
    from upgrade_guard.phases.restore_bundle import Wanted
    from upgrade_guard.vault.bundle import Bundle


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("restore", cls=QuickCommand)(restore)


def restore(
    context: typer.Context,
    snapshot: Annotated[
        str,
        typer.Argument(
            metavar="BUNDLE", help="A bundle: its name, the path of its directory, or the URL of a target and its name."
        ),
    ],
    *,
    confirm_cluster: ConfirmCluster = None,
    yes: Yes = False,
    take_over: TakeOver = False,
) -> None:
    """Bring the cluster back from a bundle: control planes that are down, or that have lost etcd's data.

    The bundle is read and proven first. Then every control plane is stopped, etcd's data is moved aside, the bundle's
    is put in its place with the node files that belong to it, and everything is started and verified. What was written
    since the snapshot is lost, so the cluster's name is asked for before anything is touched.
    """
    from upgrade_guard.phases.restore_bundle import wanted

    front = Front.of(context)
    config = front.settings().config
    what = wanted(snapshot, config.vault.path)
    _refuse_early(front, config, what, confirm_cluster)
    with wiring.writing(config) as journal:
        run = _open(front, journal, what) or wiring.begin(journal, config, what.text, Kind.RESTORE)
        choices = Choices(yes, take_over=take_over, confirm_cluster=confirm_cluster)
        ended = wiring.drive(front, journal, config, run, choices, lambda runner: runner.go_on(run.id))
        answer(front, journal, ended)


def answer(front: Front, journal: Journal, run: Run) -> None:
    """How a restore ended: what is lost, where the old data is, and what to look at next."""
    from upgrade_guard.ui import words

    facts = journal.facts(run.id)
    found = _told(facts)
    took = words.duration(((run.finished_at or wiring.now()) - run.started_at).total_seconds())
    lines = [
        f"Run {run.id}: {run.outcome or run.state.value} after {took}. {words.standing(run.kind, run.state)}",
        found["lost"],
        *(f"Old data of {node}: {path}" for node, path in found["aside"].items() if node not in found["had_no_data"]),
        "Look at next:",
        *(f"  - {one}" for one in found["look_at_next"]),
        f"Next: {front.pasteable('upgrade-guard backup create')}",
    ]
    front.answer(wiring.run_answer(run) | found, lambda: "\n".join(lines))


def published_manifest(journal: Journal, bundle: Bundle) -> str:
    """The SHA-256 of the manifest with which the bundle was published; "" where this journal did not see that.

    By its name, not by the run that its manifest names: that is what somebody who exchanges it would change. A restore
    has written down what it was given, which says nothing of who published it.
    """
    for one in reversed(journal.recorded()):
        if one.snapshot.bundle == bundle.name and journal.run(one.run_id).kind is not Kind.RESTORE:
            return one.snapshot.manifest_sha256
    return ""


def _told(facts: Facts) -> dict[str, Any]:
    from upgrade_guard.phases.inspect import cluster as known_cluster
    from upgrade_guard.phases.restore import lost_writes
    from upgrade_guard.phases.restore_ground import GROUND
    from upgrade_guard.phases.restore_nodes import NODES, given_up

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
        "bundle": facts.of("restore/bundle")["bundle"],
        "lost": lost_writes(facts),
        "aside": {node.name: facts.of(f"restore/{node.name}/swap")["aside"] for node in planes},
        "had_no_data": list(facts.of(GROUND)["lost"]),
        "unreachable": dict(seen["unreachable"]),
        "not_up": given_up(facts),
        "look_at_next": follow_up,
    }


def _refuse_early(front: Front, config: Config, what: Wanted, confirmed: str | None) -> None:
    """What can be told before anything is recorded: no such bundle here, or nobody to give the cluster's name."""
    from upgrade_guard.vault.bundle import Vault

    name = config.cluster.name
    if not what.source:
        name = Vault(config.vault.path).bundle(what.name).manifest.cluster
    hint = f"upgrade-guard restore {shlex.quote(what.text)} --confirm-cluster {shlex.quote(name or 'NAME')}"
    if confirmed is None and not front.stdin_is_terminal():
        raise DecisionNeeded(
            "a restore loses what was written since the snapshot, and there is no terminal to ask for the cluster's "
            "name on",
            hint=hint,
        )
    if confirmed is not None and name and confirmed != name:
        raise DecisionNeeded(f"--confirm-cluster says {confirmed!r}, but the cluster is {name!r}", hint=hint)


def _open(front: Front, journal: Journal, what: Wanted) -> Run | None:
    """The open restore from the same bundle, to go on with; a run that has only looked gives way. Raises Refused."""
    opened = journal.open_run()
    if opened is None or (opened.kind is Kind.RESTORE and opened.target == what.text):
        return opened
    if opened.state is State.STARTED:
        close(front, journal, opened, f"a restore from {what.text} was asked for instead")
        return None
    hint = "upgrade-guard resume goes on with it"
    if opened.kind is Kind.UPGRADE:
        hint += "; upgrade-guard abort or upgrade-guard rollback closes it"
    elif opened.state is State.INSPECTED:
        hint += "; upgrade-guard abort closes it"
    raise Refused(
        f"run {opened.id} ({opened.kind.value} {opened.target}) is open at {opened.state.value}; one run at a time",
        hint=hint,
    )
