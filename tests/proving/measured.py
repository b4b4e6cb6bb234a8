"""What the scenarios took, as rows that are printed at the end and kept beside what was built."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from proving.ground import cache
from proving.operators import Operator
from proving.watching import ApiWatch

STAGES = {
    "before the gate": ("started", "inspected", "snapshotted", "verified"),
    "plan": ("copied",),
    "control plane": ("planned",),
    "workers": ("control-plane-upgraded",),
    "verification": ("nodes-upgraded",),
    "rollback": ("rolling-back", "rollback-failed"),
}
"""What a row calls the time in which a run stood at these states."""


@dataclass(frozen=True)
class Row:
    """One scenario; all numbers are seconds, `load` is the machine's load average of the last five minutes."""

    scenario: str
    end: str
    stages: dict[str, float]
    api_away: tuple[float, ...]
    from_crash_to_old_api: float | None
    load: float
    at: str


def row(
    scenario: str, end: str, stages: dict[str, float], watch: ApiWatch, from_crash_to_old_api: float | None = None
) -> Row:
    """What was measured just now."""
    away = tuple(round(seconds, 1) for seconds in watch.away)
    return Row(
        scenario,
        end,
        {name: round(seconds, 1) for name, seconds in stages.items()},
        away,
        None if from_crash_to_old_api is None else round(from_crash_to_old_api, 1),
        round(os.getloadavg()[1], 1),
        f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
    )


def stages_of(operator: Operator) -> dict[str, float]:
    """How long the newest run stood at the states of each stage."""
    moments = operator.moments()
    took: dict[str, float] = {}
    for (began, _, state), (ended, _, _) in itertools.pairwise(moments):
        for stage, states in STAGES.items():
            if state in states:
                took[stage] = took.get(stage, 0.0) + (ended - began).total_seconds()
    return took


def keep(measured: Row) -> None:
    """One line more in the file of all measurements, which the end of the session prints."""
    with (cache() / "measured.jsonl").open("a") as file:
        file.write(json.dumps(asdict(measured)) + "\n")


def kept() -> list[Row]:
    """Every measurement of this cache, oldest first."""
    path = cache() / "measured.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [Row(**{**json.loads(line), "api_away": tuple(json.loads(line)["api_away"])}) for line in lines]


def table(rows: list[Row]) -> str:
    """As it stands in the documents."""
    head = ("scenario", "end", *STAGES, "API away, in all", "at once", "from the first crash to the old API", "load")
    lines = [head, tuple("---" for _ in head)]
    for one in rows:
        crash = "" if one.from_crash_to_old_api is None else seconds(one.from_crash_to_old_api)
        stages = (seconds(one.stages[name]) if name in one.stages else "" for name in STAGES)
        away = (seconds(sum(one.api_away)), seconds(max(one.api_away, default=0.0)))
        lines.append((one.scenario, one.end, *stages, *away, crash, f"{one.load:.0f}"))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def seconds(value: float) -> str:
    return f"{value:.0f} s"
