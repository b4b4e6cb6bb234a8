"""What a failure after the gate is answered with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """`everything_back`, or a pause in which a person decides while the cluster serves; `why` as a sentence.

    `lanes_back`: before the pause, what failed is put back by itself, as its phase amends it.
    """

    everything_back: bool
    why: str
    lanes_back: bool = False
