"""One run that dies again and again, and an operator who types `resume` each time."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crash.power_cut import PowerLine
from crash.tape import POWER_CUT, Point, Strike, read
from scenario.stage import TARGET, Answer, Stage

from upgrade_guard.lab import cluster

TESTS = Path(__file__).parent.parent
PATHS = os.pathsep.join((str(TESTS), str(TESTS.parent)))
MORTAL = (str(Path(__file__).with_name("mortal.py")),)
FINAL = ("completed", "rolled-back", "aborted")
SIDES = 3  # every so many deaths, the next process dies too, soon after it has begun
PATIENCE = 4  # so often the operator types `resume` at a run that stops by itself


@dataclass
class Story:
    """How a run went: the points that its processes passed, where they died, and how they ended by themselves."""

    tape: tuple[Point, ...] = ()
    deaths: list[Point] = field(default_factory=list)
    in_resumes: list[Point] = field(default_factory=list)
    ends: list[Answer] = field(default_factory=list)
    unmet: tuple[Strike, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """An upgrade and what happens to it. `ends` is the exit code of the process that finishes it."""

    name: str
    faults: tuple[str, ...]
    state: str
    ends: int
    control_planes: int = 1


UPGRADE = Scenario("upgrade", (), "completed", 0)
ROLLBACK = Scenario("rollback", ("apply-fails-after-etcd",), "rolled-back", 7)
SCENARIOS = {one.name: one for one in (UPGRADE, ROLLBACK)}


def raise_curtain(directory: Path, scenario: Scenario) -> Stage:
    """A new lab in that directory, always the same one: whatever was there is taken down."""
    cluster.down(directory)
    planes = scenario.control_planes
    lab = cluster.up(directory, control_planes=planes, pace=0.0, patience=5.0, grace=0.5, faults=scenario.faults)
    stage = Stage(lab, MORTAL)
    # A proof that was put back with its lab is as old as the copy.
    stage.configure(settle_time='"1s"', snapshot_max_age='"24h"')
    return stage


def live(stage: Stage, strikes: Sequence[Strike] = (), power: PowerLine | None = None) -> Story:
    """Run, die at every strike, resume, until the run has ended. Power cuts need a power line."""
    story, left = Story(), {strike.point.label: strike for strike in strikes}
    tape = new_tape(stage)
    soon = 0
    while True:
        orders = {"strikes": {label: strike.fate for label, strike in left.items()}, "number": soon, "faults": {}}
        answer = go_on(stage, tape, orders, {} if power is None else power.plugged())
        story.tape = read(tape)
        if answer.exit_code == -signal.SIGKILL:
            died = story.tape[-1]
            assert died.fate, f"killed by somebody else: {answer}"
            if left.pop(died.label, None) is None:
                story.in_resumes.append(died)
            else:
                story.deaths.append(died)
            soon = 0 if soon or len(story.deaths) % SIDES else 1 + len(story.deaths) % 11
            if died.fate == POWER_CUT and power is not None:
                power.cut()
        else:
            story.ends.append(answer)
            soon = 0
        if (stage.states() or [""])[-1] in FINAL or len(story.ends) > PATIENCE:
            story.unmet = tuple(left.values())
            return story


def new_tape(stage: Stage) -> Path:
    """An empty tape for that lab."""
    tape = stage.lab.directory.with_name(f"{stage.lab.directory.name}.tape")
    tape.write_text("")
    return tape


def go_on(stage: Stage, tape: Path, orders: Mapping[str, Any], environment: Mapping[str, str] = {}) -> Answer:
    """`run`, or `resume` when there is a run, with orders."""
    told = {"UPGRADE_GUARD_TAPE": str(tape), "UPGRADE_GUARD_ORDERS": json.dumps(orders), "PYTHONPATH": PATHS}
    words = ("resume",) if stage.states() else ("run", TARGET)
    return stage.guard(*words, "--yes", ends=None, environment={**told, **environment})
