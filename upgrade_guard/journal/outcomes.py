"""What a run's row says once it has reached a state."""

from __future__ import annotations

from upgrade_guard.model.run import State

# ROLLBACK_FAILED has an outcome, but the run stays open: the rollback can be taken up again.
OUTCOMES = {
    State.COMPLETED: "completed",
    State.ABORTED: "aborted",
    State.ROLLED_BACK: "rolled-back",
    State.ROLLBACK_FAILED: "rollback-failed",
    State.RESTORED: "restored",
    State.FAILED: "failed",
}
FINAL = frozenset(OUTCOMES) - {State.ROLLBACK_FAILED}
