"""Look at what is left of the cluster before anything is touched: is it this cluster, and can it be restored?"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from upgrade_guard.checks.gather_node import read_installed, room
from upgrade_guard.checks.packages import PACKAGES
from upgrade_guard.errors import GuardError, HostUnreachable, Refused, StepFailed
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.step import Done, Facts, NotDone, Seen, Step
from upgrade_guard.nodes.etcd_programs import PROGRAMS
from upgrade_guard.nodes.local_identity import own_addresses
from upgrade_guard.nodes.site import NodeTools, Site, etcd_of
from upgrade_guard.steps.inspect import cluster as known_cluster
from upgrade_guard.steps.restore_bundle import cluster_of
from upgrade_guard.steps.restore_checks import EtcdNow, Survey, notes, obstacles
from upgrade_guard.steps.snapshot import bundle_of
from upgrade_guard.steps.step_helpers import observation
from upgrade_guard.tools.containers import full_image_name
from upgrade_guard.tools.etcd_manifest import read_etcd_manifest
from upgrade_guard.tools.files import read_if_there
from upgrade_guard.vault.bundle import SNAPSHOT, NodeFiles

GROUND = "restore/ground"
AUTHORITIES = ("pki/ca.crt", "pki/etcd/ca.crt")


def etcd_programs(site: Site) -> Step:
    """etcd's programs of the bundle's version on every control plane and here, without an API that could be asked."""

    def probe(facts: Facts) -> Seen:
        cluster = cluster_of(site, bundle_of(site, facts))
        missing = [node.name for node in cluster.nodes if not site.has_etcd_tools(node)]
        if missing:
            return NotDone(f"etcd's programs are not there yet for {', '.join(missing)}")
        return Done(
            {
                "directories": {node.name: site.etcd_tools_directory(node) for node in cluster.nodes},
                "sha256": site.program_digests(cluster.nodes),
            }
        )

    def act(facts: Facts) -> None:
        for node in cluster_of(site, bundle_of(site, facts)).nodes:
            try:
                site.ensure_etcd_tools(node)
            except HostUnreachable:
                raise
            except GuardError as problem:
                if site.send_etcd_tools(node):
                    continue
                image = etcd_of(node).image
                raise Refused(
                    f"etcd's programs of {image} are neither on {node.name} nor on this machine; nothing was touched",
                    hint=f"on {node.name}: ctr -n k8s.io images pull {image}, then: upgrade-guard resume",
                    reasons=(problem.message, *problem.reasons),
                ) from problem

    return Step(PROGRAMS, "take etcd's own programs out of its image", probe, act, lasting=False)


def see_ground(site: Site) -> Step:
    """Every control plane of the bundle. Raises Refused with everything that stands in the way."""

    def look(facts: Facts) -> Seen:
        cluster, bundle = known_cluster(facts), bundle_of(site, facts)
        manifest = bundle.manifest
        now = etcd_now(site, cluster)
        grounds = tuple(ground(site, node, manifest.node_files[node.name]) for node in cluster.nodes)
        found = obstacles(manifest, site.config.cluster.name, grounds, now, manifest.files[SNAPSHOT].size)
        if found:
            raise Refused(
                f"{len(found)} reason(s) block the restore; nothing was touched",
                hint=found[0].cure,
                reasons=tuple(f"{one.reason} {one.cure[0].upper()}{one.cure[1:]}" for one in found),
            )
        return Done(
            {
                "revision_now": now.status.revision if now.status else None,
                "lost": [one.node for one in grounds if one.lost],
                "notes": list(notes(manifest, grounds, now)),
            }
        )

    return observation(GROUND, "see that the cluster can be restored from it", look)


def ground(site: Site, node: Node, listing: NodeFiles) -> Survey:
    """One control plane as its own programs and files describe it."""
    tools, etcd = site.on(node), etcd_of(node)
    try:
        text = read_if_there(tools.files, f"{listing.manifests_dir}/etcd.yaml")
        live, _ = read_etcd_manifest(text)
        digests = _authorities(tools)
        mounted = tools.files.is_mount_point(etcd.data_dir)
        images, problem = _images(tools)
        return Survey(
            node=node.name,
            packages=read_installed(tools) or {},
            wanted_packages={name: version for name, version in listing.packages.items() if name in PACKAGES},
            authorities=digests,
            wanted_authorities={file.path: file.sha256 for file in listing.present if file.path in digests},
            member=live.name if live else "",
            wanted_member=etcd.name,
            addresses=own_addresses(tools.host),
            wanted_address=node.internal_ip,
            data_room=room(tools.files, etcd.data_dir if mounted else posixpath.dirname(etcd.data_dir)),
            work_room=room(tools.files, tools.settings.work_dir),
            missing_images=() if problem else _missing(images, node.manifests),
            lost=not tools.files.exists(f"{etcd.data_dir}/member"),
            runtime_problem=problem,
        )
    except HostUnreachable as problem:
        return Survey(node.name, unreachable=problem.message)


def certificates_hold(site: Site, node: Node) -> Step:
    """What came back from the bundle has not expired since (kubeadm's last a year): nothing would come up with it."""
    tools = site.on(node)

    def look(_: Facts) -> Seen:
        try:
            certificates = tools.kubeadm.certificates()
        except HostUnreachable:
            raise
        except StepFailed as problem:
            return Done({"not_known": problem.message})
        now = site.clock.now()
        expired = [one.name for one in certificates if one.expires is not None and one.expires <= now]
        if expired:
            raise StepFailed(
                f"certificates of {node.name} have expired since the bundle was made: {', '.join(expired)}",
                hint=f"renew them on {node.name}: kubeadm certs renew all, then: upgrade-guard resume",
            )
        return Done({"valid": len(certificates)})

    summary = f"see that the certificates of {node.name} are valid"
    return observation(f"restore/{node.name}/certificates", summary, look, lane=node.name)


def etcd_now(site: Site, cluster: Cluster) -> EtcdNow:
    """What the live etcd says, from the first member that answers; its list of members needs a quorum."""
    for node in cluster.control_planes:
        try:
            etcdctl = site.etcdctl(node)
            status = etcdctl.endpoint_status(cluster=False)[0]
        except GuardError:
            continue
        try:
            return EtcdNow(status, tuple(member.name for member in etcdctl.member_list()))
        except GuardError:
            return EtcdNow(status)
    return EtcdNow()


def _authorities(tools: NodeTools) -> dict[str, str]:
    paths = (f"{tools.settings.kubernetes_dir}/{path}" for path in AUTHORITIES)
    there = tuple(path for path in paths if tools.files.exists(path))
    return tools.files.sha256(*there)


def _images(tools: NodeTools) -> tuple[tuple[str, ...], str]:
    """The images that are there, or why the runtime did not say."""
    try:
        tools.containers.all()
        return tools.containers.images(), ""
    except HostUnreachable:
        raise
    except GuardError as problem:
        return (), problem.message


def _missing(images: tuple[str, ...], wanted: Mapping[str, str]) -> tuple[str, ...]:
    there = {full_image_name(image) for image in images}
    return tuple(sorted(image for image in wanted.values() if full_image_name(image) not in there))
