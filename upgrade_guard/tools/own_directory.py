"""Is a directory on a node ours alone? The question of hosts/ownership.py, asked of another machine by find."""

from __future__ import annotations

import posixpath
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from upgrade_guard.errors import Refused
from upgrade_guard.hosts.base import Host
from upgrade_guard.model.command import Command, Result
from upgrade_guard.tools.commands import READ_TIMEOUT, reads, run_checked, unexpected

OURSELVES = "/proc/self/."
"""Belongs to the user as whom commands run there."""

_STICKY, _OTHERS_MAY_WRITE = stat.S_ISVTX, stat.S_IWGRP | stat.S_IWOTH
_LINKS_FOLLOWED = 40
_FIELDS = 6
_LOOK = ("-maxdepth", "0", "-printf", r"%p\0%y\0%m\0%U\0%G\0%l\0")


@dataclass(frozen=True)
class OwnedPath:
    """What is at a path: `kind` as find names it (`d`, `l`), permission bits, owner, group, where a link points."""

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    link: str


_ROOT = OwnedPath(OURSELVES, "d", 0o555, 0, 0, "")


class OwnDirectoryHost:
    """The same host, which looks once whose `directory` is, before the first command that has to do with it.

    It must belong to us or to root there, and so must every directory and link on the way to it, and nobody else may
    write there: somebody who can exchange what is in it has his programs run and his notes believed. A sticky directory
    may be on the way. Nothing that is not there yet is asked for.
    """

    def __init__(self, host: Host, directory: str) -> None:
        self._host = host
        self._directory = posixpath.normpath(directory)
        self._is_ours = False

    @property
    def beneath(self) -> Host:
        """The host itself."""
        return self._host

    @property
    def name(self) -> str:
        """That of the host."""
        return self._host.name

    def run(self, command: Command) -> Result:
        """As the host runs it. Raises Refused before, when the directory is not ours alone."""
        if not self._is_ours and any(self._directory in str(word) for word in command.argv):
            refuse_foreign_directory(self._host, self._directory)
            self._is_ours = True
        return self._host.run(command)


def refuse_foreign_directory(host: Host, directory: str) -> None:
    """Raise Refused unless the directory on that host, and all on the way to it, is ours or root's alone."""
    asked: set[str] = set()
    for _ in range(_LINKS_FOLLOWED):
        way = tuple(_way(directory))
        found = _look(host, way)
        us = found.get(OURSELVES, _ROOT)
        passed = [found[path] for path in way if path in found]
        for place in passed:
            if place.path not in asked:
                _judge(host, place, us, is_last=place.path == directory)
                asked.add(place.path)
        link = next((place for place in passed if place.kind == "l"), None)
        if link is None:
            return
        target = posixpath.join(posixpath.dirname(link.path), link.link)
        directory = posixpath.normpath(f"{target}/{posixpath.relpath(directory, link.path)}")
    raise Refused(f"{directory} on {host.name} leads nowhere: too many symbolic links", hint="name another work_dir")


def _look(host: Host, paths: tuple[str, ...]) -> dict[str, OwnedPath]:
    # Exit status 1: one of them is not there.
    argv = ("find", OURSELVES, *paths, *_LOOK)
    return parse_places(run_checked(host, argv, timeout=READ_TIMEOUT, accept=(0, 1)).stdout)


@reads("find")
def parse_places(text: str) -> dict[str, OwnedPath]:
    """What `find -printf '%p\\0%y\\0%m\\0%U\\0%G\\0%l\\0'` prints, by path."""
    words = text.split("\0")[:-1]
    if len(words) % _FIELDS:
        raise unexpected("find", text.replace("\0", " "))
    rows = (words[start : start + _FIELDS] for start in range(0, len(words), _FIELDS))
    return {row[0]: OwnedPath(row[0], row[1], int(row[2], 8), int(row[3]), int(row[4]), row[5]) for row in rows}


def _way(directory: str) -> Iterator[str]:
    """`/`, and every directory on the way to this one, itself last."""
    here = "/"
    yield here
    for part in directory.strip("/").split("/"):
        here = posixpath.join(here, part)
        yield here


def _judge(host: Host, place: OwnedPath, us: OwnedPath, *, is_last: bool) -> None:
    where, shown = f"{place.path} on {host.name}", shlex.quote(place.path)
    if place.uid not in (0, us.uid):
        what = "is a symbolic link of" if place.kind == "l" else "belongs to"
        raise Refused(
            f"{where} {what} user {place.uid}, who could change what is in it; nothing was read there",
            hint=f"look there whose it is: ls -ld {shown}; then give it to root, or name another work_dir of the node",
        )
    sticky = place.mode & _STICKY and not is_last
    # The group that a user has for himself alone has his number, on every system that makes such groups.
    own_group = place.gid == us.gid == us.uid and not place.mode & stat.S_IWOTH
    if place.kind != "l" and place.mode & _OTHERS_MAY_WRITE and not sticky and not own_group:
        raise Refused(
            f"{where} can be written by others, so what is in it could be anybody's; nothing was read there",
            hint=f"look through it there, then make it private: chmod go-w {shown}",
        )
