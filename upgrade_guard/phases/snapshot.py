"""Save etcd and the node files that belong to it, as one bundle."""

from __future__ import annotations

import hashlib
import json
import posixpath
import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from upgrade_guard import __version__
from upgrade_guard.errors import EvidenceLost, GuardError, Refused, StepFailed
from upgrade_guard.model.cluster import COMPONENTS, Cluster, Node
from upgrade_guard.model.codec import from_json, to_json
from upgrade_guard.model.etcd import Member, MemberHash, MemberStatus
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.model.run import Event, SnapshotRecord
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.phases.site import NodeTools, Site
from upgrade_guard.vault import node_files
from upgrade_guard.vault.bundle import Bundle, BundleManifest, NodeFiles, bundle_name, examine
from upgrade_guard.vault.disk import storage, sync_file, write_synced
from upgrade_guard.vault.trailer import SnapshotDigest, read_snapshot

SAVE_TIMEOUT = 1800.0
"""Seconds for one snapshot: 8 GiB, the largest database etcd suggests, at 5 MB/s."""


def snapshot(site: Site, cluster: Cluster) -> Phase:
    """From inspected to snapshotted: etcd, the node files, published together."""
    return Phase(
        "snapshot",
        "Snapshot",
        steps=(
            save_etcd(site, cluster),
            *(save_files(site, node) for node in cluster.control_planes),
            publish(site, cluster),
        ),
        event=Event.SNAPSHOT_TAKEN,
        at_once=1,
    )


def healthiest(site: Site, cluster: Cluster) -> tuple[Node, MemberStatus]:
    """The control plane to take the snapshot from: the leader, which lags behind nobody (etcd docs, upgrade_3_6)."""
    member_names = {}
    statuses: tuple[MemberStatus, ...] = ()
    for node in cluster.control_planes:
        etcdctl = site.etcdctl(node)
        statuses = etcdctl.endpoint_status(cluster=True)
        member_names = {member.id: member.name for member in etcdctl.member_list()}
        break
    for status in statuses:
        if status.is_leader:
            for node in cluster.control_planes:
                if node.etcd is not None and node.etcd.name == member_names.get(status.member_id):
                    return node, status
    raise StepFailed(
        "etcd has no leader among the control planes of this cluster",
        hint="look at the members: upgrade-guard check",
    )


def save_etcd(site: Site, cluster: Cluster) -> Step:
    """A snapshot from the leader, on this machine, equal to what etcdctl wrote on the node."""

    def notes_path(run_id: str) -> Path:
        return site.vault.staging(run_id) / "snapshot.json"

    # What the act of this process read a moment ago need not be read once more: a database may have many GiB.
    read: dict[tuple[int, int, int], SnapshotDigest] = {}

    def looked_at(path: Path) -> SnapshotDigest:
        now = path.stat()
        key = (now.st_ino, now.st_size, now.st_mtime_ns)
        if key not in read:
            read[key] = read_snapshot(path)
        return read[key]

    def probe(facts: Facts) -> Seen:
        local = site.vault.staging(facts.run_id) / "snapshot.db"
        if not notes_path(facts.run_id).exists() or not local.is_file():
            return NotDone("no snapshot of this run yet")
        notes = json.loads(notes_path(facts.run_id).read_text())
        found = looked_at(local)
        if found.problems:
            return NotDone(f"the snapshot is not intact: {found.problems[0]}")
        if found.sha256 != notes["sha256"]:
            return NotDone("the snapshot on this machine is not the one that etcdctl wrote")
        return Done(notes)

    def act(facts: Facts) -> None:
        notes_path(facts.run_id).unlink(missing_ok=True)
        node, status = healthiest(site, cluster)
        tools, etcdctl = site.on(node), site.etcdctl(node)
        remote = saved_on_node(site, node, facts.run_id)
        local = site.vault.staging(facts.run_id) / "snapshot.db"
        tools.files.make_dir(remote.rpartition("/")[0])
        at_least = etcdctl.revision()
        taken_at = site.clock.now()
        try:
            etcdctl.snapshot_save(remote, timeout=SAVE_TIMEOUT)
            digest = "" if _taken_as_it_is(site, node, remote, local) else tools.files.sha256(remote)[remote]
            if digest:
                tools.files.fetch(remote, local)
        except GuardError:
            with suppress(GuardError):  # a disk that is full is not left full
                tools.files.remove_own(remote)
            raise
        tools.files.remove_own(remote)
        local.chmod(0o600)
        found = looked_at(local)
        digest = digest or found.sha256  # it never went anywhere
        if found.problems:
            raise StepFailed(
                f"the snapshot from {node.name} is damaged: {'; '.join(found.problems)}",
                hint="take it again: upgrade-guard resume",
            )
        saved = site.local_etcdutl(node).snapshot_status(str(local))
        # Read at once: the API server compacts every five minutes, and only equal compact revisions can be compared.
        live = etcdctl.hashkv(saved.revision)[0]
        if found.sha256 != digest:
            raise StepFailed(
                f"the snapshot changed on its way from {node.name}: SHA-256 {found.sha256[:16]} here, "
                f"{digest[:16]} there",
                hint="take it again: upgrade-guard resume",
            )
        notes: dict[str, Any] = {
            "source": node.name,
            "sha256": digest,
            "size": local.stat().st_size,
            "taken_at": taken_at.isoformat(),
            "at_least": at_least,
            "revision": saved.revision,
            "hash": saved.hash,
            "live_hash": to_json(live),
            "cluster_id": str(status.cluster_id),
            "etcd_version": status.version,
            "members": [to_json(member) for member in etcdctl.member_list()],
        }
        note_down(notes_path(facts.run_id), notes, of=local)

    return Step("snapshot/save", "save an etcd snapshot from the leader", probe, act)


