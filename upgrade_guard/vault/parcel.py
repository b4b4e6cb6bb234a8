"""What leaves this machine of one bundle, and where it arrived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from upgrade_guard.vault.bundle import MANIFEST, Bundle
from upgrade_guard.vault.manifest import FileEntry

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
