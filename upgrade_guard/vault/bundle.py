"""Bundles: a snapshot, the node files that belong to it and a manifest, published whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from upgrade_guard.errors import GuardError, Refused, StepFailed, UsageProblem
from upgrade_guard.vault.manifest import (
    BundleManifest,
    FileEntry,
    NodeFile,
    NodeFiles,
    manifest_from_text,
    manifest_to_text,
)
from upgrade_guard.vault.trailer import check_trailer

__all__ = ["MANIFEST", "SNAPSHOT", "Bundle", "BundleManifest", "FileEntry", "NodeFile", "NodeFiles", "Vault"]

MANIFEST = "manifest.json"
SNAPSHOT = "snapshot.db"
PART = ".part"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True)
class Bundle:
    """A published bundle. `manifest_sha256` is the digest of manifest.json as it is on disk."""

    name: str
    path: Path
    manifest: BundleManifest
    manifest_sha256: str

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


def checked_name(name: str) -> str:
    """The name itself, when it is safe as one component of a path. Raises UsageProblem."""
    if not _NAME.fullmatch(name) or name.endswith(PART):
        raise UsageProblem(
            f"{name!r} cannot be the name of a bundle",
            hint="Use letters, digits, '.', '_' and '-', and begin with a letter or a digit.",
        )
    return name


def examine(bundle: Bundle) -> tuple[str, ...]:
    """What is wrong with a bundle, a sentence each: every file there, right size and SHA-256, nothing extra, no links."""
    raise NotImplementedError


class Vault:
    """The bundles of one directory on this machine. Directories are 0700, files 0600."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def staging(self, run_id: str) -> Path:
        """Where a run gathers the files of its bundle; the same directory again after a resume."""
        raise NotImplementedError

    def discard_staging(self, run_id: str) -> None:
        """Remove what was gathered, because the snapshot is taken again."""
        raise NotImplementedError

    def publish(self, staging: Path, manifest: BundleManifest, name: str) -> Bundle:
        """Make the staged files a bundle: measured, synced, manifest last, renamed. Doing it again changes nothing."""
        raise NotImplementedError

    def bundles(self) -> tuple[Bundle, ...]:
        """Every published bundle, oldest first."""
        raise NotImplementedError

    def bundle(self, name: str) -> Bundle:
        """The bundle of that name. Raises Refused when there is none or its manifest cannot be read."""
        raise NotImplementedError
