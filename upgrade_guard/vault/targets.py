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
from upgrade_guard.vault.addresses import OBJECT_STORES, Place, parse_place
from upgrade_guard.vault.bundle import MANIFEST, Bundle, Vault, checked_name
from upgrade_guard.vault.fetching import check_files, fetched
from upgrade_guard.vault.manifest import BundleManifest, FileEntry, manifest_from_text
from upgrade_guard.vault.medium import Medium
from upgrade_guard.vault.parcel import Copied, parcel_of
from upgrade_guard.vault.reading_back import compared
from upgrade_guard.vault.retrying import Pause
from upgrade_guard.vault.stored import Listing, StoredCopy, stored

__all__ = ["Copied", "Listing", "SshSettings", "StoredCopy", "Target", "open_target"]


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

    def __init__(self, medium: Medium) -> None:
        self._medium = medium

    @property
    def url(self) -> str:
        """As it was configured."""
        return self._medium.url

    def describe(self) -> str:
        """For people, in a few words."""
        return self._medium.describe()

    def usable(self, size: int = 0) -> tuple[str, ...]:
        """What would stand in the way of a copy of `size` bytes, a sentence each. Changes nothing."""
        return self._medium.usable(size)

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
        """Copy it so that it is there whole or not at all; an equal copy is left alone.

        A published copy that differs is kept under `NAME.differs-N`, never removed. Raises StepFailed and, over ssh,
        HostUnreachable.
        """
        parcel = parcel_of(bundle)
        sha256 = {name: entry.sha256 for name, entry in parcel.files.items()}
        there = self._medium.digests(bundle.name)
        if there is not None and not compared("", parcel.files, there):
            return Copied(f"{self.url.rstrip('/')}/{bundle.name}", sha256)
        if problems := self.usable(parcel.size):
            raise StepFailed(f"{self.url} cannot take the copy: {problems[0]}", hint=f"Look at it: {self._medium.look}")
        return Copied(self._medium.put(parcel, progress), sha256)

    def read_back(self, bundle: Bundle) -> tuple[str, ...]:
        """Read every file again from the target and compare; a sentence per difference, empty when equal."""
        return self._compared(bundle.name, parcel_of(bundle).files)

    def check(self, name: str) -> tuple[str, ...]:
        """Read every file of a copy and compare with its own manifest there: for one whose bundle is not here.

        A sentence per difference, empty when it is whole. Raises StepFailed, HostUnreachable.
        """
        try:
            content, manifest = self._manifest(name)
        except Refused as refused:
            return (refused.message,)
        return self._compared(
            name, {**manifest.files, MANIFEST: FileEntry(hashlib.sha256(content).hexdigest(), len(content))}
        )

    def _compared(self, name: str, expected: Mapping[str, FileEntry]) -> tuple[str, ...]:
        there = self._medium.digests(name)
        if there is None:
            return (f"the copy {name} is missing at {self.url}",)
        return compared(f"the copy at {self.url.rstrip('/')}/{name}", expected, there)

    def listing(self) -> Listing:
        """Every published copy there. One small file is read for each. Raises StepFailed, HostUnreachable."""
        copies, problems = [], []
        for name, files in sorted(self._medium.contents().items()):
            if MANIFEST not in files:
                continue  # not published, or half removed
            try:
                content, manifest = self._manifest(name)
            except Refused as refused:
                problems.append(refused.message)
                continue
            copies.append(stored(name, manifest, hashlib.sha256(content).hexdigest(), sum(files.values())))
        return Listing(tuple(sorted(copies, key=lambda copy: (copy.taken_at, copy.name))), tuple(problems))

    def manifest(self, name: str) -> BundleManifest:
        """What the copy says of itself. Raises Refused when there is none, or it cannot be read."""
        return self._manifest(name)[1]

    def _manifest(self, name: str) -> tuple[bytes, BundleManifest]:
        content = self._medium.read(checked_name(name), MANIFEST)
        if content is None:
            raise Refused(
                f"there is no copy {name} at {self.url}",
                hint="See what there is: upgrade-guard backup list --remote",
            )
        where = f"{MANIFEST} of the copy {name} at {self.url}"
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            raise Refused(f"{where} is not text", hint="Use another copy of this bundle.") from error
        manifest = manifest_from_text(text, where)
        check_files(manifest, where)
        return content, manifest

    def fetch(self, name: str, vault: Vault, progress: Callable[[str], None]) -> Bundle:
        """Download a copy into `vault`: under a temporary name, measured against its manifest, then renamed.

        Files that an earlier attempt brought whole are not brought again. A bundle of that name which is there already
        is the answer when it is whole and the same. Raises Refused for a copy that is not what its manifest says or
        when another bundle has the name, StepFailed and HostUnreachable when it cannot be brought.
        """
        content, manifest = self._manifest(name)

        def bring(file: str, local: Path) -> None:
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
) -> Target:
    """The target that a URL names: a directory here or over ssh, or a bucket. Raises UsageProblem.

    Without a user in the URL, OpenSSH chooses one: `[ssh] user` of the configuration is for nodes. With `control_dir`
    one connection is shared by all commands. `pause` waits between two attempts after a lost connection,
    `s3_file` holds what is needed to reach `s3://` targets.
    """
    from upgrade_guard.vault.medium_file import FileMedium
    from upgrade_guard.vault.medium_ssh import SshMedium

    place = parse_place(url)
    if place.scheme == "file":
        return Target(FileMedium(place))
    if place.scheme in OBJECT_STORES:
        from upgrade_guard.vault.medium_objects import ObjectMedium
        from upgrade_guard.vault.object_settings import S3Settings, s3_settings

        settings = S3Settings("its own environment")
        if place.scheme == "s3":
            settings = s3_settings(place.user, s3_file, os.environ)
        return Target(ObjectMedium(place, settings, pause=pause))
    host = SshHost(
        place.host,
        _destination(place),
        tuple(ssh.options),
        str(ssh.identity_file) if ssh.identity_file else None,
        transcript,
        control_dir=control_dir,
    )
    return Target(SshMedium(place, host, LocalHost("here", transcript), pause=pause))


def _destination(place: Place) -> str:
    who = f"{place.user}@" if place.user else ""
    if place.port is None:
        return f"{who}{place.host}"
    host = f"[{place.host}]" if ":" in place.host else place.host
    return f"ssh://{who}{host}:{place.port}"
