"""A run on paper in a process of its own, to send real signals to. Says on stdout what happens, and obeys stdin.

`python interrupted_run.py FOLDER HOW`: in the control plane's first step it either waits for a line on stdin, as for a
command that must be finished (`command`), or pauses on the real clock (`pause`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from unit.engine.paper import Notes
from unit.engine.room import RUN, Room

from upgrade_guard.engine.interruption import Interruption, SystemClock
from upgrade_guard.engine.runner import Runner
from upgrade_guard.errors import Interrupted


class Spoken(Notes):
    """Says at once what matters to the test."""

    def stopping(self, reason: str) -> None:
        print(f"stopping {reason}", flush=True)

    def gate_judged(self, reasons: Sequence[str], notes: Sequence[str] = ()) -> None:
        """Nothing to say."""


def main(folder: Path, how: str) -> int:
    interruption = Interruption()
    clock = SystemClock(interruption)

    def act() -> None:
        print("acting", flush=True)
        if how == "command":
            sys.stdin.readline()
        else:
            clock.pause(600)

    with closing(Room(folder)) as room, interruption.install():
        room.cluster.trouble["control-plane/cp1/apply"] = act
        try:
            Runner(room.journal, room.workflow, Spoken(), clock, interruption).go_on(RUN)
        except Interrupted as stopped:
            print(stopped.message, flush=True)
            return 130
        except KeyboardInterrupt as stopped:
            print(stopped, flush=True)
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
