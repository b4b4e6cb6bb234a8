"""Everything a run needs, on a real journal in a temporary directory; a new Runner stands for a new process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unit.engine.paper import MAX_AGE, FakeClock, Notes, PaperCluster, PaperWorkflow

from upgrade_guard.engine.interruption import Interruption
from upgrade_guard.engine.runner import Runner
from upgrade_guard.journal import Journal
from upgrade_guard.model.run import Kind, Outcome, Run, State, StepRow

RUN = "20260301-0200-v1.28.0"


def begin(journal: Journal, run_id: str = RUN, kind: Kind = Kind.UPGRADE) -> Run:
    return journal.begin(
        run_id=run_id,
        cluster="paper",
        from_version="v1.27.16",
        target="v1.28.0",
        offsite_required=1,
        snapshot_max_age=MAX_AGE,
        settings={},
        operator="someone",
        host="here",
        tool_version="1.0",
        kind=kind,
    )


class Room:
    """A run on paper."""

    def __init__(
        self, folder: Path, *, journal_kind: type[Journal] = Journal, kind: Kind = Kind.UPGRADE, **workflow: Any
    ) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.cluster = PaperCluster(folder / "cluster", self.clock)
        self.workflow = PaperWorkflow(self.cluster, **workflow)
        self.journal = journal_kind.open(folder / "state" / "journal.sqlite3", now=self.clock.now)
        self.notes = Notes()
        self.interruption = Interruption()
        if not self.journal.runs():
            begin(self.journal, kind=kind)

    def close(self) -> None:
        self.journal.close()

    def runner(self, *, auto_rollback: bool = True) -> Runner:
        """As a new process has it: nothing remembered, no interrupt asked for."""
        self.notes = Notes()
        self.interruption = Interruption()
        self.clock.interruption = self.interruption
        return Runner(
            self.journal,
            self.workflow,
            self.notes,
            self.clock,
            self.interruption,
            auto_rollback=auto_rollback,
        )

    def go_on(self, *, auto_rollback: bool = True) -> Run:
        return self.runner(auto_rollback=auto_rollback).go_on(RUN)

    @property
    def state(self) -> State:
        return self.journal.run(RUN).state

    @property
    def states(self) -> list[str]:
        return [transition.to_state.value for transition in self.journal.transitions(RUN)]

    def latest(self, name: str) -> StepRow:
        row = self.journal.latest(RUN, name)
        assert row is not None, f"{name} was never started"
        return row

    def outcomes(self, name: str) -> list[Outcome]:
        return [row.outcome for row in self.journal.steps(RUN) if row.name == name]

    def acted(self, name: str) -> int:
        return self.cluster.acts.count(name)


def raising(problem: BaseException) -> Any:
    """A trouble that raises."""

    def raise_it() -> None:
        raise problem

    return raise_it
