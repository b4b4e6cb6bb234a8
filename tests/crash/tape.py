"""What a run passed on its way: the points at which a process can die, read from the tape of a recorded run."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Point:
    """One moment of a run. `kind` is `begun` or `ended` (of a program) or `commit` (of the journal).

    `state` and `step` are where the journal said that the run stood; `fate` is how the process died there, or "", and
    `fault` how the program misbehaved.
    """

    label: str
    state: str
    step: str
    kind: str
    what: str
    fate: str = ""
    process: int = 0
    number: int = 0
    argv: tuple[str, ...] = ()
    status: int | None = None
    fault: str = ""


# How a process dies: by itself, with the program that it runs, or with its whole machine.
ALONE, TOGETHER, POWER_CUT = "alone", "together", "power cut"


@dataclass(frozen=True)
class Strike:
    """A death to die: at the first passing of a point."""

    point: Point
    fate: str


def read(path: Path) -> tuple[Point, ...]:
    """Every point of a tape, in order."""
    return tuple(_point(json.loads(line)) for line in path.read_text().splitlines())


def _point(row: dict[str, Any]) -> Point:
    return Point(**{**row, "argv": tuple(row.get("argv", ()))})


def distinct(points: Iterable[Point]) -> tuple[Point, ...]:
    """The first passing of each point: a wait that polls passes the same ones again and again."""
    found: dict[str, Point] = {}
    for point in points:
        found.setdefault(point.label, point)
    return tuple(found.values())


def kills(points: Iterable[Point], changing: frozenset[str]) -> tuple[Strike, ...]:
    """At each point alone, and where a program has begun to change a node also together with it."""
    return tuple(
        Strike(point, fate)
        for point in points
        for fate in ((ALONE, TOGETHER) if point.kind == "begun" and point.what in changing else (ALONE,))
    )


def power_cuts(points: Iterable[Point]) -> tuple[Strike, ...]:
    """At each commit: what was synced since the one before it is seen there."""
    return tuple(Strike(point, POWER_CUT) for point in points if point.kind == "commit")


def chains(every: Sequence[Strike], length: int) -> tuple[tuple[Strike, ...], ...]:
    """Every strike in one chain, `length` of them in each at most, as far from each other as they can be."""
    count = max(1, -(-len(every) // length))
    return tuple(tuple(every[first::count]) for first in range(count))


def sample(every: Sequence[Strike], count: int, seed: str) -> tuple[Strike, ...]:
    """So many of them, in as many states of the run as can be: the same ones for the same seed and run."""
    chance = random.Random(seed)
    mixed = chance.sample(every, len(every))
    firsts = {strike.point.state: strike for strike in reversed(mixed)}
    chosen = set([*firsts.values(), *(strike for strike in mixed if strike not in firsts.values())][:count])
    return tuple(strike for strike in every if strike in chosen)
