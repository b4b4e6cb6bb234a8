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

BY_HAND = "by hand, "
"""Before the name of a scenario: the same typed by hand."""


@dataclass(frozen=True)
class Row:
    """One scenario; all numbers are seconds, `load` is the machine's load average of the last five minutes."""

    scenario: str
    end: str
    stages: dict[str, float]
    from_stop_to_api: float | None
    api_away: tuple[float, ...]
    from_crash_to_old_api: float | None
    load: float
    at: str


this_session: list[Row] = []


def row(
    scenario: str,
    end: str,
    stages: dict[str, float],
    watch: ApiWatch,
    *,
    from_stop_to_api: float | None = None,
    from_crash_to_old_api: float | None = None,
) -> Row:
    """What was measured just now."""
    away = tuple(round(seconds, 1) for seconds in watch.away)
    return Row(
        scenario,
        end,
        {name: round(seconds, 1) for name, seconds in stages.items()},
        rounded(from_stop_to_api),
        away,
        rounded(from_crash_to_old_api),
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


def from_stop_to_api(operator: Operator) -> float:
    """From the stop of the first component to an API that answers on the old version, in the newest run's rollback."""
    steps = "SELECT at FROM steps WHERE run_id = (SELECT id FROM runs ORDER BY seq DESC LIMIT 1)"
    [(stopped,), *_] = operator.journal(f"{steps} AND name LIKE '%/stop-kubelet' ORDER BY seq")
    [(ready,)] = operator.journal(f"{steps} AND name = 'rollback/api-ready' AND outcome = 'succeeded'")
    return (datetime.fromisoformat(ready) - datetime.fromisoformat(stopped)).total_seconds()


def rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def keep(measured: Row) -> None:
    """For the table at the end of this session, and one line more in the file of all measurements."""
    this_session.append(measured)
    with (cache() / "measured.jsonl").open("a") as file:
        file.write(json.dumps(asdict(measured)) + "\n")


def table(rows: list[Row]) -> str:
    """As it stands in the documents."""
    times = ("from stop to API", "times by hand", "API away", "at once", "from crash to old API")
    head = ("scenario", "end", *STAGES, *times, "load")
    lines = [head, tuple("---" for _ in head)]
    for one in rows:
        stages = (seconds(one.stages.get(name)) for name in STAGES)
        away = (seconds(sum(one.api_away)), seconds(max(one.api_away, default=0.0)))
        stopped = (seconds(one.from_stop_to_api), times_by_hand(one, rows))
        others = (*stopped, *away, seconds(one.from_crash_to_old_api), f"{one.load:.0f}")
        lines.append((one.scenario, one.end, *stages, *others))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def times_by_hand(one: Row, rows: list[Row]) -> str:
    """How many times as long from the first stop to the API it took as the same typed by hand; "" where nobody did."""
    for other in rows:
        if other.scenario == f"{BY_HAND}{one.scenario}" and one.from_stop_to_api and other.from_stop_to_api:
            return f"{one.from_stop_to_api / other.from_stop_to_api:.1f}"
    return ""


def seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} s"
