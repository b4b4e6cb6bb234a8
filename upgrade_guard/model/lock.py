"""Who works on a cluster, as its control planes are told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LockOwner:
    """The run that holds a cluster. `since` is ISO 8601 in UTC, by the clock of `host`.

    `head` is the digest of the newest row of that run's history then; "" from a version that did not say it.
    All empty when what lies there cannot be read: then somebody holds it and nobody knows who.
    """

    run: str = ""
    operator: str = ""
    host: str = ""
    pid: int = 0
    since: str = ""
    doing: str = ""
    head: str = ""