def _taken_as_it_is(site: Site, node: Node, remote: str, local: Path) -> bool:
    """On the control plane itself the file is given a second name in the vault: nothing is copied, nothing can differ.

    False where it is another machine, or another file system.
    """
    if not site.is_here(node):
        return False
    with storage("Staging the snapshot", local):
        local.unlink(missing_ok=True)
        try:
            local.hardlink_to(remote)
        except OSError:
            return False
    return True


def saved_on_node(site: Site, node: Node, run_id: str) -> str:
    """Where etcdctl writes the snapshot on a control plane, until it is fetched."""
    return f"{site.settings(node.name).work_dir}/snapshots/{run_id}.db"


def save_files(site: Site, node: Node) -> Step:
    """The files of one control plane that belong to the same instant as the snapshot."""

    def listing_path(run_id: str) -> Path:
        return site.vault.staging(run_id) / f"files-{node.name}.json"

    def archive(run_id: str) -> Path:
        return site.vault.staging(run_id) / f"files-{node.name}.tar.gz"

    def probe(facts: Facts) -> Seen:
        if not listing_path(facts.run_id).exists():
            return NotDone(f"the files of {node.name} are not saved yet")
        written = json.loads(listing_path(facts.run_id).read_text())
        if not archive(facts.run_id).exists() or sha256_of(archive(facts.run_id)) != written["sha256"]:
            return NotDone(f"the archive of {node.name} is not the one that was written")
        return Done(
            {
                "sha256": written["sha256"],
                "files": len(written["listing"]["present"]),
                "kubeadm_backups": written["kubeadm_backups"],
                "left_out": large_and_left_out(written["listing"]["left_out"], site.settings(node.name), node),
            }
        )

    def act(facts: Facts) -> None:
        tools = site.on(node)
        listing_path(facts.run_id).unlink(missing_ok=True)
        listing = node_files.capture(tools.files, node, tools.settings, archive(facts.run_id))
        refuse_lacking(listing)
        written = {
            "sha256": sha256_of(archive(facts.run_id)),
            "listing": to_json(listing),
            "kubeadm_backups": kubeadm_backups(tools),
        }
        note_down(listing_path(facts.run_id), written, of=archive(facts.run_id))

    return Step(f"snapshot/files/{node.name}", f"save the control-plane files of {node.name}", probe, act)


NEEDED = ("admin.conf", "pki/ca.crt", "pki/etcd/ca.crt", "config.yaml")
"""What a way back needs of a control plane beside the four manifests, wherever links lead to."""


def refuse_lacking(listing: NodeFiles) -> None:
    """Raises StepFailed for an archive without what a way back needs: a link whose directory is too large to be kept,
    for one, is in the archive alone.
    """
    paths = {file.path for file in listing.present if file.kind == "file"}
    lacks = [
        f"{component}.yaml" for component in COMPONENTS if f"{listing.manifests_dir}/{component}.yaml" not in paths
    ]
    lacks += [name for name in NEEDED if not any(path.endswith(f"/{name}") for path in paths)]
    if lacks:
        left_out = f"; left out as too large: {', '.join(listing.left_out)}" if listing.left_out else ""
        raise StepFailed(
            f"the files of {listing.node} cannot take it back: {', '.join(lacks)} is not among them{left_out}",
            hint=f"see where they are on {listing.node}: ls -l /etc/kubernetes /etc/kubernetes/manifests; "
            "then: upgrade-guard resume",
        )


def large_and_left_out(paths: list[str], settings: NodeSettings, node: Node) -> list[str]:
    """Of what is not in the archive that which an operator does not expect: too much to be configuration."""
    data_dir = node.etcd.data_dir if node.etcd else ""
    usual = (posixpath.join(settings.kubernetes_dir, "tmp"), settings.work_dir, data_dir)
    return [path for path in paths if path not in usual]


