"""What every kind of target can do with the files of copies; what they mean is decided in `targets`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from upgrade_guard.vault.bundle import PART, is_safe_name
from upgrade_guard.vault.encryption import Parcel
from upgrade_guard.vault.manifest import FileEntry

_ASIDE = re.compile(r".+\.differs-\d+")


class Medium(Protocol):
    """A place with one directory (or prefix) per copy."""

    @property
    def url(self) -> str:
        """As it was configured."""

    @property
    def look(self) -> str:
        """The command by which an operator looks at it."""

    def describe(self) -> str:
        """For people, in a few words."""

    def usable(self, size: int = 0) -> tuple[str, ...]:
        """What would stand in the way of a copy of `size` bytes, a sentence each. Changes nothing."""

    def off_control_plane(
        self,
        control_plane_addresses: Sequence[str],
        *,
        local_is_control_plane: bool,
        etcd_data_devices: Sequence[int] = (),
        separate_storage: Sequence[str | Path] = (),
    ) -> tuple[bool, str]:
        """As `Target.off_control_plane`."""

    def contents(self) -> Mapping[str, Mapping[str, int]]:
        """Every directory whose name can be a bundle's: its files with their sizes in bytes. Nothing is read."""

    def read(self, name: str, file: str) -> bytes | None:
        """A small file of a copy; None when it is not there. Raises Refused for a large one, which is not read."""

    def digests(self, name: str, expected: Mapping[str, FileEntry]) -> Mapping[str, FileEntry | str] | None:
        """Every file of a copy, read in full from where it is kept, or in words what it is instead of a file.

        A file that is not `expected`, or has another size, is not read: its digest is "". None when there is no such
        directory.
        """

    def put(self, parcel: Parcel, progress: Callable[[str], None]) -> str:
        """Write it so that it is there whole or not at all; the location. What had its name is moved aside first."""

    def get(self, name: str, file: str, entry: FileEntry, local: Path, progress: Callable[[str], None]) -> None:
        """Download one file of a copy to `local` (0600, synced). Whether it is the right one, the caller measures."""

    def remove(self, name: str) -> None:
        """Remove a copy: from the first moment on it is not listed any more. Again after a half removal: harmless."""

    def holds(self, name: str) -> bool:
        """Is anything there under that name, also what a removal or an upload that was cut short left behind?"""


def may_be_copy(name: str) -> bool:
    """Can a directory of that name be a published copy? Not what is half-written, and not what was moved aside."""
    return is_safe_name(name) and not name.endswith(PART) and not _ASIDE.fullmatch(name)


def aside(name: str, number: int) -> str:
    """The name under which a copy that differs is kept."""
    return f"{name}.differs-{number}"
