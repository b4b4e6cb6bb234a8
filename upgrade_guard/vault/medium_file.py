"""A directory as off-site target: a network file system, or another disk of a machine without control plane."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from upgrade_guard.errors import GuardError, StepFailed
from upgrade_guard.vault.addresses import TargetAddress
from upgrade_guard.vault.bundle import PART
from upgrade_guard.vault.disk import (
    MOUNTINFO,
    copy_synced,
    measure,
    nearest,
    private_directory,
    read_description,
    storage,
    survives_this_machine,
    sync_directory,
)
from upgrade_guard.vault.encryption import Parcel
from upgrade_guard.vault.manifest import FileEntry
from upgrade_guard.vault.medium import aside, may_be_copy
from upgrade_guard.vault.transfers import Meter


class FileMedium:
    """`file:///path`. The directory is made when its parent exists: a missing mount is not papered over."""

    def __init__(self, place: TargetAddress) -> None:
        self._place = place
        self._path = Path(place.path)

    @property
    def url(self) -> str:
        """As it was configured."""
        return self._place.url

    @property
    def look(self) -> str:
        """The command by which an operator looks at it."""
        return f"df -h '{self._path.parent}'"

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

    def contents(self) -> Mapping[str, Mapping[str, int]]:
        """The directories there with the sizes of their files. A target that is not there raises StepFailed."""
        found: dict[str, dict[str, int]] = {}
        with storage(f"Listing {self.url}", self._path):
            if not self._path.is_dir() and self._path.parent.is_dir():
                return {}  # nothing was ever copied here
            for directory in self._path.iterdir():
                if may_be_copy(directory.name) and directory.is_dir() and not directory.is_symlink():
                    found[directory.name] = {
                        path.name: path.stat().st_size
                        for path in directory.iterdir()
                        if path.is_file() and not path.is_symlink()
                    }
        return found

    def read(self, name: str, file: str) -> bytes | None:
        """A small file of a copy; None when it is not there, or is a link. Raises Refused for a large one."""
        path = self._path / name / file
        with storage(f"Reading from {self.url}", path):
            if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
                return None
            return read_description(path, f"{file} of the copy {name} at {self.url}")

    def digests(self, name: str, expected: Mapping[str, FileEntry]) -> Mapping[str, FileEntry | str] | None:
        """Every file of a copy, read from the medium and not from memory."""
        final = self._path / name
        if final.is_symlink() or not final.is_dir():
            return None
        with storage(f"Reading back from {self.url}", final):
            return {path.name: _looked_at(path, expected.get(path.name)) for path in final.iterdir()}

    def put(self, parcel: Parcel, progress: Callable[[str], None]) -> str:
        """Copy under a temporary name, sync, publish by rename. Raises StepFailed."""
        final, part = self._path / parcel.name, self._path / f"{parcel.name}{PART}"
        with storage(f"Copying to {self.url}", self._path):
            private_directory(self._path)
            _remove_tree(part)
            try:
                self._copy(parcel, part, progress)
                _step_aside(final)
                part.rename(final)
                sync_directory(self._path)
            except (OSError, GuardError):
                shutil.rmtree(part, ignore_errors=True)  # a full disk is not left fuller than it was
                raise
        return str(final)

    def _copy(self, parcel: Parcel, part: Path, progress: Callable[[str], None]) -> None:
        part.mkdir(mode=0o700)
        for name, entry in parcel.files.items():
            meter = Meter(f"{name} to {self.url}", entry.size, progress)
            if copy_synced(parcel.directory / name, part / name, meter.moved) != entry:
                raise StepFailed(
                    f"{parcel.directory / name} is not what its manifest says, so it was not copied",
                    hint="Take a new snapshot: upgrade-guard resume",
                )
        sync_directory(part)

    def get(self, name: str, file: str, entry: FileEntry, local: Path, progress: Callable[[str], None]) -> None:
        """Copy one file here. Raises StepFailed."""
        meter = Meter(f"{file} from {self.url}", entry.size, progress)
        with storage(f"Fetching from {self.url}", self._path / name / file):
            local.unlink(missing_ok=True)
            copy_synced(self._path / name / file, local, meter.moved, limit=entry.size)

    def remove(self, name: str) -> None:
        """Take the name away first, by a rename, and then the files. Raises StepFailed."""
        final, part = self._path / name, self._path / f"{name}{PART}"
        with storage(f"Removing a copy from {self.url}", final):
            if final.is_dir() and not final.is_symlink():
                _remove_tree(part)
                final.rename(part)
                sync_directory(self._path)
            _remove_tree(part)

    def holds(self, name: str) -> bool:
        """Is anything there under that name, also half-written or half-removed?"""
        return any(os.path.lexists(self._path / one) for one in (name, f"{name}{PART}"))

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


def _looked_at(path: Path, expected: FileEntry | None) -> FileEntry | str:
    """What is there, or what it is instead of a file. One of another size than expected is not read."""
    if path.is_symlink():
        return "is a symbolic link"
    if not path.is_file():
        return "is not a regular file"
    try:
        size = path.stat().st_size
        return measure(path, from_medium=True) if expected and size == expected.size else FileEntry("", size)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _remove_tree(part: Path) -> None:
    """What a copy that was cut short left behind; its name is ours."""
    if part.is_symlink() or part.is_file():
        part.unlink()
    elif part.exists():
        shutil.rmtree(part)


def _step_aside(final: Path) -> None:
    if not os.path.lexists(final):
        return
    number = 1
    while os.path.lexists(beside := final.with_name(aside(final.name, number))):
        number += 1
    final.rename(beside)
