"""The workers: each a lane of its own, put back by itself when it fails."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from upgrade_guard.errors import EvidenceLost, GuardError, HostUnreachable
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.codec import from_json, to_json
from upgrade_guard.model.run import Event
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps import kubeadm, kubelet, packages
from upgrade_guard.steps.files_back import files_back as files_as_captured
from upgrade_guard.steps.snapshot import listing_digest, note_down, recorded_listing, sha256_of
from upgrade_guard.vault import node_files
from upgrade_guard.vault.bundle import NodeFiles
from upgrade_guard.vault.disk import private_directories


def nodes(site: Site, cluster: Cluster, target: Version, run_id: str) -> Phase:
    """From control-plane-upgraded to nodes-upgraded, `max_unavailable` workers at a time."""
    answer = site.config.upgrade.on_node_failure

    def amends(lane: str) -> tuple[Step, ...]:
        # Without this file nothing is put back by itself, and a person decides; what is in it counts only if it is what
        # the journal has.
        saved = archive_of(site, run_id, lane).with_suffix(".json").exists()
        return put_worker_back(site, cluster, cluster.node(lane)) if answer == "rollback-node" and saved else ()

    return Phase(
        "nodes",
        "Workers",
        steps=tuple(step for node in cluster.workers for step in worker(site, cluster, node, target)),
        event=Event.NODES_CHANGED,
        at_once=site.config.upgrade.max_unavailable,
        # A machine that is lost says nothing about the others; a worker that fails may be the first of many.
        goes_on=lambda problem: isinstance(problem, HostUnreachable),
        amends=None if answer == "rollback-cluster" else amends,
    )


def worker(site: Site, cluster: Cluster, node: Node, target: Version) -> tuple[Step, ...]:
    """One worker, in the order of kubeadm's documentation; its way back is saved first."""
    old = Version.parse(cluster.version)
    prefix = f"nodes/{node.name}"
    steps = (
        save_files(site, node),
        packages.point_source(site, node, f"{prefix}/package-source", old, target, lane=node.name),
        packages.install(site, node, f"{prefix}/kubeadm", target, ("kubeadm",), lane=node.name),
        kubeadm.upgrade_worker(site, node, target, f"{prefix}/upgrade-node"),
        *kubelet.renew_kubelet(site, cluster, node, target, prefix, lane=node.name),
    )
    return tuple(unless_it_left(site, cluster, node, step, first=steps[0].name) for step in steps)


def unless_it_left(site: Site, cluster: Cluster, node: Node, step: Step, *, first: str) -> Step:
    """The same step, done where the cluster has no such node any more: somebody has removed it in the meantime.

    That is asked in the `first` step of a node, and where a step finds no node or no machine.
    """

    def left() -> bool:
        try:
            return not site.any_api(cluster).has_node(node.name)
        except GuardError:
            return False

    def probe(facts: Facts) -> Seen:
        if facts.has(first) and facts.of(first).get("left"):
            return Done({"left": True})
        try:
            seen = step.probe(facts)
        except HostUnreachable as problem:
            if left():
                return Done({"left": True})
            problem.hint = problem.hint or _gone_for_good(node)
            raise
        asks = isinstance(seen, kubelet.NotThere) or (step.name == first and isinstance(seen, NotDone))
        return Done({"left": True}) if asks and left() else seen

    return replace(step, probe=probe)


def _gone_for_good(node: Node) -> str:
    return f"bring it back, or take it out of the cluster (kubectl delete node {node.name}), then: upgrade-guard resume"


def archive_of(site: Site, run_id: str, node: str) -> Path:
    """Where a worker's files are kept: beside the bundles, since the bundle was published before it was touched."""
    return site.vault.path / f"workers-{run_id}" / f"files-{node}.tar.gz"


def saved_name(node: str) -> str:
    """The step that saves the files of that worker."""
    return f"nodes/{node}/save-files"


def was_saved(facts: Facts, node: str) -> bool:
    """Does the journal say that the files of that worker were saved, so that something of it may have been changed?"""
    return facts.has(saved_name(node)) and not facts.of(saved_name(node)).get("left")


def listing_of(site: Site, facts: Facts, node: str) -> NodeFiles:
    """What was on that worker before it was touched. Raises EvidenceLost where it is not what the journal has.

    An earlier version kept the digest of the archive alone, which is compared with the listing when it is put back.
    """
    archive = archive_of(site, facts.run_id, node)
    path = archive.with_suffix(".json")
    hint = f"put back what was in {path.parent} (a backup of the vault has it), then: upgrade-guard resume"
    if not archive.exists():
        raise EvidenceLost(f"the archive with the files of {node} is gone: {archive}", hint=hint)
    saved = facts.of(saved_name(node)) if was_saved(facts, node) else {}
    if "listing_sha256" in saved:
        return recorded_listing(path, saved["listing_sha256"], hint)
    return from_json(NodeFiles, json.loads(path.read_text())["listing"])


def save_files(site: Site, node: Node) -> Step:
    """The files of a worker that its upgrade changes. Only what this process saved counts, as with a snapshot."""
    saved: list[dict[str, str]] = []

    def probe(facts: Facts) -> Seen:
        archive = archive_of(site, facts.run_id, node.name)
        if not saved:
            return NotDone(f"the files of {node.name} are not saved yet")
        if not archive.exists() or sha256_of(archive) != saved[-1]["sha256"]:
            return NotDone(f"the archive of {node.name} is not the one that was written")
        return Done(saved[-1])

    def act(facts: Facts) -> None:
        tools = site.on(node)
        archive = archive_of(site, facts.run_id, node.name)
        private_directories(archive.parent)
        archive.with_suffix(".json").unlink(missing_ok=True)
        listing = node_files.capture(tools.files, node, tools.settings, archive)
        note_down(archive.with_suffix(".json"), {"listing": to_json(listing)}, of=archive)
        digests = {"sha256": sha256_of(archive), "listing_sha256": listing_digest(listing)}
        saved.append({"archive": str(archive), **digests})

    return Step(saved_name(node.name), f"save the files of {node.name}", probe, act, lane=node.name)


def put_worker_back(site: Site, cluster: Cluster, node: Node) -> tuple[Step, ...]:
    """A worker as it was: files, packages, kubelet, and taking pods again.

    Nothing here is lasting: a worker may fail twice in one run.
    """
    prefix = f"nodes/{node.name}/put-back"
    before = Version.parse(node.kubelet_version)
    steps = (
        files_back(site, node, f"{prefix}/files"),
        packages.put_back(site, node, f"{prefix}/packages", lane=node.name),
        kubelet.restart_kubelet(site, cluster, node, before, f"{prefix}/kubelet-restart", node.name),
        kubelet.uncordon(site, cluster, node, f"{prefix}/uncordon", node.name),
    )
    return tuple(replace(step, lasting=False) for step in steps)


def files_back(site: Site, node: Node, name: str) -> Step:
    """The saved files of a worker, what was added since moved aside."""

    def saved(facts: Facts) -> tuple[NodeFiles, Path]:
        return listing_of(site, facts, node.name), archive_of(site, facts.run_id, node.name)

    return files_as_captured(site, node, name, saved, manifests=(False, True))
