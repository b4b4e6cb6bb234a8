"""What every part of the engine works with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upgrade_guard.engine.interruption import Interruption
from upgrade_guard.engine.watcher import OneAtATime
from upgrade_guard.engine.workflow import Workflow
from upgrade_guard.model.clock import Clock
from upgrade_guard.model.run import Move, Run
from upgrade_guard.model.step import Facts, Step

if TYPE_CHECKING:
    from upgrade_guard.journal.journal import Journal

# Tells the transcript which step's attempt the commands of this thread belong to: (run id, step name, attempt).
Attribution = Callable[[str, str, int], AbstractContextManager[object]]


def unattributed(_run_id: str, _step: str, _attempt: int) -> AbstractContextManager[object]:
    """Nobody is told."""
    return nullcontext()


# Looks once more before a step that changes a node, on every way: it raises what speaks against it.
BeforeChange = Callable[[Step, Facts], None]


def unwatched(_step: Step, _facts: Facts) -> None:
    """Nothing speaks against it."""


@dataclass(frozen=True)
class Equipment:
    """The journal to write to, the workflow to ask, the watcher to tell, and time."""

    journal: Journal
    workflow: Workflow
    tell: OneAtATime
    clock: Clock
    interruption: Interruption
    attribution: Attribution
    before_change: BeforeChange

    def move(self, run: Run, move: Move) -> None:
        """Record the move by itself and tell of it."""
        transition = self.journal.move(run.id, move)
        self.tell(lambda watcher: watcher.moved(transition))
