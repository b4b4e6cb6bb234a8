"""Archives of node files on this machine. An archive is never trusted: it is read in full before anything comes out."""

from __future__ import annotations

import gzip
import hashlib
import io
import posixpath
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from upgrade_guard.errors import Refused
from upgrade_guard.vault.manifest import NodeFile

MEMBER_LIMIT = 50_000  # a control plane has some hundred
CONTENT_LIMIT = 4 << 30  # bytes of all files together
_ONE_LIMIT = 16 << 20  # bytes of a file that is looked into
_CHUNK = 1 << 20
_READ_LIMIT = 8 << 20  # bytes that are ever read at once: contents come in chunks, and no header is as long
_LINKS_FOLLOWED = 8


@dataclass(frozen=True)
class NodeArchive:
    """What an archive holds, by absolute path. `hard_links` maps a path to the one whose content it shares."""

    files: dict[str, NodeFile]
    hard_links: dict[str, str]


def archive_name(path: str) -> str:
    """The name of an absolute path in an archive: without the leading slash."""
    return path.lstrip("/")


def read_archive(local: Path) -> NodeArchive:
    """List an archive with the digest of every file in it. Extracts nothing.

    Raises Refused for one that is damaged, or that could write elsewhere than it says: absolute names, `..`, names
    twice, devices, sparse files, hard links to what is not in it, and anything beneath a symbolic link. So is one that
    holds more files or more content than any of ours.
    """
    files: dict[str, NodeFile] = {}
    hard_links: dict[str, str] = {}
    content = 0
    with _opened(local) as archive:
        for member in archive:
            path = _path(local, member.name)
            if len(files) >= MEMBER_LIMIT:
                raise _hostile(local, f"it holds more than {MEMBER_LIMIT} files")
            if member.issparse():  # ours never are, and a few bytes of one are read as terabytes of nothing
                raise _hostile(local, f"{member.name!r} is sparse")
            content += member.size
            if content > CONTENT_LIMIT:
                raise _hostile(local, f"it holds more than {CONTENT_LIMIT >> 20} MiB")
            if path in files:
                raise _hostile(local, f"{member.name!r} is in it twice")
            if member.islnk():
                source = _path(local, member.linkname)
                if source not in files or files[source].kind != "file":
                    raise _hostile(local, f"{member.name!r} is a hard link to {member.linkname!r}, which is not in it")
                hard_links[path] = source
                sha256 = files[source].sha256
            else:
                sha256 = _sha256(archive.extractfile(member)) if member.isfile() else ""
            files[path] = NodeFile(
                path=path,
                kind=_kind(local, member),
                mode=member.mode & 0o7777,
                uid=member.uid,
                gid=member.gid,
                sha256=sha256,
                link_to=member.linkname if member.issym() else "",
            )
    for path in files:
        for parent in _parents(path):
            if parent in files and files[parent].kind != "directory":
                raise _hostile(local, f"{path!r} lies beneath the {files[parent].kind} {parent!r}")
    return NodeArchive(files, hard_links)


def read_one(local: Path, path: str) -> bytes | None:
    """The content that the file `path` had; None when it was not there. Symbolic links are followed within the archive.

    Raises Refused for an archive that cannot be trusted.
    """
    found = read_archive(local)
    for _ in range(_LINKS_FOLLOWED):
        file = found.files.get(path)
        if file is None or file.kind == "directory":
            return None
        if file.kind == "file":
            with _opened(local) as archive:
                member = archive.getmember(archive_name(found.hard_links.get(path, path)))
                if member.size > _ONE_LIMIT:
                    raise _hostile(local, f"{path!r} is larger than {_ONE_LIMIT >> 20} MiB")
                stream = archive.extractfile(member)
                return stream.read() if stream else None
        path = link_target(file)
    return None


def link_target(link: NodeFile) -> str:
    """The absolute path that a symbolic link names."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(link.path), link.link_to))


class _Bounded(io.RawIOBase):
    """What an archive unpacks to, as tarfile reads it: no header and no content of a length that only a bomb has."""

    def __init__(self, content: gzip.GzipFile) -> None:
        self._content = content

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes. Raises TarError."""
        if not 0 <= size <= _READ_LIMIT:
            raise tarfile.ReadError(f"it has a header of {size >> 20} MiB")
        self._within(self.tell() + size)
        return self._content.read(size)

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Go on from there. Raises TarError."""
        self._within(position)
        return self._content.seek(position, whence)

    def tell(self) -> int:
        """Bytes from the beginning."""
        return self._content.tell()

    def seekable(self) -> bool:
        """Yes, by reading on, or again from the beginning."""
        return True

    def _within(self, position: int) -> None:
        if position > CONTENT_LIMIT:
            raise tarfile.ReadError(f"it holds more than {CONTENT_LIMIT >> 20} MiB")


@contextmanager
def _opened(local: Path) -> Iterator[tarfile.TarFile]:
    try:
        with gzip.open(local) as content, tarfile.open(fileobj=_Bounded(content), mode="r:") as archive:
            yield archive
    except (tarfile.TarError, zlib.error, EOFError, OSError, KeyError, ValueError) as error:
        raise Refused(
            f"the archive {local} cannot be read: {error}", hint="Use another copy of this bundle."
        ) from error


def _path(local: Path, name: str) -> str:
    plain = name.removesuffix("/")
    if not plain or plain.startswith("/") or posixpath.normpath(plain) != plain or plain.split("/")[0] == "..":
        raise _hostile(local, f"{name!r} is not a plain name below /")
    return f"/{plain}"


def _kind(local: Path, member: tarfile.TarInfo) -> str:
    if member.isfile() or member.islnk():
        return "file"
    if member.isdir():
        return "directory"
    if member.issym():
        return "link"
    raise _hostile(local, f"{member.name!r} is neither a file nor a directory nor a link")


def _parents(path: str) -> Iterator[str]:
    while (path := posixpath.dirname(path)) != "/":
        yield path


def _sha256(stream: IO[bytes] | None) -> str:
    digest = hashlib.sha256()
    while stream is not None and (chunk := stream.read(_CHUNK)):
        digest.update(chunk)
    return digest.hexdigest()


def _hostile(local: Path, why: str) -> Refused:
    return Refused(
        f"the archive {local} is not used: {why}",
        hint="Use another copy of this bundle, and find out who changed this one.",
    )
