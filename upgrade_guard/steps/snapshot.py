"""Save etcd and the node files that belong to it, as one bundle."""

from __future__ import annotations

import hashlib
import json
import posixpath
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from upgrade_guard import __version__
from upgrade_guard.errors import EvidenceLost, GuardError, Refused, StepFailed
from upgrade_guard.model import step_results
from upgrade_guard.model.cluster import COMPONENTS, Cluster, Node
from upgrade_guard.model.codec import from_json, to_json
from upgrade_guard.model.etcd import Member, MemberHash, MemberStatus
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.model.run import Event, SnapshotRecord
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.model.step_results import GIVEN_BUNDLE, PUBLISHED, ROLLBACK, SAVED, StepName, copies_made, files_of
from upgrade_guard.nodes.site import NodeTools, Site
from upgrade_guard.vault import node_files
from upgrade_guard.vault.bundle import SNAPSHOT, Bundle, BundleManifest, NodeFiles, bundle_name, examine
from upgrade_guard.vault.disk import storage, sync_directory, sync_file, write_synced
from upgrade_guard.vault.manifest import manifest_to_text
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
    """A snapshot from the leader, on this machine, equal to what etcdctl wrote on the node.

    What is known of it is kept in memory until the journal has it: a note on disk could be anybody's, and with it any
    snapshot would pass as the one of this run. A process that was killed in between has taken it for nothing.
    """
    taken: list[dict[str, Any]] = []

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
        if not taken or not local.is_file():
            return NotDone("no snapshot of this run yet")
        notes = taken[-1]
        found = looked_at(local)
        if found.problems:
            return NotDone(f"the snapshot is not intact: {found.problems[0]}")
        if found.sha256 != notes["sha256"]:
            return NotDone("the snapshot on this machine is not the one that etcdctl wrote")
        return Done(notes)

    def act(facts: Facts) -> None:
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
        with storage("Keeping the snapshot", local):
            sync_file(local)  # before the journal says that it is there: a power cut keeps what was synced
            sync_directory(local.parent)
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
        taken.append(notes)

    return Step(SAVED, "save an etcd snapshot from the leader", probe, act)


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
    """The files of one control plane that belong to the same instant as the snapshot.

    The journal gets the digest of the archive and of its listing, which are both read again when they are published.
    """
    saved: list[dict[str, Any]] = []  # by this process, as with the snapshot

    def archive(run_id: str) -> Path:
        return site.vault.staging(run_id) / f"files-{node.name}.tar.gz"

    def probe(facts: Facts) -> Seen:
        if not saved:
            return NotDone(f"the files of {node.name} are not saved yet")
        if not archive(facts.run_id).exists() or sha256_of(archive(facts.run_id)) != saved[-1]["sha256"]:
            return NotDone(f"the archive of {node.name} is not the one that was written")
        return Done(saved[-1])

    def act(facts: Facts) -> None:
        tools = site.on(node)
        listing = node_files.capture(tools.files, node, tools.settings, archive(facts.run_id))
        refuse_lacking(listing)
        kept = {
            "sha256": sha256_of(archive(facts.run_id)),
            "listing_sha256": listing_digest(listing),
            "files": len(listing.present),
            "kubeadm_backups": list(kubeadm_backups(tools)),
            "left_out": large_and_left_out(list(listing.left_out), site.settings(node.name), node),
        }
        staging = site.vault.staging(facts.run_id)
        note_down(staging / listing_name(node.name), {"listing": to_json(listing)}, of=archive(facts.run_id))
        saved.append(kept)

    return Step(files_of(node.name), f"save the control-plane files of {node.name}", probe, act)


def listing_name(node: str) -> str:
    """The file beside an archive that says what is in it."""
    return f"files-{node}.json"


def listing_digest(listing: NodeFiles) -> str:
    """Hex SHA-256 of a listing, however it was written down."""
    return hashlib.sha256(json.dumps(to_json(listing), sort_keys=True).encode()).hexdigest()


RETAKE = "take a new snapshot: upgrade-guard resume"


