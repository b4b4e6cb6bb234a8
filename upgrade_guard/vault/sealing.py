"""Bundles made ready to leave this machine: encrypted in the vault, once for all targets.

The machine that makes backups cannot decrypt them, so what it may expect at a target is the ciphertext that it wrote.
Its digests are kept in `sealed/BUNDLE/sealed*.json` of the vault, also when the ciphertext itself is gone.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from upgrade_guard.errors import GuardError, Refused, StepFailed
from upgrade_guard.vault.age import SUFFIX, check_recipients, encrypt
from upgrade_guard.vault.bundle import Bundle
from upgrade_guard.vault.disk import measure, private_directory, read_description, storage, sync_directory, write_synced
from upgrade_guard.vault.manifest import FileEntry
from upgrade_guard.vault.parcel import SEALED, Parcel, parcel_of
from upgrade_guard.vault.sealed import Sealed, sealed_from_bytes, sealed_of, sealed_to_text

_DIRECTORY = "sealed"
_RECORDS = "sealed*.json"


@dataclass(frozen=True)
class Keys:
    """What `[vault]` says: public keys, whether copies may leave in the clear without any, a private key's file."""

    recipients: tuple[str, ...] = ()
    unencrypted_allowed: bool = False
    identity_file: str = ""

    def must_allow(self, url: str) -> None:
        """Raises Refused when a copy would leave in the clear and nobody said so, UsageProblem for a bad recipient."""
        check_recipients(self.recipients)
        if not self.recipients and not self.unencrypted_allowed:
            raise Refused(
                f"{url} would get the cluster's private keys and Secrets unencrypted, and vault.recipients is empty",
                hint="Name age public keys in vault.recipients, or accept it: vault.allow_unencrypted_keys = true",
            )

    def problems(self, url: str) -> tuple[str, ...]:
        """The same as sentences."""
        try:
            self.must_allow(url)
        except GuardError as problem:
            return (problem.message,)
        return ()


def records(vault: Path, name: str) -> dict[str, Sealed]:
    """Every way in which this machine has encrypted that bundle, by the SHA-256 of what lies in the clear beside it."""
    found = {}
    directory = vault / _DIRECTORY / name
    with storage("Reading what was encrypted", directory):
        for path in sorted(directory.glob(_RECORDS)):
            try:
                content = read_description(path, str(path))
                found[hashlib.sha256(content).hexdigest()] = sealed_from_bytes(content, str(path))
            except Refused:
                continue  # damaged: that copy is no longer believed, and made again
    return found


def expected_files(sealed: Sealed, content_sha256: str, content_size: int) -> dict[str, FileEntry]:
    """Every file of the encrypted copy."""
    return {**sealed.files, SEALED: FileEntry(content_sha256, content_size)}


def seal(bundle: Bundle, recipients: tuple[str, ...]) -> Parcel:
    """The bundle encrypted for those recipients; the same ciphertext again as long as it lies here whole.

    The ciphertext of other bundles is removed, their records stay. Raises UsageProblem for a bad recipient, StepFailed
    when the disk refuses or the bundle is not what its manifest says.
    """
    above = bundle.path.parent / _DIRECTORY
    directory = above / bundle.name
    with storage("Encrypting the bundle", directory):
        private_directory(above)
        private_directory(directory)
        for ciphertext in above.glob(f"*/*{SUFFIX}*"):
            if ciphertext.parent != directory:
                ciphertext.unlink()
        if (parcel := _whole(bundle, directory, recipients)) is not None:
            return parcel
        _keep_record(directory)
        _must_fit(directory, bundle.size)
        files = {}
        for name, entry in parcel_of(bundle).files.items():
            ciphertext = directory / f"{name}{SUFFIX}"
            ciphertext.unlink(missing_ok=True)
            read, files[ciphertext.name] = encrypt(bundle.path / name, ciphertext, recipients)
            if read != entry:
                raise StepFailed(
                    f"{bundle.path / name} is not what its manifest says, so it was not copied",
                    hint="Take a new snapshot: upgrade-guard resume",
                )
        sync_directory(directory)
        write_synced(directory / SEALED, sealed_to_text(sealed_of(bundle, recipients, files)).encode())
        return _parcel(directory, bundle.name)


def _whole(bundle: Bundle, directory: Path, recipients: tuple[str, ...]) -> Parcel | None:
    """What an earlier call made, when it is for the same bundle and recipients and no byte of it has changed."""
    if not (directory / SEALED).is_file():
        return None
    try:
        parcel = _parcel(directory, bundle.name)
        sealed = sealed_from_bytes((directory / SEALED).read_bytes(), SEALED)
        same = sealed.manifest_sha256 == bundle.manifest_sha256 and set(sealed.recipients) == set(recipients)
        whole = same and all(measure(directory / name) == entry for name, entry in parcel.files.items())
    except (FileNotFoundError, Refused):
        return None
    return parcel if whole else None


def _parcel(directory: Path, name: str) -> Parcel:
    content = (directory / SEALED).read_bytes()
    sealed = sealed_from_bytes(content, str(directory / SEALED))
    return Parcel(name, directory, expected_files(sealed, hashlib.sha256(content).hexdigest(), len(content)))


def _keep_record(directory: Path) -> None:
    """What was encrypted before is still expected at the targets that have it."""
    number = len(list(directory.glob(_RECORDS)))
    if (directory / SEALED).is_file():
        (directory / SEALED).rename(directory / f"sealed-{number}.json")
        sync_directory(directory)


def _must_fit(directory: Path, size: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < size:
        raise StepFailed(
            f"{directory} has {free >> 20} MiB free; encrypting the bundle needs {(size >> 20) + 1} MiB",
            hint=f"Free space there: df -h '{directory}'",
        )
