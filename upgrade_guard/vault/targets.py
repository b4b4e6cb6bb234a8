"""Off-site targets: copies of bundles, published whole, read back, listed, fetched and removed."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from upgrade_guard.errors import Refused, StepFailed
from upgrade_guard.hosts.base import Transcript
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.hosts.ssh import SshHost
from upgrade_guard.vault.addresses import OBJECT_STORES, TargetAddress, parse_place
from upgrade_guard.vault.bundle import MANIFEST, Bundle, Vault, checked_name
from upgrade_guard.vault.copy_info import Descriptions, Listing, StoredCopy
from upgrade_guard.vault.encryption import SEALED, Copied, Keys, expected_files, parcel_of, records, seal
from upgrade_guard.vault.manifest import BundleManifest, FileEntry
from upgrade_guard.vault.medium import Medium
from upgrade_guard.vault.transfers import Pause, compared, fetched

__all__ = ["Copied", "Keys", "Listing", "SshSettings", "StoredCopy", "Target", "open_target"]


class SshSettings(Protocol):
    """What `[ssh]` of the configuration says."""

    @property
    def identity_file(self) -> str:
        """A private key, or ""."""

    @property
    def options(self) -> Sequence[str]:
        """OpenSSH options, `Name=value`."""


class Target:
    """One off-site target: what copies mean, over a medium that keeps their files."""

    def __init__(self, medium: Medium, keys: Keys | None = None) -> None:
        self._medium = medium
        self._keys = keys or Keys()
        self._descriptions = Descriptions(medium, self._keys.identity_file)

    @property
    def url(self) -> str:
        """As it was configured."""
        return self._medium.url

    def describe(self) -> str:
        """For people, in a few words."""
        return self._medium.describe()

    def usable(self, size: int = 0) -> tuple[str, ...]:
        """What would stand in the way of a copy of `size` bytes, a sentence each. Changes nothing."""
        return (*self._keys.problems(self.url), *self._medium.usable(size))

    def off_control_plane(
        self,
        control_plane_addresses: Sequence[str],
        *,
        local_is_control_plane: bool,
        etcd_data_devices: Sequence[int] = (),
        separate_storage: Sequence[str | Path] = (),
    ) -> tuple[bool, str]:
        """Does a copy there survive the loss of every control-plane node? With the reason, for people.

        `etcd_data_devices` are the `st_dev` of this machine's etcd data directories, `separate_storage` the local
        paths of which an operator says that they survive the loss of this machine.
        """
        return self._medium.off_control_plane(
            control_plane_addresses,
            local_is_control_plane=local_is_control_plane,
            etcd_data_devices=etcd_data_devices,
            separate_storage=separate_storage,
        )

    def copy(self, bundle: Bundle, progress: Callable[[str], None]) -> Copied:
        """Copy it so that it is there whole or not at all, encrypted when there are recipients; an equal copy is left.

        A published copy that differs is kept under `NAME.differs-N`, never removed. Raises Refused when it would leave
        in the clear and nobody said so, StepFailed, and HostUnreachable.
        """
        expected, problems = self._expected(bundle)
        if not problems and not self._compared(bundle.name, expected):
            return Copied(f"{self.url.rstrip('/')}/{bundle.name}", {name: one.sha256 for name, one in expected.items()})
        self._keys.must_allow(self.url)
        parcel = seal(bundle, self._keys.recipients) if self._keys.recipients else parcel_of(bundle)
        if obstacles := self._medium.usable(parcel.size):
            raise StepFailed(
                f"{self.url} cannot take the copy: {obstacles[0]}", hint=f"Look at it: {self._medium.look}"
            )
        location = self._medium.put(parcel, progress)
        return Copied(location, {name: entry.sha256 for name, entry in parcel.files.items()})

    def read_back(self, bundle: Bundle) -> tuple[str, ...]:
        """Read every file again from the target and compare; a sentence per difference, empty when equal.

        An encrypted copy must be the ciphertext that this machine wrote, for the recipients of today.
        """
        expected, problems = self._expected(bundle)
        return problems or self._compared(bundle.name, expected)

    def _expected(self, bundle: Bundle) -> tuple[Mapping[str, FileEntry], tuple[str, ...]]:
        """What the copy must hold, or why that cannot be known."""
        if not self._keys.recipients:
            return parcel_of(bundle).files, ()
        where = f"the copy {bundle.name} at {self.url}"
        try:
            content = self._medium.read(bundle.name, SEALED)
        except Refused as refused:
            return {}, (refused.message,)
        if content is None:
            return {}, (f"the copy {bundle.name} is missing at {self.url}, or is not encrypted",)
        digest = hashlib.sha256(content).hexdigest()
        known = records(bundle.path.parent, bundle.name).get(digest)
        if known is None or known.manifest_sha256 != bundle.manifest_sha256:
            return {}, (f"{where} differs: its {SEALED} is not one that this machine wrote",)
        if set(known.recipients) != set(self._keys.recipients):
            return {}, (f"{where} differs: it is encrypted for other recipients than vault.recipients names",)
        return expected_files(known, digest, len(content)), ()

    def check(self, name: str, vault: Vault | None = None, bundle: Bundle | None = None) -> tuple[str, ...]:
        """Read every file of a copy, however it was encrypted, and compare with what it says of itself.

        What is known here is asked for too: with `bundle` it must be a copy of that one, with `vault` an encrypted copy
        must be one that this machine wrote, when it has a record of any. A sentence per difference, empty when it is
        whole. Raises StepFailed, HostUnreachable.
        """
        where = f"the copy {name} at {self.url}"
        try:
            if sealed := self._descriptions.sealed(name):
                content, found = sealed
                digest = hashlib.sha256(content).hexdigest()
                ours = records(vault.path, name) if vault else {}
                if ours and digest not in ours:
                    return (f"{where} differs: its {SEALED} is not one that this machine wrote",)
                if bundle and found.manifest_sha256 != bundle.manifest_sha256:
                    return (f"{where} differs: it is a copy of another bundle of that name",)
                return self._compared(name, expected_files(found, digest, len(content)))
            if bundle:
                return self._compared(name, parcel_of(bundle).files)
            content, manifest = self._descriptions.manifest(name)
        except Refused as refused:
            return (refused.message,)
        entry = FileEntry(hashlib.sha256(content).hexdigest(), len(content))
        return self._compared(name, {**manifest.files, MANIFEST: entry})

    def _compared(self, name: str, expected: Mapping[str, FileEntry]) -> tuple[str, ...]:
        there = self._medium.digests(name, expected)
        if there is None:
            return (f"the copy {name} is missing at {self.url}",)
        return compared(f"the copy at {self.url.rstrip('/')}/{name}", expected, there)

    def listing(self) -> Listing:
        """Every published copy there. One small file is read for each. Raises StepFailed, HostUnreachable."""
        return self._descriptions.listing()

    def manifest(self, name: str) -> BundleManifest:
        """What the copy says of itself. Raises Refused when there is none, it cannot be read, or its key is missing."""
        return self._descriptions.manifest(name)[1]

    def fetch(self, name: str, vault: Vault, progress: Callable[[str], None]) -> Bundle:
        """Download a copy into `vault`: under a temporary name, decrypted, measured against its manifest, then renamed.

        Files that an earlier attempt brought whole are not brought again. A bundle of that name which is there already
        is the answer when it is whole and the same. Raises Refused for a copy that is not what its manifest says, whose
        key is missing, or when another bundle has the name; StepFailed and HostUnreachable when it cannot be brought.
        """
        unsealing = self._descriptions.unsealing(name, progress)
        content, manifest = self._descriptions.manifest(name, unsealing)

        def bring(file: str, local: Path) -> None:
            if unsealing:
                unsealing.bring(file, local)
            else:
                self._medium.get(name, file, manifest.files[file], local, progress)

        return fetched(name, f"the copy {name} at {self.url}", content, manifest, vault, bring)

    def remove(self, name: str) -> None:
        """Remove a copy; from the first moment on it is not listed any more. Doing it again is harmless.

        Raises StepFailed, HostUnreachable.
        """
        self._medium.remove(checked_name(name))

    def holds(self, name: str) -> bool:
        """Is anything there under that name, also what a removal or an upload that was cut short left behind?"""
        return self._medium.holds(checked_name(name))


def open_target(
    url: str,
    *,
    ssh: SshSettings,
    transcript: Transcript,
    control_dir: Path | None = None,
    pause: Pause = time.sleep,
    s3_file: str = "",
    keys: Keys | None = None,
    digests_believed: bool = False,
) -> Target:
    """The target that a URL names: a directory here or over ssh, or a bucket. Raises UsageProblem.

    Without a user in the URL, OpenSSH chooses one: `[ssh] user` of the configuration is for nodes. With `control_dir`
    one connection is shared by all commands. `pause` waits between two attempts after a lost connection,
    `s3_file` holds what is needed to reach `s3://` targets; with `digests_believed` an `ssh://` target computes the
    digests of its copies itself. Without `keys` nothing is copied, because it would leave
    in the clear.
    """
    from upgrade_guard.vault.medium_file import FileMedium
    from upgrade_guard.vault.medium_ssh import SshMedium

    place = parse_place(url)
    if place.scheme == "file":
        return Target(FileMedium(place), keys)
    if place.scheme in OBJECT_STORES:
        from upgrade_guard.vault.medium_objects import ObjectMedium
        from upgrade_guard.vault.object_store import S3Settings, s3_settings

        settings = S3Settings("its own environment")
        if place.scheme == "s3":
            settings = s3_settings(place.user, s3_file, os.environ)
        return Target(ObjectMedium(place, settings, pause=pause), keys)
    host = SshHost(
        place.host,
        _destination(place),
        tuple(ssh.options),
        str(ssh.identity_file) if ssh.identity_file else None,
        transcript,
        control_dir=control_dir,
    )
    return Target(SshMedium(place, host, LocalHost("here", transcript), pause=pause, believed=digests_believed), keys)


def _destination(place: TargetAddress) -> str:
    who = f"{place.user}@" if place.user else ""
    if place.port is None:
        return f"{who}{place.host}"
    host = f"[{place.host}]" if ":" in place.host else place.host
    return f"ssh://{who}{host}:{place.port}"
