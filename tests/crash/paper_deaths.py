"""Lets one scenario die at every point where the journal was written and inside every act, and then go on.

Run as a program (`python paper_deaths.py SCENARIO FOLDER`), because it forks: each death is a child that kills itself
with SIGKILL, each resume is another child. Prints one JSON line for each point.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

from unit.engine.paper import MAX_AGE
from unit.engine.room import RUN, Room

from upgrade_guard.errors import DecisionNeeded, RollbackFailed, RolledBack, StepFailed
from upgrade_guard.journal import Journal
from upgrade_guard.model.run import FINAL

ATTEMPTS = 6  # so often an operator types `resume` before giving up


class Fate:
    """Counts the points that are passed, and strikes at one of them."""

    def __init__(self, strikes_at: int) -> None:
        self.passed = 0
        self.strikes_at = strikes_at

    def passes(self) -> None:
        self.passed += 1
        if self.passed == self.strikes_at:
            os.kill(os.getpid(), signal.SIGKILL)


class MortalJournal(Journal):
    """A journal whose process may die right after a commit."""

    fate = Fate(0)

    def start(self, *args: Any, **kwargs: Any) -> Any:
        number = super().start(*args, **kwargs)
        self.fate.passes()
        return number

    def conclude(self, *args: Any, **kwargs: Any) -> None:
        super().conclude(*args, **kwargs)
        self.fate.passes()

    def move(self, *args: Any, **kwargs: Any) -> Any:
        transition = super().move(*args, **kwargs)
        self.fate.passes()
        return transition

    def void(self, *args: Any, **kwargs: Any) -> None:
        super().void(*args, **kwargs)
        self.fate.passes()


class Mortals(dict[str, Callable[[], None]]):
    """What happens inside every act: the process may die, then what the scenario says."""

    def __init__(self, fate: Fate) -> None:
        super().__init__()
        self.fate = fate

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> Callable[[], None]:
        def happen() -> None:
            self.fate.passes()
            self.get(name, lambda: None)()

        return happen


def failing(room: Room, name: str, *, first_time_only: bool) -> Callable[[], None]:
    def fail() -> None:
        if not first_time_only or room.acted(name) == 1:
            raise StepFailed(f"{name} failed")

    return fail


def straight(room: Room) -> None:
    room.go_on()


def lanes(room: Room) -> None:
    room.workflow.at_once = 2
    room.go_on()


def rollback(room: Room) -> None:
    kubelet = "control-plane/cp1/kubelet"
    room.cluster.trouble[kubelet] = failing(room, kubelet, first_time_only=False)
    room.go_on()


def rollback_fails_once(room: Room) -> None:
    room.cluster.trouble["rollback/restore"] = failing(room, "rollback/restore", first_time_only=True)
    rollback(room)


def worker_put_back(room: Room) -> None:
    room.cluster.trouble["nodes/w1/packages"] = failing(room, "nodes/w1/packages", first_time_only=True)
    room.go_on()


def proof_grows_old(room: Room) -> None:
    def age() -> None:
        if room.acted("copies/nas") == 1:
            room.clock.pause(MAX_AGE + 1)

    room.cluster.aftermath["copies/nas"] = age
    room.go_on()


def aborted(room: Room) -> None:
    if room.journal.latest(RUN, "plan/approve") is None:
        room.cluster.trouble["plan/approve"] = failing(room, "plan/approve", first_time_only=False)
        with suppress(DecisionNeeded):
            room.go_on(auto_rollback=False)
    room.runner().abort(RUN)


def abort_given_up(room: Room) -> None:
    """The process dies while it aborts, or just before; the operator then resumes."""
    if room.journal.latest(RUN, "plan/approve") is None:
        aborted(room)
    else:
        room.go_on(auto_rollback=False)


# How it may end, and the first point that differs from the straight way.
SCENARIOS: dict[str, tuple[Callable[[Room], None], frozenset[str], int]] = {
    "straight": (straight, frozenset({"completed"}), 1),
    "lanes": (lanes, frozenset({"completed"}), 41),
    "rollback": (rollback, frozenset({"rolled-back"}), 37),
    "rollback-fails-once": (rollback_fails_once, frozenset({"rolled-back"}), 45),
    "worker-put-back": (worker_put_back, frozenset({"completed"}), 45),
    "proof-grows-old": (proof_grows_old, frozenset({"completed"}), 17),
    "aborted": (aborted, frozenset({"aborted"}), 25),
    "abort-given-up": (abort_given_up, frozenset({"aborted", "completed"}), 25),
}


def open_room(folder: Path, fate: Fate) -> Room:
    MortalJournal.fate = fate
    room = Room(folder, journal_kind=MortalJournal)
    steps = room.journal.steps(RUN)
    if steps:  # time goes on where it stopped
        room.clock.time = max(room.clock.time, steps[-1].at)
    room.cluster.trouble = Mortals(fate)
    room.cluster.aftermath = Mortals(fate)
    return room


def sit_through(scenario: Callable[[Room], None], folder: Path, fate: Fate) -> None:
    """An operator's sitting: whatever asks to be resumed is resumed, until the run has ended."""
    with closing(open_room(folder, fate)) as room:
        for _ in range(ATTEMPTS):
            if room.state in FINAL:
                return
            with suppress(DecisionNeeded, RollbackFailed, RolledBack):
                scenario(room)
        if room.state not in FINAL:
            raise AssertionError(f"still {room.state.value} after {ATTEMPTS} attempts")


def in_a_child(work: Callable[[], None]) -> int:
    """The wait status' exit code; negative: the signal that ended it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            if status:
                traceback.print_exc()
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def end_of(folder: Path) -> dict[str, Any]:
    with closing(Room(folder)) as room:
        return {
            "state": room.state.value,
            "chain": list(room.journal.verify()),
            "kubelet": room.cluster.has("control-plane/cp1/kubelet"),
        }


def main(name: str, base: Path) -> None:
    scenario, ends, first = SCENARIOS[name]
    with closing(Room(base / "begun")):
        pass  # the run is begun, once for all deaths
    for point in count(first):
        folder = base / f"{point}"
        shutil.copytree(base / "begun", folder)
        died = in_a_child(lambda: sit_through(scenario, folder, Fate(point)))  # noqa: B023
        resumed = 0
        if died == -signal.SIGKILL:
            resumed = in_a_child(lambda: sit_through(scenario, folder, Fate(0)))  # noqa: B023
        end = end_of(folder)
        well = resumed == 0 and end["state"] in ends and not end["chain"]
        print(json.dumps({"point": point, "died": died, "resumed": resumed, "well": well, **end}), flush=True)
        if died != -signal.SIGKILL:
            return
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
