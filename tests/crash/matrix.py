"""The crash matrix: a run dies at every point that a recorded run passed, and comes to the same end each time.

`make crash` tries all of it and takes hours; `make crash CRASH='--every 10'` tries each tenth chain. A chain is one run
that dies at many points, far from each other; one that ends differently is told with the points at which it died.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from crash.final_state import final_state
from crash.lives import ROLLBACK, SCENARIOS, UPGRADE, Scenario, Story, live, raise_curtain
from crash.power_cut import PowerLine, compiled
from crash.repeats import Repeated, changing, repeated, without_reason
from crash.tape import Point, Strike, chains, distinct, kills, power_cuts
from memory import directory_in_memory
from scenario.stage import changed

from upgrade_guard.lab import cluster

DEATHS = 24  # of one run


@dataclass
class Reference:
    """A run that nothing disturbed: the points it passed, the commands of it that change a node, and its end."""

    scenario: Scenario
    directory: Path
    points: tuple[Point, ...]
    changing: frozenset[str]
    end: dict[str, Any]


@dataclass
class Chain:
    """One run that died at many points: what was done again with reason, and what was wrong."""

    scenario: Scenario
    story: Story
    again: tuple[Repeated, ...]
    wrong: tuple[str, ...]


@dataclass
class Tally:
    """What was tried, by scenario, kind of death and the state in which the run was."""

    deaths: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    in_resumes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    wrong: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    runs: int = 0

    def add(self, chain: Chain) -> None:
        """Count one chain."""
        self.runs += 1
        for counter, points in ((self.deaths, chain.story.deaths), (self.in_resumes, chain.story.in_resumes)):
            for point in points:
                key = (chain.scenario.name, point.fate, point.state)
                counter[key] += 1
                self.wrong[key] += bool(chain.wrong)

    def table(self) -> str:
        """One line for each state, in which order they were met."""
        lines = [f"{'run':<10}{'death':<11}{'state':<24}{'points':>8}{'while resuming':>16}{'other end':>11}"]
        for key in dict.fromkeys((*self.deaths, *self.in_resumes)):
            run, kind, state = key
            lines.append(
                f"{run:<10}{kind:<11}{state or 'no run yet':<24}{self.deaths[key]:>8}{self.in_resumes[key]:>16}"
                f"{self.wrong[key]:>11}"
            )
        tried, resuming, wrong = (sum(one.values()) for one in (self.deaths, self.in_resumes, self.wrong))
        lines.append(f"{'all':<45}{tried:>8}{resuming:>16}{wrong:>11}")
        lines.append(f"{tried + resuming} deaths in {self.runs} runs")
        return "\n".join(lines)


def record(directory: Path, scenario: Scenario) -> Reference:
    """Let it run undisturbed once."""
    stage = raise_curtain(directory, scenario)
    story = live(stage)
    assert [one.exit_code for one in story.ends] == [scenario.ends], story.ends
    rows = stage.rows("select host, argv from commands where changes")
    return Reference(scenario, directory, distinct(story.tape), changing(rows), final_state(stage))


def try_chain(reference: Reference, chosen: Iterable[Strike], library: Path | None = None) -> Chain:
    """Die at all of these points in one run. Power cuts need the library that keeps what was synced."""
    stage = raise_curtain(reference.directory, reference.scenario)
    story = live(stage, tuple(chosen), None if library is None else PowerLine.of(stage, library))
    wrong = list(dict.fromkeys(strange_ends(reference.scenario, story)))
    if stage.states()[-1] == reference.scenario.state:
        wrong += (f"differs: {path}" for path in sorted(changed(reference.end, final_state(stage))))
    else:
        wrong.append(f"the run stands at {stage.states()[-1]}")
    again = repeated(story.tape, reference.changing)
    deaths = (*story.deaths, *story.in_resumes)
    wrong += (f"done again: {one.step}: {one.what}" for one in without_reason(again, deaths))
    stage.end_everything()
    return Chain(reference.scenario, story, again, tuple(wrong))


def strange_ends(scenario: Scenario, story: Story) -> Iterator[str]:
    """What a process said in the end that nobody expects."""
    for answer in story.ends:
        if "Traceback" in answer.stdout + answer.stderr:
            yield f"a traceback: {answer.stderr[-1500:]}"
    if not story.ends:
        return  # it died right after its last commit: the journal is the judge
    for answer in story.ends[:-1]:
        yield f"stopped by itself with exit {answer.exit_code}: {answer.stdout[-1500:]}"
    last = story.ends[-1]
    if last.exit_code != scenario.ends:
        yield f"ended with exit {last.exit_code}: {last}"


def main() -> int:
    """Try all of it, or a part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", choices=(*SCENARIOS, "all"), default="all", help="which run dies")
    parser.add_argument("--death", choices=("kill", "power", "all"), default="all", help="how it dies")
    parser.add_argument("--every", type=int, default=1, help="try each N-th chain only")
    parser.add_argument("--first", type=int, default=0, help="begin with this chain")
    parser.add_argument("--deaths", type=int, default=DEATHS, help="how often one run dies")
    parser.add_argument("--control-planes", type=int, default=1, metavar="N", help="how many the cluster has")
    given = parser.parse_args()
    tally, wrong = Tally(), 0
    with tempfile.TemporaryDirectory(prefix="crash-matrix-", dir=directory_in_memory()) as name:
        base = Path(name)
        for scenario in (replace(one, control_planes=given.control_planes) for one in (UPGRADE, ROLLBACK)):
            if given.run not in ("all", scenario.name):
                continue
            try:
                reference = record(base / scenario.name, scenario)
                for kind in ("kill", "power"):
                    if given.death not in ("all", kind):
                        continue
                    library = compiled(base) if kind == "power" else None
                    every = chains(worth_trying(reference, kind), given.deaths)[given.first :: given.every]
                    for number, chosen in enumerate(every, 1):
                        chain = try_chain(reference, chosen, library)
                        tally.add(chain)
                        wrong += bool(chain.wrong)
                        print(f"{scenario.name}, {kind}, run {number} of {len(every)}: {told(chain)}", flush=True)
            finally:
                cluster.down(base / scenario.name)
    print(tally.table())
    return 1 if wrong else 0


def worth_trying(reference: Reference, kind: str) -> tuple[Strike, ...]:
    """Every strike of a run; of the rollback those from its beginning on.

    Before it, the upgrade has them. Who dies between a failure and the rollback has not begun one: the next process
    tries the step again, as after any failure, and whether it fails again is not up to us.
    """
    points = reference.points
    if reference.scenario.name == ROLLBACK.name:
        first = next(number for number, point in enumerate(points) if point.state == "rolling-back")
        points = points[first:]
    return power_cuts(points) if kind == "power" else kills(points, reference.changing)


def told(chain: Chain) -> str:
    """One line, or what was wrong and where it died."""
    story = chain.story
    deaths = f"{len(story.deaths)} deaths, {len(story.in_resumes)} more while resuming, {len(story.unmet)} not met"
    if not chain.wrong:
        return f"{deaths}; the same end"
    died = "".join(f"\n    died at {point.label}" for point in story.deaths)
    return f"{deaths}; NOT the same end{died}" + "".join(f"\n    {line}" for line in chain.wrong)


if __name__ == "__main__":
    sys.exit(main())
