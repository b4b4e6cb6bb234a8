"""Takes a run from where the journal says it stands to its end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from upgrade_guard.engine.interruption import Interruption
from upgrade_guard.engine.watcher import Watcher
from upgrade_guard.engine.workflow import Workflow
from upgrade_guard.model.clock import Clock
from upgrade_guard.model.run import Run

if TYPE_CHECKING:
    from upgrade_guard.journal.journal import Journal

# Tells the transcript which step's attempt the commands of this thread belong to: (run id, step name, attempt).
Attribution = Callable[[str, str, int], AbstractContextManager[object]]


def unattributed(run_id: str, step: str, attempt: int) -> AbstractContextManager[object]:
    """Nobody is told."""
    del run_id, step, attempt
    return nullcontext()


class Runner:
    """Runs steps, believes the cluster, records outcomes, and takes the way back when the upgrade fails."""

    def __init__(
        self,
        journal: Journal,
        workflow: Workflow,
        watcher: Watcher,
        clock: Clock,
        interruption: Interruption,
        attribution: Attribution = unattributed,
        *,
        auto_rollback: bool = True,
    ) -> None: ...

    def go_on(self, run_id: str) -> Run:
        """Go on until the run is completed. Raises Refused, StepFailed, DecisionNeeded, RolledBack, RollbackFailed, Interrupted."""
        raise NotImplementedError

    def roll_back(self, run_id: str, reasons: tuple[str, ...]) -> Run:
        """Begin the rollback, or go on with it. Raises RollbackFailed."""
        raise NotImplementedError

    def abort(self, run_id: str) -> Run:
        """Close a run whose control plane is untouched. Raises Refused."""
        raise NotImplementedError
