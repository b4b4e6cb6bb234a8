"""Bundles: a snapshot, the node files that belong to it and a manifest, published whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from upgrade_guard.errors import EvidenceLost, Refused, StepFailed, UsageProblem
from upgrade_guard.vault.disk import (
    copy_synced,
    measure,
    private_directories,
    read_description,
    storage,
    sync_directory,
    sync_file,
    write_synced,
)
from upgrade_guard.vault.manifest import (
    DESCRIPTION_LIMIT,
    BundleManifest,
    FileEntry,
    NodeFile,
    NodeFiles,
    manifest_from_text,
    manifest_to_text,
)
from upgrade_guard.vault.trailer import SnapshotDigest, read_snapshot

__all__ = ["MANIFEST", "SNAPSHOT", "Bundle", "BundleManifest", "FileEntry", "NodeFile", "NodeFiles", "Vault"]

MANIFEST = "manifest.json"
SNAPSHOT = "snapshot.db"
PART = ".part"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True)
class Bundle:
    """A published bundle. `manifest_sha256` and `manifest_size` (bytes) are those of manifest.json as it was read."""

    name: str
    path: Path
    manifest: BundleManifest
    manifest_sha256: str
    manifest_size: int = 0

    @property
    def snapshot(self) -> Path:
        """The etcd snapshot."""
        return self.path / SNAPSHOT

    @property
    def snapshot_sha256(self) -> str:
        """The snapshot's digest as the manifest has it."""
        return self.manifest.files[SNAPSHOT].sha256

    @property
    def size(self) -> int:
        """All files together, in bytes."""
        return sum(entry.size for entry in self.manifest.files.values())

    def node_archive(self, node: str) -> Path:
        """The archive of that node's files. Raises KeyError when the bundle has none."""
        return self.path / self.manifest.node_files[node].archive


def bundle_name(cluster: str, taken_at: datetime, run_id: str) -> str:
    """`<cluster>-<UTC timestamp>-<run id>`. Raises UsageProblem for names that do not belong into a path."""
    return checked_name(f"{cluster}-{taken_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{run_id}")


def is_safe_name(name: str) -> bool:
    """Is it harmless as one component of a path on any machine?"""
    return _NAME.fullmatch(name) is not None


def checked_name(name: str) -> str:
    """The name itself, when it is safe as one component of a path. Raises UsageProblem."""
    if not is_safe_name(name) or name.endswith(PART):
        raise UsageProblem(
            f"{name!r} cannot be the name of a bundle",
            hint="Use letters, digits, '.', '_' and '-', and begin with a letter or a digit.",
        )
    return name


def examine(bundle: Bundle) -> tuple[str, ...]:
    """What is wrong with a bundle, a sentence each: files there, sizes and SHA-256 right, nothing extra, no links."""
    manifest = bundle.path / MANIFEST
    problems = []
    if manifest.is_symlink() or not manifest.is_file():
        problems.append(f"{bundle.name}: {MANIFEST} is missing")
    elif measure(manifest).sha256 != bundle.manifest_sha256:
        problems.append(f"{bundle.name}: {MANIFEST} was changed")
    for name, entry in sorted(bundle.manifest.files.items()):
        problems += [f"{bundle.name}: {problem}" for problem in _file_problems(bundle.path / name, entry)]
    expected = {MANIFEST, *bundle.manifest.files}
    present = {path.name for path in bundle.path.iterdir()} if bundle.path.is_dir() else set()
    problems += [f"{bundle.name}: {name!r} does not belong to it" for name in sorted(present - expected)]
    return tuple(problems)


def _file_problems(path: Path, entry: FileEntry) -> tuple[str, ...]:
    if path.is_symlink():
        return (f"{path.name} is a symbolic link",)
    if not path.exists():
        return (f"{path.name} is missing",)
    if not path.is_file():
        return (f"{path.name} is not a regular file",)
    try:
        size = path.stat().st_size
        found = read_snapshot(path) if path.name == SNAPSHOT else measure(path)
    except OSError as error:
        return (f"{path.name} cannot be read: {error.strerror}",)
    problems = found.problems if isinstance(found, SnapshotDigest) else ()
    if size != entry.size:
        return (*problems, f"{path.name} has {size} bytes instead of {entry.size}")
    if found.sha256 != entry.sha256:
        return (*problems, f"{path.name} was changed: its SHA-256 is not the one in {MANIFEST}")
    return problems


