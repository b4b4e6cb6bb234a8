"""The reference page of the checks, made from the catalogue, so that it cannot go stale."""

from __future__ import annotations

from upgrade_guard.checks.catalogue import CHECKS
from upgrade_guard.model.finding import Severity

_WORST = {Severity.BLOCKING: "refuses", Severity.WARNING: "warns"}


def reference_markdown() -> str:
    """One row for each check: its public name, what has to be true, and whether it refuses or warns."""
    rows = (f"| `{check.name}` | {check.question} | {_WORST[check.worst]} |" for check in CHECKS)
    return "\n".join(
        (
            "# Checks",
            "",
            "Asked by `upgrade-guard check`, `plan` and at the beginning of every `run`.",
            "One that *refuses* can end the run with exit code 3 before anything is changed; less may be a warning.",
            "One that *warns* never stops a run.",
            "A question that could not be asked counts as badly as its check can.",
            "",
            "| check | what has to be true | at worst |",
            "|---|---|---|",
            *rows,
            "",
        )
    )
