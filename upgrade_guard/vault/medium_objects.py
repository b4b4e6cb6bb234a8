"""A bucket of an object store as off-site target: S3 and what speaks like it, Google and Azure by the same library."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from upgrade_guard.errors import GuardError, StepFailed
from upgrade_guard.vault.addresses import Resolve, TargetAddress, addresses_of, is_this_machine, same_machine
from upgrade_guard.vault.disk import open_regular, storage
from upgrade_guard.vault.encryption import PUBLISHERS, Parcel
from upgrade_guard.vault.manifest import DESCRIPTION_LIMIT, FileEntry, too_large
from upgrade_guard.vault.medium import aside, may_be_copy
from upgrade_guard.vault.object_store import S3Settings, objects, open_store
from upgrade_guard.vault.transfers import Meter, Pause, bring, retried

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_PART = 8 << 20  # bytes of one part of an upload: 10 000 parts, the most that S3 takes, are 80 GB
_AT_ONCE = 4  # parts on their way at the same time
_PIECE = 16 << 20  # bytes of one request of a download
T = TypeVar("T")


class ObjectMedium:
    """`s3://[profile@]bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.

    A copy is published by its manifest, which is written last: objects appear whole, but cannot be renamed.
    `pause` waits between two attempts.
    """

    def __init__(
        self, place: TargetAddress, settings: S3Settings, *, resolve: Resolve = addresses_of, pause: Pause = time.sleep
    ) -> None:
        self._place = place
        self._settings = settings
        self._resolve = resolve
        self._pause = pause
        self._opened: ObjectStore | None = None

    @property
    def url(self) -> str:
        """As it was configured."""
        return self._place.url

    @property
    def look(self) -> str:
        """The command by which an operator looks at it."""
        return "upgrade-guard backup list --remote"

    def describe(self) -> str:
        """For people."""
        at = f" at {self._settings.endpoint_url}" if self._settings.endpoint_url else ""
        return f"the bucket {self._place.host}{at}, below {self._place.path}"

    def usable(self, size: int = 0) -> tuple[str, ...]:  # noqa: ARG002 - a bucket has no size that one could ask for
        """Can it be listed with these credentials? Whether it can be written, only writing shows. Changes nothing."""
        import obstore

        try:
            with self._doing("Listing"):
                for _ in obstore.list(self._store, chunk_size=1):
                    break
        except GuardError as problem:
            return (problem.message,)
        return ()

    def contents(self) -> Mapping[str, Mapping[str, int]]:
        """The prefixes there with the sizes of their objects. Raises StepFailed, HostUnreachable."""
        found: dict[str, dict[str, int]] = {}
        for key, size in self._again(partial(self._list, "")).items():
            name, _, file = key.partition("/")
            if file and "/" not in file and may_be_copy(name):
                found.setdefault(name, {})[file] = size
        return found

    def _list(self, prefix: str) -> dict[str, int]:
        """Every object below it, by its key without the prefix, with its size in bytes."""
        import obstore

        below = f"{prefix}/" if prefix else ""
        with self._doing("Listing"):
            pages = obstore.list(self._store, prefix or None, chunk_size=1000)
            return {str(one["path"]).removeprefix(below): int(one["size"]) for page in pages for one in page}

    def read(self, name: str, file: str) -> bytes | None:
        """A small object of a copy; None when it is not there. Raises Refused for a large one."""
        import obstore

        def attempt() -> bytes | None:
            try:
                with self._doing(f"Reading {name}/{file}"):
                    found = obstore.get(self._store, f"{name}/{file}")
                    if found.meta["size"] > DESCRIPTION_LIMIT:
                        raise too_large(f"{file} of the copy {name} at {self.url}")
                    return bytes(found.bytes())
            except StepFailed as problem:
                if isinstance(problem.__cause__, FileNotFoundError) and "NoSuchBucket" not in str(problem.__cause__):
                    return None
                raise

        return self._again(attempt)

    def digests(self, name: str, expected: Mapping[str, FileEntry]) -> Mapping[str, FileEntry | str] | None:
        """Every object of a copy, downloaded again and not kept."""
        found: dict[str, FileEntry | str] = {}
        for file, size in self._again(partial(self._list, name)).items():
            if file not in expected or size != expected[file].size:
                found[file] = FileEntry("", size)
                continue
            digest = hashlib.sha256()
            for offset in range(0, size, _PIECE):
                digest.update(self._range(f"{name}/{file}", offset, min(_PIECE, size - offset)))
            found[file] = FileEntry(digest.hexdigest(), size)
        return found or None

    def _range(self, key: str, offset: int, size: int) -> bytes:
        import obstore

        def attempt() -> bytes:
            with self._doing(f"Reading {key}"):
                return bytes(obstore.get_range(self._store, key, start=offset, length=size))

        return self._again(attempt)

    def put(self, parcel: Parcel, progress: Callable[[str], None]) -> str:
        """Write every object, the one that publishes them last. Raises StepFailed, HostUnreachable."""
        present = self._again(partial(self._list, parcel.name))
        if present.keys() & PUBLISHERS:
            self._step_aside(parcel.name, present)
        for left_behind in present.keys() - parcel.files.keys():
            self._delete(f"{parcel.name}/{left_behind}")
        for name, entry in parcel.files.items():
            upload = partial(self._upload, parcel.directory / name, f"{parcel.name}/{name}", entry, progress)
            self._again(upload, progress)
        return f"{self.url.rstrip('/')}/{parcel.name}"

    def _upload(self, local: Path, key: str, entry: FileEntry, progress: Callable[[str], None]) -> None:
        import obstore

        parts = _parts(local, entry, Meter(f"{local.name} to {self.url}", entry.size, progress))
        with self._doing(f"Writing {key}"):
            if entry.size <= _PART:
                obstore.put(self._store, key, b"".join(parts), use_multipart=False)
            else:
                obstore.put(self._store, key, parts, chunk_size=_PART, max_concurrency=_AT_ONCE)

    def _step_aside(self, name: str, present: Mapping[str, int]) -> None:
        """Copy within the store, what publishes last; only then take the old ones away."""
        import obstore

        number = 1
        while self._again(partial(self._list, aside(name, number))).keys() & PUBLISHERS:
            number += 1
        publish_last = sorted(present, key=lambda file: file in PUBLISHERS)
        with self._doing(f"Moving {name} aside"):
            for file in publish_last:
                obstore.copy(self._store, f"{name}/{file}", f"{aside(name, number)}/{file}")
        for file in reversed(publish_last):
            self._delete(f"{name}/{file}")

    def get(self, name: str, file: str, entry: FileEntry, local: Path, progress: Callable[[str], None]) -> None:
        """Download one object. Raises StepFailed, HostUnreachable."""
        key, what = f"{name}/{file}", f"{file} from {self.url}"
        bring(local, entry, partial(self._range, key), what=what, say=progress, piece=_PIECE)

    def remove(self, name: str) -> None:
        """Remove what publishes it first, then the rest. Raises StepFailed, HostUnreachable."""
        present = self._again(partial(self._list, name))
        for file in sorted(present, key=lambda file: file not in PUBLISHERS):
            self._delete(f"{name}/{file}")

    def holds(self, name: str) -> bool:
        """Is any object there under that name?"""
        return bool(self._again(partial(self._list, name)))

    def off_control_plane(
        self,
        control_plane_addresses: Sequence[str],
        *,
        local_is_control_plane: bool,
        etcd_data_devices: Sequence[int] = (),  # noqa: ARG002 - of this machine, not of that one
        separate_storage: Sequence[str | Path] = (),  # noqa: ARG002 - of this machine, not of that one
    ) -> tuple[bool, str]:
        """Is the endpoint none of the control-plane nodes? An object store may well run on one of them."""
        host = urlsplit(self._settings.endpoint_url).hostname or ""
        if not host:
            return True, f"{self._place.host} is a bucket of a cloud"
        if same := same_machine([host], control_plane_addresses, self._resolve):
            return False, f"{host} is the control-plane node {same}"
        if is_this_machine([host], self._resolve) and local_is_control_plane:
            return False, f"{host} is this machine, a control-plane node"
        return True, f"{host} is not a control-plane node"

    @property
    def _store(self) -> ObjectStore:
        if self._opened is None:
            self._opened = open_store(self._place, self._settings)
        return self._opened

    def _delete(self, key: str) -> None:
        import obstore

        def attempt() -> None:
            with self._doing(f"Removing {key}"):
                obstore.delete(self._store, key)

        self._again(attempt)

    def _doing(self, what: str) -> AbstractContextManager[None]:
        return objects(f"{what} at {self.url}", self._place, self._settings)

    def _again(self, attempt: Callable[[], T], say: Callable[[str], None] = lambda _: None) -> T:
        return retried(attempt, pause=self._pause, say=say)


def _parts(local: Path, entry: FileEntry, meter: Meter) -> Iterator[bytes]:
    """The file piece by piece. It ends in StepFailed, which breaks the upload off, when it is not what `entry` says."""
    digest = hashlib.sha256()
    size = 0
    with storage(f"Reading {local}", local), open_regular(local) as file:
        while piece := os.read(file, _PART):
            digest.update(piece)
            size += len(piece)
            meter.moved(size)
            yield piece
    if FileEntry(digest.hexdigest(), size) != entry:
        raise StepFailed(
            f"{local} is not what its manifest says, so it was not copied",
            hint="Take a new snapshot: upgrade-guard resume",
        )
