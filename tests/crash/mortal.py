"""upgrade-guard as a program that may die, or that is let down by others: `python mortal.py WORDS`.

It passes a point right after each commit of the journal, right after each start of a program, and right after each end
of one, before that is recorded. Each point is written to the tape; at the one that the orders name, the process kills
itself with SIGKILL. Nothing of the product is replaced: only the standard library's Popen and SQLite connection are,
underneath it, so a command or a commit that is added tomorrow is a point by itself.

In the environment: UPGRADE_GUARD_TAPE, the file that points are appended to, one JSON object on a line;
UPGRADE_GUARD_ORDERS, JSON of `strikes` (labels to die at, each with its fate: `alone`, or `together` with the program
that runs), `number` (die at this many points of this process, 0 for never), `until` (die at a commit of that kind),
`faults` (labels of beginnings, each with how the program misbehaves, see misbehaving.py), and `environments` (a file
for the command line and the environment of every program).
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from crash.misbehaving import HurriedClock, misbehave
from crash.words import plain


class Tape:
    """Counts and writes down the points that this process passes, and kills it at one of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._path = os.environ.pop("UPGRADE_GUARD_TAPE")
        orders = json.loads(os.environ.pop("UPGRADE_GUARD_ORDERS"))
        self._strikes: dict[str, str] = orders["strikes"]
        self._number: int = orders["number"]
        self._until: str = orders.get("until", "nothing")
        self._faults: dict[str, str] = orders["faults"]
        self.environments: str = orders.get("environments", "")
        self._passed = 0
        self.state = ""
        self.step = ""
        self.ended = ""
        self.newest: int | None = None

    def fault_of(self, what: str) -> str:
        """How a program that is about to begin misbehaves, or ""."""
        return self._faults.get(f"{self.step} begun {what}".strip(), "")

    def passes(self, kind: str, what: str = "", child: subprocess.Popen[Any] | None = None, **more: Any) -> None:
        """One point. `child` is the program that runs or ran."""
        with self._lock:
            self._passed += 1
            label = f"{self.step} {kind} {what}".strip()
            struck = self._passed == self._number or (kind == "commit" and what == self._until)
            fate = self._strikes.get(label, "alone" if struck else "")
            point = {"label": label, "state": self.state, "step": self.step, "kind": kind, "what": what, **more}
            with open(self._path, "a") as tape:
                tape.write(json.dumps({**point, "process": os.getpid(), "number": self._passed, "fate": fate}) + "\n")
            if fate:
                if child is not None and fate == "together":
                    with suppress(ProcessLookupError):
                        os.killpg(child.pid, signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)


TAPE = Tape()
CLOCK = HurriedClock()


class MortalPopen(subprocess.Popen):  # type: ignore[type-arg]
    """A program whose start and end are points."""

    def __init__(self, args: Any, *rest: Any, **named: Any) -> None:
        self._words = [str(word) for word in args]
        node = re.match(r".*?/nodes/([^/:]+)/bin", (named.get("env") or {}).get("PATH", ""))
        self._what = plain(" ".join((node[1] if node else "here", *self._words)))
        self._told, self._looks = False, 0
        self._fault = TAPE.fault_of(self._what)
        super().__init__(misbehave(self._fault, args, named) if self._fault else args, *rest, **named)
        if TAPE.environments:
            environment = os.environ if named.get("env") is None else named["env"]
            with open(TAPE.environments, "a") as file:
                file.write(json.dumps([self._words, dict(environment)]) + "\n")
        TAPE.passes("begun", self._what, self, argv=self._words, fault=self._fault)

    def poll(self) -> int | None:
        """The point is passed once, when whoever waits learns that it has ended."""
        status = super().poll()
        if status is None and self._fault == "hangs":
            CLOCK.leap(self._looks)
            self._looks += 1
        if status is not None and not self._told:
            self._told = True
            TAPE.ended = self._what
            TAPE.passes("ended", self._what, argv=self._words, status=status, fault=self._fault)
        return status


class MortalConnection(sqlite3.Connection):
    """A connection whose commits are points."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        if TAPE.newest is None:
            TAPE.newest = self._seq()

    def commit(self) -> None:
        """Only what wrote something is a point."""
        writes = self.in_transaction
        super().commit()
        if writes:
            TAPE.passes("commit", self._what_is_new())

    def _what_is_new(self) -> str:
        """The newest row of history, and from it where the run stands."""
        seq, before = self._seq(), TAPE.newest
        TAPE.newest = seq
        with suppress(sqlite3.OperationalError, ValueError):
            [(TAPE.state,)] = self.execute("SELECT state FROM runs ORDER BY seq DESC LIMIT 1").fetchall()
            for number, name, outcome in self.execute("SELECT seq, name, outcome FROM steps ORDER BY seq DESC LIMIT 1"):
                TAPE.step = name if outcome == "started" else f"after {name}"
                if number == seq != before:
                    return str(outcome)
            for table in ("transitions", "approvals", "runs"):
                if seq != before and self.execute(f"SELECT 1 FROM {table} WHERE seq = ?", (seq,)).fetchall():
                    return table
            if seq != before and self.execute("SELECT 1 FROM commands WHERE seq = ?", (seq,)).fetchall():
                return TAPE.ended
        return "journal"  # made, migrated, or opened

    def _seq(self) -> int | None:
        """The number of the newest row of history; None while the journal is being made."""
        with suppress(sqlite3.OperationalError):
            for (seq,) in self.execute("SELECT seq FROM chain").fetchall():
                return int(seq)
        return None


def main() -> None:
    """Become upgrade-guard."""
    CLOCK.install()
    subprocess.Popen = MortalPopen  # type: ignore[misc]
    connect = sqlite3.dbapi2.connect

    def mortal(*given: Any, **named: Any) -> sqlite3.Connection:
        return connect(*given, **{"factory": MortalConnection, **named})

    sqlite3.connect = sqlite3.dbapi2.connect = mortal
    sys.argv[0] = str(Path(sys.executable).with_name("upgrade-guard"))
    from upgrade_guard.cli.main import main as upgrade_guard

    upgrade_guard()


if __name__ == "__main__":
    main()
