"""Kubernetes versions: v1.28.0 and nothing looser."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PATTERN = re.compile(r"v?(0|[1-9]\d{0,3})\.(0|[1-9]\d{0,3})\.(0|[1-9]\d{0,3})")


@dataclass(frozen=True, order=True)
class Version:
    """A released version; orders as versions do."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read `v1.28.0` or `1.28.0`. Raises ValueError for anything else, pre-releases included."""
        match = _PATTERN.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not a version of the form v1.28.0")
        major, minor, patch = (int(part) for part in match.groups())
        return cls(major, minor, patch)

    @property
    def series(self) -> str:
        """The minor series as package repositories name it: `v1.28`."""
        return f"v{self.major}.{self.minor}"

    @property
    def bare(self) -> str:
        """Without the `v`: `1.28.0`, as packages write it."""
        return f"{self.major}.{self.minor}.{self.patch}"

    def __str__(self) -> str:
        return f"v{self.bare}"
