"""A directory on another machine as off-site target, over the operator's own OpenSSH."""

from __future__ import annotations

import posixpath
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from upgrade_guard.errors import GuardError, OutputTooLarge
from upgrade_guard.hosts.base import Host
from upgrade_guard.model.command import Command
from upgrade_guard.tools.files import Files
from upgrade_guard.tools.pieces import PIECE
from upgrade_guard.vault.addresses import Resolve, TargetAddress, addresses_of, is_this_machine, same_machine
from upgrade_guard.vault.bundle import PART
from upgrade_guard.vault.encryption import Parcel
from upgrade_guard.vault.manifest import DESCRIPTION_LIMIT, FileEntry, too_large
from upgrade_guard.vault.medium import aside, may_be_copy
from upgrade_guard.vault.transfers import Pause, Transfer

_KINDS = {"directory": "is a directory", "link": "is a symbolic link", "other": "is not a regular file"}


class SshMedium:
    """`ssh://[user@]host[:port]/path`. The directory is made when its parent exists: a missing mount shows.

    `host` runs commands there, `here` on this machine; `pause` waits between two attempts; large files
    go in pieces of `piece` bytes. A copy is read back by its bytes; with `believed` the host computes the digests.
    """

    def __init__(
        self,
        place: TargetAddress,
        host: Host,
        here: Host,
        *,
        resolve: Resolve = addresses_of,
        pause: Pause = time.sleep,
        piece: int = PIECE,
        believed: bool = False,
    ) -> None:
        self._place = place
        self._here = here
        self._files = Files(host, work_dir=place.path)
        self._resolve = resolve
        self._pause = pause
        self._piece = piece
        self._believed = believed

    @property
    def url(self) -> str:
        """As it was configured."""
        return self._place.url

    @property
    def look(self) -> str:
        """The command by which an operator looks at it."""
        return f"ssh {shlex.quote(self._place.host)} df -h {shlex.quote(shlex.quote(self._place.path))}"

    def describe(self) -> str:
        """For people."""
        return f"the directory {self._place.path} on {self._place.host}"

    def usable(self, size: int = 0) -> tuple[str, ...]:
        """What would stand in the way of a copy of `size` bytes, a sentence each. Changes nothing."""
        path = self._place.path
        try:
            where = path if self._files.is_dir(path) else posixpath.dirname(path)
            if not self._files.is_dir(where):
                return (f"{where} on {self._place.host} is not there: is it mounted?",)
            free = self._files.free_bytes(where)
            writable = self._files.host.run(Command(("test", "-w", where), timeout=30.0))
        except GuardError as problem:
            return (problem.message,)
        if not writable.ok:
            return (f"{where} on {self._place.host} cannot be written to",)
        if free < size:
            return (f"{where} on {self._place.host} has {free >> 20} MiB free; the copy needs {(size >> 20) + 1} MiB",)
        return ()

    def contents(self) -> Mapping[str, Mapping[str, int]]:
        """The directories there with the sizes of their files. Raises StepFailed, HostUnreachable."""
        path = self._place.path
        if not self._files.is_dir(path) and self._files.is_dir(posixpath.dirname(path)):
            return {}  # nothing was ever copied there
        found: dict[str, dict[str, int]] = {}
        for entry in self._files.entries(path):
            directory, _, file = posixpath.relpath(entry.path, path).partition("/")
            if entry.kind == "directory" and not file and may_be_copy(directory):
                found.setdefault(directory, {})
            if entry.kind == "file" and file and "/" not in file and may_be_copy(directory):
                found.setdefault(directory, {})[file] = entry.size
        return found

    def read(self, name: str, file: str) -> bytes | None:
        """A small file of a copy; None when it is not there. Raises Refused for a large one."""
        path = posixpath.join(self._place.path, name, file)
        if not self._files.exists(path):
            return None
        try:
            return self._files.read_bytes(path, DESCRIPTION_LIMIT)
        except OutputTooLarge as problem:
            raise too_large(f"{file} of the copy {name} at {self.url}") from problem

    def digests(self, name: str, expected: Mapping[str, FileEntry]) -> Mapping[str, FileEntry | str] | None:
        """Every file of a copy: brought back and measured here, or, where it is believed, measured over there."""
        final = posixpath.join(self._place.path, name)
        if not self._files.is_dir(final):
            return None
        entries = {
            posixpath.relpath(entry.path, final): entry for entry in self._files.entries(final) if entry.path != final
        }
        found: dict[str, FileEntry | str] = {
            file: FileEntry("", entry.size) if entry.kind == "file" else _KINDS.get(entry.kind, _KINDS["other"])
            for file, entry in entries.items()
        }
        same_size = [file for file, entry in expected.items() if found.get(file) == FileEntry("", entry.size)]
        if self._believed:
            digests = self._files.sha256(*(entries[file].path for file in same_size))
            return found | {file: FileEntry(digests[entries[file].path], entries[file].size) for file in same_size}
        transfer = Transfer(self._files, pause=self._pause, say=lambda _: None, piece=self._piece)
        return found | {file: transfer.measure(entries[file].path, entries[file].size) for file in same_size}

    def put(self, parcel: Parcel, progress: Callable[[str], None]) -> str:
        """Copy under a temporary name, sync, publish by rename. Raises StepFailed, HostUnreachable.

        What an attempt that was cut short left there is continued, and believed by its SHA-256 only.
        """
        final = posixpath.join(self._place.path, parcel.name)
        part = f"{final}{PART}"
        self._files.make_dir(self._place.path)
        self._files.make_dir(part)
        for foreign in set(self._files.list_dir(part)) - parcel.files.keys():
            self._files.remove_own(posixpath.join(part, foreign))
        transfer = Transfer(self._files, pause=self._pause, say=progress, piece=self._piece)
        for name, entry in parcel.files.items():
            transfer.send(parcel.directory / name, posixpath.join(part, name), entry, f"{name} to {self.url}")
        self._files.sync()
        self._step_aside(final)
        self._files.move(part, final)
        self._files.sync()
        return final

    def _step_aside(self, final: str) -> None:
        if not self._files.exists(final):
            return
        number = 1
        while self._files.exists(aside(final, number)):
            number += 1
        self._files.move(final, aside(final, number))

    def get(self, name: str, file: str, entry: FileEntry, local: Path, progress: Callable[[str], None]) -> None:
        """Copy one file here. Raises StepFailed, HostUnreachable."""
        transfer = Transfer(self._files, pause=self._pause, say=progress, piece=self._piece)
        transfer.fetch(posixpath.join(self._place.path, name, file), local, entry, f"{file} from {self.url}")

    def remove(self, name: str) -> None:
        """Take the name away first, by a rename, and then the files. Raises StepFailed, HostUnreachable."""
        final = posixpath.join(self._place.path, name)
        part = f"{final}{PART}"
        if self._files.is_dir(final):
            self._files.remove_own(part)
            self._files.move(final, part)
            self._files.sync()
        self._files.remove_own(part)

    def holds(self, name: str) -> bool:
        """Is anything there under that name, also half-written or half-removed?"""
        final = posixpath.join(self._place.path, name)
        return self._files.exists(final) or self._files.exists(f"{final}{PART}")

    def off_control_plane(
        self,
        control_plane_addresses: Sequence[str],
        *,
        local_is_control_plane: bool,
        etcd_data_devices: Sequence[int] = (),  # noqa: ARG002 - of this machine, not of that one
        separate_storage: Sequence[str | Path] = (),  # noqa: ARG002 - of this machine, not of that one
    ) -> tuple[bool, str]:
        """Is that host none of the control-plane nodes? Names, addresses and ssh's own aliases are compared."""
        names = (self._place.host, *self._alias())
        same = same_machine(names, control_plane_addresses, self._resolve)
        if same:
            return False, f"{self._place.host} is the control-plane node {same}"
        if is_this_machine(names, self._resolve):
            if local_is_control_plane:
                return False, f"{self._place.host} is this machine, a control-plane node"
            return True, f"{self._place.host} is this machine, which is not a control-plane node"
        return True, f"{self._place.host} is not a control-plane node"

    def _alias(self) -> tuple[str, ...]:
        """The host name that ~/.ssh/config puts in the place of ours (`ssh -G` only prints)."""
        asked = self._here.run(Command(("ssh", "-G", "--", self._place.host), timeout=15.0))
        words = [line.split(maxsplit=1) for line in asked.stdout.splitlines()] if asked.ok else []
        return tuple(pair[1].strip() for pair in words if len(pair) > 1 and pair[0] == "hostname")
