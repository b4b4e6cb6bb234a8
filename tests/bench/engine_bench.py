"""What the engine costs a step: `python tests/bench/engine_bench.py`. Under 5 ms is wanted; nothing asserts it.

A run of empty steps on a real journal, beside the two commits of the bare journal (start and conclude) that it makes.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from upgrade_guard.engine.interruption import Interruption, SystemClock
from upgrade_guard.engine.runner import Runner
from upgrade_guard.engine.watcher import SilentWatcher
from upgrade_guard.errors import Refused
from upgrade_guard.journal import Journal
from upgrade_guard.model.evidence import Evidence
from upgrade_guard.model.run import Event, Outcome, State
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step

RUN = "bench"


def empty_steps(number: int) -> tuple[Step, ...]:
    """Steps that act without doing anything, and leave a result of an ordinary size."""
    acted: set[str] = set()

    def step(name: str) -> Step:
        def probe(facts: Facts) -> Seen:
            return Done({"path": f"/var/lib/{name}", "sha256": "ab" * 32}) if name in acted else NotDone("not yet")

        return Step(name, name, probe, lambda facts: acted.add(name))

    return tuple(step(f"bench/{index}") for index in range(number))


class OnePhase:
    """All steps in one phase; after it the run is refused, which ends the measurement."""

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self.steps = steps

    def ahead(self, state: State, facts: Facts) -> tuple[Phase, ...]:
        """The phase, once."""
        if state is not State.STARTED:
            raise Refused("measured")
        return (Phase("bench", "Bench", self.steps, Event.CLUSTER_INSPECTED),)

    def evidence(self, facts: Facts) -> Evidence:
        """Never asked."""
        raise NotImplementedError

    def aborting(self, facts: Facts) -> tuple[Phase, ...]:
        """Nothing."""
        return ()

    def control_plane_touched(self, facts: Facts) -> bool:
        """Never."""
        return False


def journal_in(folder: str) -> Journal:
    """A journal with a run that has begun."""
    journal = Journal.open(Path(folder) / "state" / "journal.sqlite3", now=lambda: datetime.now(UTC))
    journal.begin(
        run_id=RUN,
        cluster="bench",
        from_version="v1.27.16",
        target="v1.28.0",
        offsite_required=1,
        snapshot_max_age=1800.0,
        settings={},
        operator="bench",
        host="here",
        tool_version="0",
    )
    return journal


def with_engine(number: int) -> float:
    """Milliseconds a step."""
    with tempfile.TemporaryDirectory() as folder, closing(journal_in(folder)) as journal:
        interruption = Interruption()
        workflow = OnePhase(empty_steps(number))
        runner = Runner(journal, workflow, SilentWatcher(), SystemClock(interruption), interruption)
        began = time.perf_counter()
        with suppress(Refused):
            runner.go_on(RUN)
        return (time.perf_counter() - began) / number * 1000


def bare_journal(number: int) -> float:
    """Milliseconds for the two commits of a step."""
    with tempfile.TemporaryDirectory() as folder, closing(journal_in(folder)) as journal:
        steps = empty_steps(number)
        began = time.perf_counter()
        for step in steps:
            attempt = journal.start(RUN, step)
            journal.conclude(
                RUN, step.name, attempt, Outcome.SUCCEEDED, result={"path": step.name, "sha256": "ab" * 32}
            )
        return (time.perf_counter() - began) / number * 1000


def main() -> None:
    """Print the table."""
    table = Table("steps in the run", "whole step", "bare journal", "the engine's part", title="Milliseconds a step")
    for number in (20, 100, 400):
        whole, bare = with_engine(number), bare_journal(number)
        table.add_row(str(number), f"{whole:.2f}", f"{bare:.2f}", f"{whole - bare:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