def recorded_listing(path: Path, digest: str, hint: str = RETAKE) -> NodeFiles:
    """The listing that was written to `path`. Raises EvidenceLost where it is not the one that the journal has."""
    try:
        listing = from_json(NodeFiles, json.loads(path.read_text())["listing"])
    except Exception as problem:  # cattrs raises groups of whatever did not fit
        raise EvidenceLost(f"{path} cannot be read: {problem}", hint=hint) from problem
    if listing_digest(listing) != digest:
        raise EvidenceLost(f"{path} is not what this run wrote: its digest is not the journal's", hint=hint)
    return listing


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
    """Keep what belongs to a file: whole or not at all, also when this process is killed meanwhile.

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
    """One directory, complete or absent: the bundle. What it is made of, and what it says, is what the journal has."""

    def name(facts: Facts) -> str:
        return bundle_name(cluster.name, step_results.saved(facts).taken_at, facts.run_id)

    def probe(facts: Facts) -> Seen:
        if name(facts) not in site.vault.names():
            return NotDone("the bundle is not published yet")
        try:
            bundle = site.vault.bundle(name(facts))
        except Refused as problem:
            raise EvidenceLost(problem.message, hint=RETAKE) from problem
        refuse_other_content(bundle, cluster, facts)
        notes = facts.of(SAVED)
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
        listings = {
            node.name: recorded_listing(staging / listing_name(node.name), _of_files(facts, node, "listing_sha256"))
            for node in cluster.control_planes
        }
        manifest = bundle_manifest(cluster, facts, listings)
        head = site.history_head()
        manifest = replace(manifest, history_head=head, history_signature=site.signature_of(head))
        site.vault.publish(staging, manifest, name(facts), _recorded_digests(cluster, facts))

    return Step(PUBLISHED, "publish the bundle", probe, act)


def bundle_manifest(cluster: Cluster, facts: Facts, listings: Mapping[str, NodeFiles]) -> BundleManifest:
    """What the bundle says of itself; the vault adds the digests of the files. `listings` has one for each node."""
    notes = facts.of(SAVED)
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


def refuse_other_content(bundle: Bundle, cluster: Cluster, facts: Facts) -> None:
    """Raises EvidenceLost for a bundle of this run's name whose manifest does not say what the journal says: another
    run's, or somebody's who knew the name before it was published.
    """

    def told(manifest: BundleManifest) -> str:
        return manifest_to_text(
            replace(manifest, files={}, host="", tool_version="", history_head="", history_signature="")
        )

    listings = bundle.manifest.node_files
    other = [
        node.name
        for node in cluster.control_planes
        if node.name not in listings or listing_digest(listings[node.name]) != _of_files(facts, node, "listing_sha256")
    ]
    digests = {name: entry.sha256 for name, entry in bundle.manifest.files.items()}
    if (
        other
        or digests != _recorded_digests(cluster, facts)
        or told(bundle.manifest) != told(bundle_manifest(cluster, facts, listings))
    ):
        raise EvidenceLost(
            f"{bundle.path} is not what this run gathered: its manifest differs from the journal", hint=RETAKE
        )


def _of_files(facts: Facts, node: Node, key: str) -> str:
    """What the journal has of the files of a node. An earlier version did not keep every digest: "" equals none."""
    return str(facts.of(files_of(node.name)).get(key, ""))


def _recorded_digests(cluster: Cluster, facts: Facts) -> dict[str, str]:
    """File of the bundle to the SHA-256 that the journal has of it."""
    archives = {f"files-{node.name}.tar.gz": _of_files(facts, node, "sha256") for node in cluster.control_planes}
    return {SNAPSHOT: step_results.saved(facts).sha256, **archives}


def named_bundle(facts: Facts) -> Mapping[str, Any]:
    """Which bundle this run is about: the one that it published, or the one that it was given."""
    return facts.of(GIVEN_BUNDLE) if facts.has(GIVEN_BUNDLE) else facts.of(PUBLISHED)


def bundle_of(site: Site, facts: Facts) -> Bundle:
    """The bundle of this run, compared with the journal: whoever can change its files can change its manifest too.

    Raises EvidenceLost when it is no longer in the vault, cannot be read, or is not the one that was published. With
    the manifest every digest in it is the journal's; the files are compared with those where they are used.
    """
    name = named_bundle(facts)["bundle"]
    try:
        bundle = site.vault.bundle(name)
    except Refused as problem:
        raise EvidenceLost(
            f"the bundle {name} cannot be used any more: {problem.message}", hint=_instead_of(site, name, facts)
        ) from problem
    if exchanged := _exchanged(bundle, facts):
        raise EvidenceLost(f"the bundle {name} cannot be used: {exchanged}", hint=_instead_of(site, name, facts))
    return bundle


def _exchanged(bundle: Bundle, facts: Facts) -> str:
    """What to say of a bundle whose manifest is not the journal's; else ""."""
    # A journal whose run began before the digest was in this row cannot be asked; nobody else can leave it out.
    if bundle.manifest_sha256 == named_bundle(facts).get("manifest_sha256", bundle.manifest_sha256):
        return ""
    return f"{bundle.name}: manifest.json is not the one that was published"


def _instead_of(site: Site, name: str, facts: Facts) -> str:
    """What to type: a way back needs this very bundle, before it a new one is as good."""
    if not facts.has(GIVEN_BUNDLE) and not any(StepName.of(step).stage == ROLLBACK for step in facts.started):
        return RETAKE
    place = site.vault.path / name
    return f"put a copy of it ({copies_of(name, facts)}) in the place of {place}, then: upgrade-guard resume"


def copies_of(name: str, facts: Facts) -> str:
    """Where this run has copied the bundle to, and read it back; for people."""
    places = ", ".join(f"{one.target.rstrip('/')}/{name}" for one in copies_made(facts) if one.read_back)
    return places or "upgrade-guard backup list --remote"


def problems_of(bundle: Bundle, facts: Facts) -> tuple[str, ...]:
    """What is wrong with the bundle of this run, a sentence each: its files against its manifest, and the manifest
    against the journal.
    """
    exchanged = _exchanged(bundle, facts)
    return (*examine(bundle), *((exchanged,) if exchanged else ()))


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a local file, in constant memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
