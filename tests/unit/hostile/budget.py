"""How much is tried: the same few examples every time in CI, new ones and more of them with `make fuzz`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings

_WANTED = int(os.environ.get("FUZZ_EXAMPLES", "0"))


def tried(few: int) -> Callable[[Any], Any]:
    """So many examples, unless FUZZ_EXAMPLES says how many."""
    return settings(
        max_examples=_WANTED or few,
        derandomize=not _WANTED,
        database=None,
        deadline=None,
        phases=tuple(Phase) if _WANTED else (Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )
