"""What a failure after the gate is answered with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """`everything_back`, or a pause in which a person decides while the cluster serves; `why` as a sentence."""

    everything_back: bool
    why: str
