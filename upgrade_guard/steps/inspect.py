"""Look at the cluster before anything is changed: what it is, how it is, and whether an upgrade may begin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from upgrade_guard.checks import baseline
from upgrade_guard.checks.catalogue import blocking, judge
from upgrade_guard.checks.gather import gather
from upgrade_guard.checks.gather_node import room
from upgrade_guard.checks.gathered import DrainLook, MachineLook, Room, TargetLook
from upgrade_guard.errors import GuardError, HostUnreachable, Refused
from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.codec import from_json, to_json
from upgrade_guard.model.finding import Finding, Severity
from upgrade_guard.model.run import Event, NodeRecord
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.model.step_results import BASELINE, CHECKS, CLUSTER
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.etcd_programs import PROGRAMS
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.canary import canary_before
from upgrade_guard.steps.copies import off_control_plane
from upgrade_guard.steps.copies import target as open_offsite
from upgrade_guard.steps.discovery import (
    answering_etcdctl,
    ensure_etcd_tools,
    read_cluster,
    read_control_planes,
    require_control_plane,
)
from upgrade_guard.steps.step_helpers import observation
from upgrade_guard.tools.files import Files

T = TypeVar("T")

__all__ = ["cluster", "findings", "inspect", "read_cluster"]


def inspect(site: Site, target: Version) -> Phase:
    """From started to inspected. No step is lasting: what was true before an interruption is looked at again.

    A refusal is cured outside (a hold, a disk, a cordoned node), so the cluster is read anew when the run goes on.
    """
    return Phase(
        "inspect",
        "Inspection",
        steps=(
            refusing_lost(etcd_tools(site)),
            refusing_lost(see_cluster(site)),
            see_baseline(site),
            see_checks(site, target),
            canary_before(site, cluster),
        ),
        event=Event.CLUSTER_INSPECTED,
    )


def refusing_lost(step: Step) -> Step:
    """The same step; a machine that cannot be reached is a reason not to begin, and nothing has failed."""

    def refusing(look: Callable[[Facts], T]) -> Callable[[Facts], T]:
        def refused(facts: Facts) -> T:
            try:
                return look(facts)
            except HostUnreachable as problem:
                raise Refused(problem.message, hint=problem.hint, reasons=problem.reasons) from problem

        return refused

    return replace(step, probe=refusing(step.probe), act=refusing(step.act))


def cluster(facts: Facts) -> Cluster:
    """The cluster as it was inspected in this run. Raises KeyError before that."""
    return from_json(Cluster, facts.of(CLUSTER))


def etcd_tools(site: Site) -> Step:
    """etcd's own programs on every control plane and here, before anything else: only with them does etcd speak.

    This does not count as changing a node: it writes to a directory of our own, which nothing of Kubernetes reads, and
    it has to happen before the gate, because the snapshot needs etcdctl and the proof needs etcd.
    """

    def probe(_: Facts) -> Seen:
        nodes = read_control_planes(site)
        missing = [node.name for node in nodes if node.etcd is not None and not site.has_etcd_tools(node)]
        if missing:
            return NotDone(f"etcd's programs are not there yet for {', '.join(missing)}")
        return Done(
            {
                "directories": {one.name: site.etcd_tools_directory(one) for one in nodes if one.etcd},
                "sha256": site.program_digests(nodes),
            }
        )

    def act(_: Facts) -> None:
        ensure_etcd_tools(site, read_control_planes(site))

    return Step(PROGRAMS, "take etcd's own programs out of its image", probe, act, lasting=False)


def see_cluster(site: Site) -> Step:
    """Every node, its packages and manifests, etcd and the add-ons."""

    def look(_: Facts) -> Seen:
        found = read_cluster(site)
        require_control_plane(found)
        return Done(to_json(found), records=node_records(site, found))

    return observation(CLUSTER, "read the cluster", look)


def node_records(site: Site, found: Cluster) -> tuple[NodeRecord, ...]:
    """Every node as it is recorded: the versions to which a rollback returns."""
    return tuple(
        NodeRecord(
            name=node.name,
            role=node.role,
            address=site.on(node).settings.address,
            kubelet_version=node.kubelet_version,
            packages=dict(node.packages),
        )
        for node in found.nodes
    )


def see_baseline(site: Site) -> Step:
    """How nodes, workloads and services are now, to compare with afterwards."""

    def look(facts: Facts) -> Seen:
        return Done(to_json(baseline.capture(site.any_api(cluster(facts)))))

    return observation(BASELINE, "record how everything is now", look)


def see_checks(site: Site, target: Version) -> Step:
    """Every check; a blocking finding refuses the run, with all of them as reasons."""

    def look(facts: Facts) -> Seen:
        found = findings(site, target, cluster(facts))
        refuse(found)
        worth_reading = [to_json(one) for one in found if one.severity is not Severity.OK]
        return Done({"findings": worth_reading, "asked": len(found)})

    return observation(CHECKS, "check that the upgrade may begin", look)


def findings(site: Site, target: Version, known: Cluster | None = None) -> tuple[Finding, ...]:
    """What every check says, the good ones too. The cluster is read when it is not `known`."""
    found = known or read_cluster(site)
    require_control_plane(found)
    gathered = gather(
        found,
        {node.name: site.on(node) for node in found.nodes},
        site.any_api(found),
        {node.name: site.api_server(node) for node in found.control_planes},
        answering_etcdctl(site, found.nodes),
        machine=look_here(site, found),
        clock=site.clock,
        target=target,
        patches=site.config.upgrade.patches,
        drain=DrainLook(
            force=site.config.upgrade.drain_force,
            delete_emptydir=site.config.upgrade.drain_delete_emptydir,
            skipped=frozenset(node.name for node in found.nodes if not site.settings(node.name).drain),
        ),
    )
    return judge(gathered, target)


def refuse(found: tuple[Finding, ...]) -> None:
    """Raises Refused with every blocking finding as a reason."""
    wrong = blocking(found)
    if wrong:
        raise Refused(
            f"{len(wrong)} check(s) block the upgrade",
            hint=wrong[0].hint,
            reasons=tuple(f"{one.check}: {one.message}; {one.hint}" for one in wrong),
        )


def look_here(site: Site, found: Cluster) -> MachineLook:
    """The disks of this machine and the off-site targets. Nothing is written."""
    files = Files(site.here)
    vault = site.config.vault
    return MachineLook(
        vault_room=_room(files, site.vault.path),
        scratch_room=_room(files, site.config.state_dir),
        targets=tuple(_look_at_target(site, found, url) for url in vault.offsite),
        targets_required=vault.offsite_required,
    )


def _room(files: Files, path: Path) -> Room | None:
    try:
        return room(files, str(path.absolute()))
    except GuardError:
        return None  # the snapshot itself will say it when the directory cannot be used


def _look_at_target(site: Site, found: Cluster, url: str) -> TargetLook:
    try:
        problems = open_offsite(site, url).usable(found.etcd_db_size)
        off, reason = off_control_plane(site, found, url)
    except GuardError as problem:
        return TargetLook(url, (problem.message,), off_control_plane=False, reason=problem.message)
    return TargetLook(url, problems, off_control_plane=off, reason=reason)
