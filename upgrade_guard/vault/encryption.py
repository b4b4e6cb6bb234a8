"""Bundles made ready to leave this machine: encrypted in the vault, once for all targets.

The machine that makes backups cannot decrypt them, so what it may expect at a target is the ciphertext that it wrote.
Its digests are kept in `sealed/BUNDLE/sealed*.json` of the vault, also when the ciphertext itself is gone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from upgrade_guard.errors import GuardError, Refused, StepFailed
from upgrade_guard.vault.age import SUFFIX, check_recipients, decrypt, encrypt
from upgrade_guard.vault.bundle import MANIFEST, PART, SNAPSHOT, Bundle, is_safe_name
from upgrade_guard.vault.disk import measure, private_directory, read_description, storage, sync_directory, write_synced
from upgrade_guard.vault.manifest import DESCRIPTION_LIMIT, FileEntry, too_large

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


SEALED = "sealed.json"  # publishes an encrypted copy, as manifest.json does one in the clear
PUBLISHERS = frozenset({MANIFEST, SEALED})


@dataclass(frozen=True)
class Parcel:
    """The files of one copy: they lie in `directory` on this machine, and the last one publishes the copy."""

    name: str
    directory: Path
    files: Mapping[str, FileEntry]

    @property
    def size(self) -> int:
        """All files together, in bytes."""
        return sum(entry.size for entry in self.files.values())


@dataclass(frozen=True)
class Copied:
    """A bundle that was published at a target: where, and the SHA-256 of each file as it was written."""

    location: str
    sha256: Mapping[str, str]


def parcel_of(bundle: Bundle) -> Parcel:
    """Every file of a bundle as it is, its manifest last: a copy without manifest is not a bundle."""
    manifest = FileEntry(bundle.manifest_sha256, bundle.manifest_size)
    files = {**{name: bundle.manifest.files[name] for name in sorted(bundle.manifest.files)}, MANIFEST: manifest}
    return Parcel(bundle.name, bundle.path, files)


SCHEMA = 1


@dataclass(frozen=True)
class Sealed:
    """One bundle, encrypted. `files` are the encrypted ones by their names; the digests named `*_sha256` are of the
    bundle itself, and say which one it is without telling what is in it.
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
    manifest_size: int
    recipients: tuple[str, ...]
    files: Mapping[str, FileEntry]
    history_head: str = ""
    history_signature: str = ""
    schema: int = SCHEMA


def sealed_of(bundle: Bundle, recipients: Sequence[str], files: Mapping[str, FileEntry]) -> Sealed:
    """What is said of that bundle in the clear."""
    manifest = bundle.manifest
    return Sealed(
        name=bundle.name,
        cluster=manifest.cluster,
        run_id=manifest.run_id,
        taken_at=manifest.taken_at,
        revision=manifest.revision,
        etcd_version=manifest.etcd_version,
        kubernetes_version=manifest.kubernetes_version,
        snapshot_sha256=bundle.snapshot_sha256,
        manifest_sha256=bundle.manifest_sha256,
        manifest_size=bundle.manifest_size,
        recipients=tuple(recipients),
        files=files,
        history_head=manifest.history_head,
        history_signature=manifest.history_signature,
    )


def sealed_to_text(sealed: Sealed) -> str:
    """As JSON with sorted keys."""
    from upgrade_guard.model.codec import to_json  # late: cattrs is slow to import

    return json.dumps(to_json(sealed), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def sealed_from_bytes(content: bytes, where: str) -> Sealed:
    """Read `sealed.json`. Raises Refused when it is damaged, too new, or names files that no copy of ours has."""
    from upgrade_guard.model.codec import from_json  # late: cattrs is slow to import

    try:
        raw = json.loads(content)
        if not isinstance(raw["schema"], int) or raw["schema"] > SCHEMA:
            raise Refused(
                f"{where} was written by a newer upgrade-guard (schema {raw['schema']}, this one reads up to {SCHEMA})",
                hint="Use the upgrade-guard version that made this copy.",
            )
        sealed = from_json(Sealed, raw)
    except Refused:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(f"{where} is damaged: {error}", hint="Use another copy of this bundle.") from error
    hostile = [name for name in sealed.files if not _ours(name)]
    missing = sorted({f"{SNAPSHOT}{SUFFIX}", f"{MANIFEST}{SUFFIX}"} - sealed.files.keys())
    if hostile or missing:
        what = f"names a file {hostile[0]!r}" if hostile else f"lacks {missing[0]!r}"
        raise Refused(
            f"{where} {what}: no copy of ours does", hint="Use another copy, and find out who wrote this one."
        )
    return sealed


def _ours(name: str) -> bool:
    return is_safe_name(name) and name.endswith(SUFFIX) and not name.removesuffix(SUFFIX).endswith(PART)


Get = Callable[[str, FileEntry, Path], None]


class Unsealing:
    """One encrypted copy. `get` downloads one of its files; `where` names the copy for people."""

    def __init__(self, sealed: Sealed, identity_file: str, get: Get, where: str) -> None:
        if not identity_file:
            raise Refused(
                f"{where} is encrypted, and no private key is named",
                hint="Bring the key to this machine (0600) and name its file: vault.identity_file",
            )
        self._sealed = sealed
        self._identity_file = identity_file
        self._get = get
        self._where = where

    def manifest(self) -> bytes:
        """manifest.json, byte by byte. Raises Refused when the key does not fit or the copy is damaged."""
        encrypted = self._sealed.files[f"{MANIFEST}{SUFFIX}"]
        if encrypted.size > DESCRIPTION_LIMIT:
            raise too_large(f"{MANIFEST}{SUFFIX} of {self._where}")
        with tempfile.TemporaryDirectory(prefix="upgrade-guard-") as directory:
            local = Path(directory) / MANIFEST
            self.bring(MANIFEST, local)
            entry = measure(local)
            if entry.sha256 != self._sealed.manifest_sha256:
                raise Refused(
                    f"{self._where} is damaged: its manifest is not the one that was encrypted",
                    hint="Use another copy of this bundle: upgrade-guard backup list --remote",
                )
            return local.read_bytes()

    def bring(self, file: str, local: Path) -> None:
        """Download one file and decrypt it to `local`; the ciphertext is not kept."""
        name = f"{file}{SUFFIX}"
        entry = self._sealed.files.get(name)
        if entry is None:
            raise Refused(f"{self._where} lacks {name}", hint="Use another copy of this bundle.")
        ciphertext = local.with_name(name)
        with storage("Fetching a bundle", local):
            self._get(name, entry, ciphertext)
            if measure(ciphertext) != entry:  # what lay here of an earlier attempt may have been another one
                ciphertext.unlink()
                self._get(name, entry, ciphertext)
            if measure(ciphertext) != entry:
                ciphertext.unlink()
                raise Refused(
                    f"{self._where} is damaged: {name} has another size or SHA-256 than was written",
                    hint="Use another copy of this bundle: upgrade-guard backup list --remote",
                )
            local.unlink(missing_ok=True)
            decrypt(ciphertext, local, self._identity_file)
            ciphertext.unlink()
