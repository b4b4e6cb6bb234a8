"""The cluster against its baseline: after an upgrade at the target, after a rollback as it was."""

from __future__ import annotations

from collections.abc import Mapping

from upgrade_guard.checks.baseline import Baseline, capture, compare
from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.codec import from_json
from upgrade_guard.model.finding import Severity
from upgrade_guard.model.run import Event
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.model.step_results import BASELINE
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.canary import canary
from upgrade_guard.steps.lost_nodes import refuse_lost
from upgrade_guard.steps.snapshot import bundle_of
from upgrade_guard.steps.step_helpers import observation, waiting
from upgrade_guard.vault import node_files


def verify(site: Site, cluster: Cluster, target: Version) -> Phase:
    """From nodes-upgraded to completed."""
    return Phase(
        "verify",
        "Verification",
        steps=comparison(site, cluster, {node.name: target for node in cluster.nodes}, target, "verify"),
        event=Event.UPGRADE_CONFIRMED,
    )


def comparison(
    site: Site,
    cluster: Cluster,
    versions: Mapping[str, Version],
    serving: Version,
    prefix: str,
    *,
    without: tuple[str, ...] = (),
    restored: bool = False,
) -> tuple[Step, ...]:
    """etcd sound, every node Ready at its version, workloads as in the baseline, and the canary.

    `without` names nodes of the baseline that are not of this cluster any more: they were given up. After a way back
    the state is a `restored` one.
    """
    return (
        etcd_sound(site, cluster, prefix),
        nodes_ready(site, cluster, versions, serving, prefix, restored=restored),
        workloads_as_before(site, cluster, serving, prefix, without, restored=restored),
        canary(site, cluster, f"{prefix}/canary", restored=restored),
    )


def etcd_sound(site: Site, cluster: Cluster, prefix: str) -> Step:
    """Every member answers and is healthy, and there is no alarm."""

    def look(_: Facts) -> Seen:
        etcdctl = site.etcdctl(cluster.control_planes[0])
        sick = [member.endpoint for member in etcdctl.endpoint_health(cluster=True) if not member.healthy]
        if sick:
            refuse_lost(site, cluster.control_planes)
            return NotDone(f"etcd is not healthy at {', '.join(sick)}")
        alarms = etcdctl.alarms()
        if alarms:
            return NotDone(f"etcd has the alarm {alarms[0].kind}")
        members = etcdctl.endpoint_status(cluster=True)
        if len(members) != len(cluster.control_planes):
            return NotDone(f"{len(members)} of {len(cluster.control_planes)} etcd members answer")
        return Done({"members": len(members), "revision": max(member.revision for member in members)})

    timeout = site.config.upgrade.ready_timeout
    return waiting(f"{prefix}/etcd", "see that etcd is sound", look, clock=site.clock, timeout=timeout)


def nodes_ready(
    site: Site,
    cluster: Cluster,
    versions: Mapping[str, Version],
    serving: Version,
    prefix: str,
    *,
    restored: bool = False,
) -> Step:
    """Every node Ready at its version, taking pods unless it was cordoned before, and every API server at `serving`.

    A worker that somebody has removed from the cluster is said; a `restored` state has to know every node.
    """

    def look(_: Facts) -> Seen:
        for plane in cluster.control_planes:
            served = site.api_server(plane).version()
            if served != serving:
                return NotDone(f"the API server of {plane.name} is {served}")
        kubectl = site.any_api(cluster)
        rows = {row.name: row for row in kubectl.nodes()}
        left: list[str] = []
        for node in cluster.nodes:
            row = rows.get(node.name)
            if row is None and not restored and not node.is_control_plane:
                left.append(node.name)
                continue
            if row is None:
                return NotDone(f"{node.name} is missing")
            if row.kubelet_version != str(versions[node.name]):
                return NotDone(f"the kubelet of {node.name} is {row.kubelet_version}")
            if not row.ready:
                refuse_lost(site, (node,))
                return NotDone(f"{node.name} is not Ready: {row.ready_reason}")
            if row.unschedulable and not node.unschedulable:
                return NotDone(f"{node.name} takes no new pods")
        there = {node.name: str(versions[node.name]) for node in cluster.nodes if node.name not in left}
        return Done({"nodes": there, "left": left})

    timeout = site.config.upgrade.ready_timeout
    return waiting(f"{prefix}/nodes", "see every node Ready at its version", look, clock=site.clock, timeout=timeout)


def manifests_as_before(site: Site, cluster: Cluster, prefix: str) -> Step:
    """After a way back: the static pods of every control plane are those of the bundle, and there is no other one.

    kubelet runs whatever lies there, and what nobody put back is in no baseline of the API's objects.
    """

    def look(facts: Facts) -> Seen:
        listings = bundle_of(site, facts).manifest.node_files
        planes = [node for node in cluster.control_planes if node.name in listings]
        for node in planes:
            left = node_files.differences(site.on(node).files, listings[node.name], manifests=True)
            if left:
                more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
                return NotDone(
                    f"the static pods of {node.name} are not those of the snapshot: {left[0].path} is "
                    f"{left[0].kind}{more}"
                )
        return Done({"nodes": [node.name for node in planes]})

    return observation(f"{prefix}/static-pods", "see that every static pod is one of the snapshot", look)


def workloads_as_before(
    site: Site,
    cluster: Cluster,
    serving: Version,
    prefix: str,
    without: tuple[str, ...] = (),
    *,
    restored: bool = False,
) -> Step:
    """What ran at the inspection runs now."""

    def look(facts: Facts) -> Seen:
        before = from_json(Baseline, facts.of(BASELINE))
        findings = compare(before, capture(site.any_api(cluster)), serving, without, restored=restored)
        wrong = [one.message for one in findings if one.severity is Severity.BLOCKING]
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            return NotDone(f"{wrong[0]}{more}")
        return Done({"differences": [one.message for one in findings if one.severity is Severity.WARNING]})

    timeout = site.config.upgrade.ready_timeout
    return waiting(
        f"{prefix}/workloads", "compare workloads with the baseline", look, clock=site.clock, timeout=timeout
    )
