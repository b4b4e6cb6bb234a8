"""Asking a person, as the phases see it: a callable that the front door provides."""

from __future__ import annotations

from typing import Protocol

from upgrade_guard.model.run import ApprovalRecord


class Approve(Protocol):
    """Ask for a yes to `subject`, showing `shown` first. Raises DecisionNeeded on no, and where nobody can be asked."""

    def __call__(self, subject: str, shown: str, step: str) -> ApprovalRecord:
        """The approval, with who and how."""
