"""Which commands that change a node were run again by a later process, although they had ended well before."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from crash.tape import Point
from crash.words import plain

# Each of these brings its step about by itself and can be seen on the cluster: the probe of the next process must see
# it. `kubeadm upgrade apply` and `kubeadm upgrade node` are not among them, because no look at a cluster tells whether
# they came to their end; neither is `etcdutl snapshot restore`, whose directory does not tell either; and of a rollback
# not the restart of a kubelet, whose version does not tell whether it began before its files came back.
ONCE = (
    ("apt-get", "install"),
    ("systemctl", "restart"),
    ("systemctl", "stop"),
    ("systemctl", "start"),
    ("drain",),
    ("uncordon",),
)


@dataclass(frozen=True)
class Repeated:
    """A command that changes a node, which ended well and was run again by another process."""

    step: str
    what: str


def repeated(tape: Iterable[Point], changing: frozenset[str]) -> tuple[Repeated, ...]:
    """Each of them once, in the order in which they were repeated."""
    well: dict[Repeated, int] = {}
    again: dict[Repeated, None] = {}
    for point in tape:
        key = Repeated(point.step, point.what)
        if point.kind == "ended" and point.status == 0:
            well[key] = point.process
        if point.kind == "begun" and point.what in changing and well.get(key, point.process) != point.process:
            again[key] = None
    return tuple(again)


def without_reason(again: Iterable[Repeated], deaths: Iterable[Point]) -> tuple[Repeated, ...]:
    """Those that had no business to be repeated: their step was not in doubt, or its probe can see them."""
    in_doubt = {point.step for point in deaths}
    return tuple(one for one in again if one.step not in in_doubt or _is_seen(one))


def changing(rows: Iterable[dict[str, Any]]) -> frozenset[str]:
    """The commands of a journal that change a node, as the tape writes them."""
    return frozenset(plain(" ".join((row["host"], *json.loads(row["argv"])))) for row in rows)


def _is_seen(one: Repeated) -> bool:
    words = {word.rpartition("/")[2] for word in one.what.split()}
    if "restart" in words and one.step.startswith("rollback/"):
        return False
    if "--download-only" in words:
        return False  # nothing is installed by it
    return any(set(once) <= words for once in ONCE)