class Vault:
    """The bundles of one directory on this machine. Directories are 0700, files 0600."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def staging(self, run_id: str) -> Path:
        """Where a run gathers the files of its bundle; the same directory again after a resume."""
        path = self._staging(run_id)
        with storage("Making the vault", path):
            private_directories(path)
        return path

    def discard_staging(self, run_id: str) -> None:
        """Remove what was gathered, because the snapshot is taken again."""
        path = self._staging(run_id)
        with storage("Discarding staged files", path):
            _remove_tree(path)

    def remove(self, name: str) -> None:
        """Remove a bundle; from the first moment on it is not listed any more. Doing it again is harmless.

        Raises StepFailed when the disk refuses.
        """
        final, part = self.path / checked_name(name), self.path / f"{name}{PART}"
        with storage("Removing a bundle", final):
            if final.is_dir() and not final.is_symlink():
                _remove_tree(part)
                final.rename(part)
                sync_directory(self.path)
            _remove_tree(part)

    def holds(self, name: str) -> bool:
        """Is anything there under that name, also what was published or removed half-way?"""
        return any(os.path.lexists(self.path / one) for one in (checked_name(name), f"{name}{PART}"))

    def unfinished(self) -> tuple[str, ...]:
        """Names, without their suffix, of what was staged, published, fetched or removed half-way."""
        with storage("Reading the vault", self.path):
            if not self.path.is_dir():
                return ()
            found = [path for path in self.path.iterdir() if path.name.endswith(PART) and not path.is_symlink()]
        return tuple(sorted(path.name.removesuffix(PART) for path in found if is_safe_name(path.name)))

    def _staging(self, run_id: str) -> Path:
        return self.path / f"{checked_name(run_id)}{PART}"

    def publish(
        self, staging: Path, manifest: BundleManifest, name: str, recorded: Mapping[str, str] = MappingProxyType({})
    ) -> Bundle:
        """Make the staged files a bundle: measured, synced, manifest last, renamed. Doing it again changes nothing.

        The snapshot and the archives that `manifest.node_files` names go into the bundle; `manifest.files` is measured
        here. `staging` stays whole until the bundle is there, and is removed then. Raises EvidenceLost when a file is
        missing or has another SHA-256 than `recorded` has for it, StepFailed when the disk refuses, Refused when
        another run's bundle has this name.
        """
        final = self.path / checked_name(name)
        part = self.path / f"{name}{PART}"
        with storage("Publishing the bundle", final):
            if not final.is_dir():
                _remove_tree(part)
                part.mkdir(mode=0o700)
                files = _taken_over(staging, part, manifest)
                _refuse_exchanged(files, recorded, staging)
                write_synced(part / MANIFEST, _written(replace(manifest, files=files), name))
                part.rename(final)
                sync_directory(self.path)
            bundle = self.bundle(name)
            if bundle.manifest.run_id != manifest.run_id:
                raise Refused(
                    f"a bundle {name} of run {bundle.manifest.run_id} is already there",
                    hint=f"Look at it with: ls -l '{final}'",
                )
            _remove_tree(staging)
            sync_directory(self.path)  # or a power cut brings the staged files back, and nobody looks for them again
        return bundle

    def bundles(self) -> tuple[Bundle, ...]:
        """Every published bundle whose manifest can be read, oldest first."""
        found = []
        for name in self.names():
            try:
                found.append(self.bundle(name))
            except Refused:
                continue  # `unreadable` says so
        return tuple(sorted(found, key=lambda bundle: (bundle.manifest.taken_at, bundle.name)))

    def unreadable(self) -> tuple[str, ...]:
        """A sentence for each directory that looks like a bundle and whose manifest cannot be read."""
        problems = []
        for name in self.names():
            try:
                self.bundle(name)
            except Refused as refused:
                problems.append(refused.message)
        return tuple(problems)

    def names(self) -> tuple[str, ...]:
        """Names of the directories that have a manifest, whether it can be read or not."""
        with storage("Reading the vault", self.path):
            if not self.path.is_dir():
                return ()
            return tuple(
                sorted(
                    path.name
                    for path in self.path.iterdir()
                    if _NAME.fullmatch(path.name)
                    and not path.name.endswith(PART)
                    and not path.is_symlink()
                    and (path / MANIFEST).is_file()
                )
            )

    def bundle(self, name: str) -> Bundle:
        """The bundle of that name. Raises Refused when there is none or its manifest cannot be read."""
        path = self.path / checked_name(name)
        manifest = path / MANIFEST
        try:
            if path.is_symlink() or manifest.is_symlink():
                raise FileNotFoundError
            content = read_description(manifest, str(manifest))
            text = content.decode()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Refused(
                f"there is no bundle {name} in {self.path}", hint="See what there is: upgrade-guard backup list"
            ) from error
        except UnicodeDecodeError as error:
            raise Refused(f"{manifest} is not text", hint="Use another copy of this bundle.") from error
        except OSError as error:
            raise Refused(
                f"{manifest} cannot be read: {error.strerror}", hint=f"Look at it with: ls -l '{path}'"
            ) from error
        return Bundle(
            name, path, manifest_from_text(text, str(manifest)), hashlib.sha256(content).hexdigest(), len(content)
        )


def _written(manifest: BundleManifest, name: str) -> bytes:
    """What manifest.json is to hold: never more than is read again."""
    content = manifest_to_text(manifest).encode()
    if len(content) > DESCRIPTION_LIMIT:
        raise StepFailed(
            f"{MANIFEST} of the bundle {name} is larger than {DESCRIPTION_LIMIT >> 20} MiB: it lists too many files",
            hint='Leave directories with many files out of host_files in [nodes."*"], then: upgrade-guard resume',
        )
    return content


def _taken_over(staging: Path, part: Path, manifest: BundleManifest) -> dict[str, FileEntry]:
    """Link the staged files into `part`, each 0600, synced and measured."""
    wanted = (SNAPSHOT, *sorted(listing.archive for listing in manifest.node_files.values()))
    files = {}
    for name in wanted:
        staged = staging / checked_name(name)
        if staged.is_symlink() or not staged.is_file():
            raise EvidenceLost(
                f"the bundle is not complete: {name} is missing in {staging}",
                hint="Take the snapshot again: upgrade-guard resume",
            )
        staged.chmod(0o600)
        try:
            (part / name).hardlink_to(staged)
        except OSError:
            copy_synced(staged, part / name)  # a file system without hard links
        sync_file(part / name)
        files[name] = measure(part / name)
    return files


def _refuse_exchanged(files: Mapping[str, FileEntry], recorded: Mapping[str, str], staging: Path) -> None:
    for name, digest in recorded.items():
        if files[name].sha256 != digest:
            raise EvidenceLost(
                f"{staging / name} is not what was gathered: its SHA-256 is not the one that was recorded",
                hint="take a new snapshot: upgrade-guard resume",
            )


def _remove_tree(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
