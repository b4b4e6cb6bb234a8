"""What the copies at a target say of themselves: a manifest, in the clear or behind a private key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from upgrade_guard.errors import Refused
from upgrade_guard.vault.bundle import MANIFEST, SNAPSHOT, checked_name
from upgrade_guard.vault.encryption import SEALED, Sealed, Unsealing, sealed_from_bytes
from upgrade_guard.vault.manifest import BundleManifest, FileEntry, manifest_from_text
from upgrade_guard.vault.medium import Medium
from upgrade_guard.vault.transfers import check_files


class Descriptions:
    """Of all copies at one medium. `identity_file` is a private key's, or ""."""

    def __init__(self, medium: Medium, identity_file: str) -> None:
        self._medium = medium
        self._identity_file = identity_file

    def listing(self) -> Listing:
        """Every published copy there. One small file is read for each. Raises StepFailed, HostUnreachable."""
        copies, problems = [], []
        for name, files in sorted(self._medium.contents().items()):
            size = sum(files.values())
            try:
                if SEALED in files and (found := self.sealed(name)):
                    copies.append(stored_sealed(found[1], size))
                elif MANIFEST in files:
                    content, manifest = self.manifest(name)
                    copies.append(stored(name, manifest, hashlib.sha256(content).hexdigest(), size))
            except Refused as refused:
                problems.append(refused.message)
        return Listing(tuple(sorted(copies, key=lambda copy: (copy.taken_at, copy.name))), tuple(problems))

    def sealed(self, name: str) -> tuple[bytes, Sealed] | None:
        """What lies in the clear beside an encrypted copy; None when it is not encrypted. Raises Refused."""
        content = self._medium.read(checked_name(name), SEALED)
        if content is None:
            return None
        where = f"{SEALED} of the copy {name} at {self._medium.url}"
        found = sealed_from_bytes(content, where)
        if found.name != name:
            raise Refused(f"{where} is of another bundle, {found.name}", hint="Use another copy of this bundle.")
        return content, found

    def unsealing(self, name: str, progress: Callable[[str], None] = lambda _: None) -> Unsealing | None:
        """The way to read an encrypted copy; None when it is not encrypted. Raises Refused without a private key."""
        found = self.sealed(name)
        if found is None:
            return None

        def get(file: str, entry: FileEntry, local: Path) -> None:
            self._medium.get(name, file, entry, local, progress)

        return Unsealing(found[1], self._identity_file, get, f"the copy {name} at {self._medium.url}")

    def manifest(self, name: str, unsealing: Unsealing | None = None) -> tuple[bytes, BundleManifest]:
        """The manifest, byte by byte and as values. Raises Refused when there is none or it cannot be read."""
        unsealing = unsealing or self.unsealing(name)
        content = unsealing.manifest() if unsealing else self._medium.read(checked_name(name), MANIFEST)
        if content is None:
            raise Refused(
                f"there is no copy {name} at {self._medium.url}",
                hint="See what there is: upgrade-guard backup list --remote",
            )
        where = f"{MANIFEST} of the copy {name} at {self._medium.url}"
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            raise Refused(f"{where} is not text", hint="Use another copy of this bundle.") from error
        manifest = manifest_from_text(text, where)
        check_files(manifest, where)
        return content, manifest


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
