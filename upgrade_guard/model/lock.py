"""Who works on a cluster, as its control planes are told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LockOwner:
    """The run that holds a cluster. `since` is ISO 8601 in UTC, by the clock of `host`.

    All empty when what lies there cannot be read: then somebody holds it and nobody knows who.
    """

    run: str = ""
    operator: str = ""
    host: str = ""
    pid: int = 0
    since: str = ""
    doing: str = ""
