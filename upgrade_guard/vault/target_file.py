"""A directory as off-site target: a network file system, or another disk of a machine without control plane."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from upgrade_guard.errors import GuardError, StepFailed
from upgrade_guard.vault.addresses import Place
from upgrade_guard.vault.bundle import PART, Bundle
from upgrade_guard.vault.copied import Copied
from upgrade_guard.vault.disk import copy_synced, measure, private_directory, storage, sync_directory
from upgrade_guard.vault.manifest import FileEntry
from upgrade_guard.vault.mounts import MOUNTINFO, nearest, survives_this_machine
from upgrade_guard.vault.reading_back import compared, expected_files


class FileTarget:
    """`file:///path`. The directory is made when its parent exists: a missing mount is not papered over."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._path = Path(place.path)

    @property
    def url(self) -> str:
        """As it was configured."""
        return self._place.url

    def describe(self) -> str:
        """For people."""
        return f"the directory {self._path}"

    def usable(self, size: int = 0) -> tuple[str, ...]:
        """What would stand in the way of a copy of `size` bytes, a sentence each. Changes nothing."""
        where = self._path if self._path.exists() else self._path.parent
        if not where.is_dir():
            return (f"{where} is not there, or is no directory: is it mounted?",)
        if not os.access(where, os.W_OK | os.X_OK):
            return (f"{where} cannot be written to",)
        free = shutil.disk_usage(where).free
        if free < size:
            return (f"{where} has {free >> 20} MiB free; the copy needs {(size >> 20) + 1} MiB",)
        return ()

    def copy(self, bundle: Bundle, progress: Callable[[str], None]) -> Copied:
        """Copy under a temporary name, sync, publish by rename; an equal copy is left alone.

        A published copy that differs is renamed to `NAME.differs-N`, never removed. Raises StepFailed.
        """
        final, part = self._path / bundle.name, self._path / f"{bundle.name}{PART}"
        expected = expected_files(bundle)
        with storage(f"Copying to {self.url}", self._path):
            if final.is_dir() and not self.read_back(bundle):
                return Copied(str(final), {name: entry.sha256 for name, entry in expected.items()})
            if problems := self.usable(bundle.size):
                raise StepFailed(
                    f"{self.url} cannot take the copy: {problems[0]}", hint=f"Look at it: df -h '{self._path.parent}'"
                )
            private_directory(self._path)
            _remove_part(part)
            try:
                written = self._copied(bundle, expected, part, progress)
                _step_aside(final)
                part.rename(final)
                sync_directory(self._path)
            except (OSError, GuardError):
                shutil.rmtree(part, ignore_errors=True)  # a full disk is not left fuller than it was
                raise
        return Copied(str(final), written)

    def _copied(
        self, bundle: Bundle, expected: dict[str, FileEntry], part: Path, progress: Callable[[str], None]
    ) -> dict[str, str]:
        part.mkdir(mode=0o700)
        written = {}
        for name, entry in expected.items():
            progress(f"{name} ({entry.size / (1 << 20):.1f} MiB) to {self.url}")
            found = copy_synced(bundle.path / name, part / name)
            if found != entry:
                raise StepFailed(
                    f"{bundle.path / name} is not what its manifest says, so it was not copied",
                    hint="Take a new snapshot: upgrade-guard resume",
                )
            written[name] = found.sha256
        sync_directory(part)
        return written

    def read_back(self, bundle: Bundle) -> tuple[str, ...]:
        """Read every file again, from the medium and not from memory, and compare; a sentence per difference."""
        final = self._path / bundle.name
        if final.is_symlink() or not final.is_dir():
            return (f"the copy {bundle.name} is missing at {self.url}",)
        found: dict[str, FileEntry | str] = {}
        try:
            for path in final.iterdir():
                found[path.name] = _looked_at(path)
        except OSError as error:
            return (f"the copy at {final} cannot be read: {error.strerror}",)
        return compared(f"the copy at {final}", expected_files(bundle), found)

    def off_control_plane(
        self,
        control_plane_addresses: Sequence[str],  # noqa: ARG002 - a directory has no address
        *,
        local_is_control_plane: bool,
        etcd_data_devices: Sequence[int] = (),
        separate_storage: Sequence[str | Path] = (),
    ) -> tuple[bool, str]:
        """On a machine without control plane always; on a control-plane node only what survives its loss."""
        if not local_is_control_plane:
            return True, f"{self._path} is on this machine, which is not a control-plane node"
        try:
            mountinfo = MOUNTINFO.read_text(errors="replace")
            return survives_this_machine(
                self._path,
                etcd_data_devices=etcd_data_devices,
                separate_storage=separate_storage,
                mountinfo=mountinfo,
            )
        except OSError as error:
            return False, f"{nearest(self._path)} cannot be looked at: {error.strerror}"


def _looked_at(path: Path) -> FileEntry | str:
    """What is there, or what it is instead of a file."""
    if path.is_symlink():
        return "is a symbolic link"
    if not path.is_file():
        return "is not a regular file"
    try:
        return measure(path, from_medium=True)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _remove_part(part: Path) -> None:
    """What a copy that was cut short left behind; its name is ours."""
    if part.is_symlink() or part.is_file():
        part.unlink()
    elif part.exists():
        shutil.rmtree(part)


def _step_aside(final: Path) -> None:
    if not final.exists() and not final.is_symlink():
        return
    number = 1
    while (aside := final.with_name(f"{final.name}.differs-{number}")).exists():
        number += 1
    final.rename(aside)
