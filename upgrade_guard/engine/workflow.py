"""What the engine asks of the room that knows Kubernetes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from upgrade_guard.errors import GuardError
from upgrade_guard.model.evidence import Evidence
from upgrade_guard.model.run import State
from upgrade_guard.model.step import Answer, Facts, Phase


class Workflow(Protocol):
    """Says what is to be done; the engine says when, and whether it may be believed.

    The answers depend on the state and the facts alone, so that a resumed run and a straight run take the same path.
    """

    def ahead(self, state: State, facts: Facts) -> tuple[Phase, ...]:
        """The phases from this state to the next one; the last of them carries the event. Asked after each move.

        Where what lies ahead depends on what the first phases find out (a rollback chooses its path), it gives those
        without an event, and is asked again once they are walked; then they are still among the answer.
        """

    def evidence(self, facts: Facts) -> Evidence:
        """Everything the gate asks for, gathered now. May raise HostUnreachable."""

    def aborting(self, facts: Facts) -> tuple[Phase, ...]:
        """What puts packages back before a run is closed; may be empty. The last phase carries RUN_ABORTED."""

    def control_plane_touched(self, facts: Facts) -> bool:
        """Did a step that changes the control plane ever start, so that only a rollback leads back?"""

    def answer(self, failures: Iterable[tuple[str, GuardError]], facts: Facts) -> Answer:
        """What these failures, steps and their problems, are answered with once a node was changed. Looks at the world.

        May raise HostUnreachable.
        """

    def outdated(self, facts: Facts) -> tuple[str, ...]:
        """Steps of a way back that decided something which is not true any more; they are decided anew.

        Asked when a way back is taken up again and when it meets a host that cannot be reached. Looks at the world.
        """

    def given_up_steps(self, facts: Facts) -> tuple[str, ...]:
        """Steps that were begun and that nobody wants to be finished any more: they are not a part of the plan."""
