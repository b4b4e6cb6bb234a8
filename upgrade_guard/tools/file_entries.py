"""What lies in directories, as values."""

from __future__ import annotations

from dataclasses import dataclass

from upgrade_guard.tools.commands import reads, unexpected

_FIELDS = 8
_KINDS = {"f": "file", "d": "directory", "l": "link"}


@dataclass(frozen=True)
class Entry:
    """One thing on a node. `kind`: "file", "directory", "link" or "other"; `mode` are permission bits.

    `size` is in bytes, `modified` in seconds since 1970, `link` where a link points.
    """

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    modified: float = 0.0
    link: str = ""


@reads("find")
def parse_entries(text: str) -> tuple[Entry, ...]:
    """What `find -printf '%p\\0%y\\0%m\\0%U\\0%G\\0%s\\0%T@\\0%l\\0'` prints, sorted by path."""
    words = text.split("\0")[:-1]
    if len(words) % _FIELDS:
        raise unexpected("find", text.replace("\0", " "))
    entries = []
    for start in range(0, len(words), _FIELDS):
        path, kind, mode, uid, gid, size, modified, link = words[start : start + _FIELDS]
        numbers = (int(mode, 8), int(uid), int(gid), int(size), float(modified))
        entries.append(Entry(path, _KINDS.get(kind, "other"), *numbers, link))
    return tuple(sorted(entries, key=lambda entry: entry.path))
