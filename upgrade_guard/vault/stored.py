"""What a target says of the copies that it has."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from upgrade_guard.vault.bundle import SNAPSHOT
from upgrade_guard.vault.manifest import BundleManifest
from upgrade_guard.vault.sealed import Sealed


@dataclass(frozen=True)
class StoredCopy:
    """A copy as it describes itself at its target; none of its large files was read for this.

    `size` is what it takes there, in bytes. `manifest_sha256` is the one of the bundle that it is a copy of.
    """

    name: str
    cluster: str
    run_id: str
    taken_at: datetime
    revision: int
    etcd_version: str
    kubernetes_version: str
    snapshot_sha256: str
    manifest_sha256: str
    size: int
    encrypted: bool = False
    history_head: str = ""
    history_signature: str = ""


@dataclass(frozen=True)
class Listing:
    """The copies at a target, oldest first, and a sentence for each that cannot say what it is."""

    copies: tuple[StoredCopy, ...]
    problems: tuple[str, ...] = ()


def stored_sealed(sealed: Sealed, size: int) -> StoredCopy:
    """The encrypted copy that says this of itself."""
    return StoredCopy(
        name=sealed.name,
        cluster=sealed.cluster,
        run_id=sealed.run_id,
        taken_at=sealed.taken_at,
        revision=sealed.revision,
        etcd_version=sealed.etcd_version,
        kubernetes_version=sealed.kubernetes_version,
        snapshot_sha256=sealed.snapshot_sha256,
        manifest_sha256=sealed.manifest_sha256,
        size=size,
        encrypted=True,
        history_head=sealed.history_head,
        history_signature=sealed.history_signature,
    )


def stored(name: str, manifest: BundleManifest, manifest_sha256: str, size: int) -> StoredCopy:
    """The copy of that manifest. Raises KeyError for one without a snapshot."""
    return StoredCopy(
        name=name,
        cluster=manifest.cluster,
        run_id=manifest.run_id,
        taken_at=manifest.taken_at,
        revision=manifest.revision,
        etcd_version=manifest.etcd_version,
        kubernetes_version=manifest.kubernetes_version,
        snapshot_sha256=manifest.files[SNAPSHOT].sha256,
        manifest_sha256=manifest_sha256,
        size=size,
        history_head=manifest.history_head,
        history_signature=manifest.history_signature,
    )
