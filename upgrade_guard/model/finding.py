"""What a check answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """Two severities are enough: what stops a run, and what an operator should read."""

    OK = "ok"
    WARNING = "warning"
    BLOCKING = "blocking"


@dataclass(frozen=True)
class Finding:
    """The answer to one named question. `check` is public and stored: `etcd-members-healthy`.

    `where` is a node, a file or "" for the whole cluster; a finding that is not OK has a `hint`.
    """

    check: str
    severity: Severity
    message: str
    hint: str = ""
    where: str = ""
