"""What a target says of a copy that it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Copied:
    """A bundle that was published at a target: where, and the SHA-256 of each file as it was written."""

    location: str
    sha256: Mapping[str, str]
