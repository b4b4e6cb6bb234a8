"""Places on this machine that nobody but us and root can change: asked before anything in them is believed or run."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from upgrade_guard.errors import Refused

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_LINKS_FOLLOWED = 40  # as the kernel does (path_resolution(7))


def refuse_foreign(path: Path, us: int | None = None) -> None:
    """Raise Refused unless `path`, and all on the way to it, is ours or root's, and nobody else may write there.

    As sshd does it (StrictModes). A directory that is sticky, such as /tmp, may be on the way: nobody can exchange what
    is ours in it. A group that has nobody but us, which many systems give to each user, is no others. What is not there
    yet is made by us. `us` is a user id; this process's own by default.
    """
    us = os.geteuid() if us is None else us
    way = list(_way(path))
    for place, found in way:
        _refuse_owner(place, found, us)
        sticky_on_the_way = bool(found.st_mode & stat.S_ISVTX) and place != way[-1][0]
        if stat.S_ISLNK(found.st_mode) or sticky_on_the_way:
            continue
        _refuse_writers(place, found, us)


def refuse_foreign_content(directory: Path, depth: int = 2, us: int | None = None) -> None:
    """The same for what is in a directory of ours, `depth` levels down: it may have been there before it was ours."""
    us = os.geteuid() if us is None else us
    try:
        places = sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for place in places:
        try:
            found = place.lstat()
        except FileNotFoundError:
            continue  # another process of ours has removed it meanwhile
        if stat.S_ISLNK(found.st_mode):
            refuse_foreign(place, us)
            continue
        _refuse_owner(place, found, us)
        _refuse_writers(place, found, us)
        if stat.S_ISDIR(found.st_mode) and depth > 1:
            refuse_foreign_content(place, depth - 1, us)


def is_own_group(group: int, us: int) -> bool:
    """Is it the group of that user alone: his main one, called like him, without another member?"""
    try:
        user, found = pwd.getpwuid(us), grp.getgrgid(group)
    except KeyError:
        return False
    return user.pw_gid == group and found.gr_name == user.pw_name and set(found.gr_mem) <= {user.pw_name}


def _way(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every directory and link that is passed on the way to `path`, links followed, the outermost first."""
    here, links = Path("/"), 0
    yield here, here.lstat()
    left = list(reversed(path.absolute().parts[1:]))
    while left:
        part = left.pop()
        if part == "..":
            here = here.parent
            continue
        try:
            found = (here / part).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return
        yield here / part, found
        if not stat.S_ISLNK(found.st_mode):
            here /= part
            continue
        links += 1
        if links > _LINKS_FOLLOWED:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = (here / part).readlink()
        here = Path("/") if target.is_absolute() else here
        left += reversed(target.parts[1:] if target.is_absolute() else target.parts)


def _refuse_owner(place: Path, found: os.stat_result, us: int) -> None:
    if found.st_uid in (0, us):
        return
    what = "is a symbolic link of" if stat.S_ISLNK(found.st_mode) else "belongs to"
    raise Refused(
        f"{place} {what} user {found.st_uid}, who could change what is in it; nothing was read from it",
        hint=f"look whose it is: ls -ld {shlex.quote(str(place))}; then name a directory of your own: "
        "upgrade-guard --state-dir DIR, or vault.path in the configuration",
    )


def _refuse_writers(place: Path, found: os.stat_result, us: int) -> None:
    writers = found.st_mode & _OTHERS_MAY_WRITE
    if not writers or (writers == stat.S_IWGRP and is_own_group(found.st_gid, us)):
        return
    who = "everyone" if found.st_mode & stat.S_IWOTH else f"group {found.st_gid}"
    raise Refused(
        f"{place} can be written by {who}, so what is in it could be anybody's; nothing was read from it",
        hint=f"look through it, then make it private: chmod go-w {shlex.quote(str(place))}",
    )