def note_down(path: Path, notes: Mapping[str, Any], of: Path | None = None) -> None:
    """Keep what a probe will believe of a file: whole or not at all, also when this process is killed meanwhile.

    A power cut keeps what was synced: no notes are kept of a file whose content is not on the disk yet.
    """
    with storage("Keeping notes", path):
        if of is not None:
            sync_file(of)
        write_synced(path, json.dumps(notes).encode())


def kubeadm_backups(tools: NodeTools) -> tuple[str, ...]:
    """The manifests that kubeadm has moved aside on this node so far, in this upgrade or in earlier ones.

    kubeadm renames the old manifest into tmp/kubeadm-backup-manifests-DATE before the new one is put in place
    (kubeadm: phases/upgrade/staticpods.go).
    """
    directory = f"{tools.settings.kubernetes_dir}/tmp"  # noqa: S108 - kubeadm's own
    if not tools.files.is_dir(directory):
        return ()
    return tuple(path for path in tools.files.find_files(directory) if "/kubeadm-backup-manifests-" in path)


def publish(site: Site, cluster: Cluster) -> Step:
    """One directory, complete or absent: the bundle."""

    def name(facts: Facts) -> str:
        return bundle_name(cluster.name, datetime.fromisoformat(facts.of("snapshot/save")["taken_at"]), facts.run_id)

    def probe(facts: Facts) -> Seen:
        if name(facts) not in {bundle.name for bundle in site.vault.bundles()}:
            return NotDone("the bundle is not published yet")
        bundle = site.vault.bundle(name(facts))
        notes = facts.of("snapshot/save")
        return Done(
            {
                "bundle": bundle.name,
                "path": str(bundle.path),
                "size": notes["size"],
                "revision": notes["revision"],
                "manifest_sha256": bundle.manifest_sha256,
            },
            records=(
                SnapshotRecord(
                    bundle=bundle.name,
                    path=str(bundle.path),
                    snapshot_sha256=notes["sha256"],
                    manifest_sha256=bundle.manifest_sha256,
                    size=notes["size"],
                    revision=notes["revision"],
                    cluster_id=notes["cluster_id"],
                    taken_at=datetime.fromisoformat(notes["taken_at"]),
                ),
            ),
        )

    def act(facts: Facts) -> None:
        staging = site.vault.staging(facts.run_id)
        manifest = bundle_manifest(cluster, facts, staging)
        site.vault.publish(staging, manifest, name(facts))

    return Step("snapshot/publish", "publish the bundle", probe, act)


def bundle_manifest(cluster: Cluster, facts: Facts, staging: Path) -> BundleManifest:
    """What the bundle says of itself; the vault adds the digests of the files."""
    notes = facts.of("snapshot/save")
    listings = {
        node.name: from_json(NodeFiles, json.loads((staging / f"files-{node.name}.json").read_text())["listing"])
        for node in cluster.control_planes
    }
    return BundleManifest(
        cluster=cluster.name,
        run_id=facts.run_id,
        taken_at=datetime.fromisoformat(notes["taken_at"]),
        revision=notes["revision"],
        hash=notes["hash"],
        cluster_id=notes["cluster_id"],
        members=tuple(from_json(Member, member) for member in notes["members"]),
        etcd_version=notes["etcd_version"],
        kubernetes_version=cluster.version,
        source_member=notes["source"],
        hashkv=from_json(MemberHash, notes["live_hash"]),
        node_files=listings,
        host=socket.gethostname(),
        tool_version=__version__,
    )


CHOSEN = "restore/bundle"
"""The step that finds the bundle which a restore is about."""


def named_bundle(facts: Facts) -> Mapping[str, Any]:
    """Which bundle this run is about: the one that it published, or the one that it was given."""
    return facts.of(CHOSEN) if facts.has(CHOSEN) else facts.of("snapshot/publish")


def bundle_of(site: Site, facts: Facts) -> Bundle:
    """The bundle of this run. Raises EvidenceLost when it is no longer in the vault or cannot be read."""
    name = named_bundle(facts)["bundle"]
    try:
        return site.vault.bundle(name)
    except Refused as problem:
        raise EvidenceLost(
            f"the bundle {name} cannot be used any more: {problem.message}",
            hint="take a new snapshot: upgrade-guard resume",
        ) from problem


def problems_of(bundle: Bundle, facts: Facts) -> tuple[str, ...]:
    """What is wrong with the bundle of this run, a sentence each: its files against its manifest, and the manifest
    against the journal, because whoever can change the files can change the manifest with them.
    """
    problems = examine(bundle)
    written = named_bundle(facts).get("manifest_sha256", bundle.manifest_sha256)
    if bundle.manifest_sha256 != written:
        return (*problems, f"{bundle.name}: manifest.json is not the one that was published")
    return problems


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a local file, in constant memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
