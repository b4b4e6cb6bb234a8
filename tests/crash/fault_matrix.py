"""The fault matrix: one program after the other misbehaves, in each way that there is, over a whole run.

`make faults` tries all of it and takes many hours; `make faults FAULTS='--every 20'` tries each twentieth. A fault
lasts as long as the process that meets it; the operator then resumes with everything as it should be.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from crash.checkpoint import Checkpoint
from crash.final_state import final_state
from crash.lives import FINAL, ROLLBACK, SCENARIOS, UPGRADE, Scenario, go_on, new_tape, raise_curtain
from crash.misbehaving import KINDS_OF_A_CHANGE, KINDS_OF_A_READ
from crash.repeats import changing
from crash.tape import Point, distinct, read
from memory import directory_in_memory
from scenario.stage import Answer, Stage, changed

from upgrade_guard.lab import cluster

DOCUMENTED = (0, 3, 4, 5, 6, 7, 8)
RESUMES = 3  # so often the operator types `resume` once the fault is gone


@dataclass(frozen=True)
class Trial:
    """One program that misbehaves in one way at one point."""

    point: Point
    kind: str

    @property
    def line(self) -> str:
        """For people, and to choose it by."""
        return f"{self.kind}: {self.point.label}"


@dataclass
class Ground:
    """A recorded run, with the lab as it stood whenever a state was reached."""

    scenario: Scenario
    stage: Stage
    before: Mapping[str, Any]
    trials: tuple[Trial, ...]
    checkpoints: Mapping[str, Checkpoint]
    ends: Mapping[str, Mapping[str, Any]]


@dataclass
class Outcome:
    """How a trial went: the exit code of the process that met the fault, where the run came to rest, what is wrong."""

    trial: Trial
    met: bool
    exit_code: int
    rest: str
    wrong: tuple[str, ...]


def survey(directory: Path, scenario: Scenario, completed: Mapping[str, Any] | None = None) -> Ground:
    """Let it run, stopping at every new state to keep the lab as it is. `completed` is the end of a whole upgrade."""
    stage = raise_curtain(directory, scenario)
    before, tape, checkpoints = stage.truth(), new_tape(stage), {}
    kept = directory.with_name(f"{directory.name}-kept")
    state = ""
    while state not in FINAL:
        checkpoints[state or "started"] = Checkpoint.keep(stage, kept / (state or "started"))
        # Its next move is the last thing that this process does.
        go_on(stage, tape, {"strikes": {}, "number": 0, "faults": {}, "until": "transitions"})
        assert stage.states()[-1] != state, "it came to rest without an end"
        state = stage.states()[-1]
    assert state == scenario.state, state
    changes = changing(stage.rows("select host, argv from commands where changes"))
    end = final_state(stage)
    ends = {scenario.state: end} if completed is None else {scenario.state: end, UPGRADE.state: completed}
    return Ground(scenario, stage, before, tuple(_trials(distinct(read(tape)), changes)), checkpoints, ends)


def _trials(points: tuple[Point, ...], changes: frozenset[str]) -> Iterator[Trial]:
    for point in points:
        if point.kind == "begun":
            kinds = KINDS_OF_A_CHANGE if point.what in changes else KINDS_OF_A_READ
            yield from (Trial(point, kind) for kind in kinds)


def attempt(ground: Ground, trial: Trial) -> Outcome:
    """Go on from the state in which the program is called, with the fault; then without it, to an end."""
    stage = ground.stage
    ground.checkpoints[trial.point.state or "started"].put_back()
    tape = new_tape(stage)
    orders = {"strikes": {}, "number": 0, "faults": {trial.point.label: trial.kind}}
    answer = go_on(stage, tape, orders)
    met = any(point.fault for point in read(tape))
    rest = stage.states()[-1] if stage.states() else ""
    wrong = [*_of_the_answer(answer), *_of_the_state(ground, answer, rest)]
    healed = answer
    for _ in range(RESUMES):
        if wrong or rest in FINAL:
            break
        healed = go_on(stage, tape, {"strikes": {}, "number": 0, "faults": {}})
        wrong += _of_the_answer(healed)
        rest_now = stage.states()[-1]
        if rest_now in FINAL:
            wrong += _of_the_state(ground, healed, rest_now)
            break
    else:
        wrong.append(f"not over after {RESUMES} resumes: {healed}")
    return Outcome(trial, met, answer.exit_code, rest, tuple(dict.fromkeys(wrong)))


def _of_the_answer(answer: Answer) -> Iterator[str]:
    """A traceback, an exit code that nobody knows, a refusal without a way on."""
    if answer.exit_code not in DOCUMENTED or "Traceback" in answer.stderr:
        yield f"a bug: {answer}"
    elif answer.exit_code and not json.loads(answer.stdout)["error"]["hint"]:
        yield f"no hint: {answer}"


def _of_the_state(ground: Ground, answer: Answer, state: str) -> Iterator[str]:
    """A false success, a change behind a closed gate, a rest at which `status` does not say what to do."""
    stage = ground.stage
    if {0: "completed", 7: "rolled-back"}.get(answer.exit_code, state) != state:
        yield f"exit {answer.exit_code} at {state}"
    if state == "completed":
        expected = ground.ends.get(state)
        if expected is not None:
            now = final_state(stage)
            # A worker that failed and was put back before it succeeded has steps of its own.
            known = expected["journal"]["steps"].keys()
            now["journal"]["steps"] = {name: now["journal"]["steps"].get(name) for name in known}
            yield from (f"completed, but: {path}" for path in sorted(changed(expected, now)))
    elif state == "rolled-back":
        yield from (f"rolled back, but: {path}" for path in sorted(changed(ground.before, stage.truth())))
    elif not state:
        yield from (f"no run, but: {path}" for path in sorted(changed(ground.before, stage.truth())))
    else:
        status = Stage(stage.lab).guard("status", ends=None)
        if status.exit_code or not (status.data and status.data["next"]):
            yield f"status does not say what to do: {status}"
        if not stage.rows("select 1 from copies") and changed(ground.before, stage.truth()):
            yield f"changed without a copy: {changed(ground.before, stage.truth())}"


@dataclass
class Tally:
    """What was tried, by run, state and kind of fault, and what came of it."""

    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    results: Counter[tuple[tuple[str, str, str], str]] = field(default_factory=Counter)

    def add(self, ground: Ground, outcome: Outcome) -> None:
        """Count one trial."""
        key = (ground.scenario.name, outcome.trial.point.state, outcome.trial.kind)
        self.outcomes[key] += 1
        self.results[(key, "WRONG" if outcome.wrong else str(outcome.exit_code) if outcome.met else "not met")] += 1

    def table(self) -> str:
        """One line for each state and kind, one column for each exit code."""
        columns = (*map(str, DOCUMENTED), "not met", "WRONG")
        lines = [f"{'run':<10}{'state':<24}{'fault':<9}{'tried':>6}" + "".join(f"{one:>8}" for one in columns)]
        for key in sorted(self.outcomes):
            run, state, kind = key
            counts = "".join(f"{self.results[(key, one)] or '':>8}" for one in columns)
            lines.append(f"{run:<10}{state or 'no run yet':<24}{kind:<9}{self.outcomes[key]:>6}{counts}")
        sums = "".join(f"{sum(n for (_, one), n in self.results.items() if one == column):>8}" for column in columns)
        lines.append(f"{'all':<43}{sum(self.outcomes.values()):>6}{sums}")
        return "\n".join(lines)


def told(outcome: Outcome) -> str:
    """One line, or what was wrong."""
    line = f"{outcome.trial.line}: exit {outcome.exit_code} at {outcome.rest}"
    return line + ("" if outcome.met else " (not met)") + "".join(f"\n    {one}" for one in outcome.wrong)


def main() -> int:
    """Try all of it, or a part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", choices=(*SCENARIOS, "all"), default="all", help="in which run")
    parser.add_argument("--every", type=int, default=1, help="try each N-th fault only")
    parser.add_argument("--first", type=int, default=0, help="begin with this one")
    parser.add_argument("--only", default="", metavar="TEXT", help="try only what has this text in its line")
    parser.add_argument("--control-planes", type=int, default=1, metavar="N", help="how many the cluster has")
    given = parser.parse_args()
    tally, wrong, completed = Tally(), 0, None
    with tempfile.TemporaryDirectory(prefix="fault-matrix-", dir=directory_in_memory()) as name:
        for scenario in (replace(one, control_planes=given.control_planes) for one in (UPGRADE, ROLLBACK)):
            if given.run not in ("all", scenario.name):
                continue
            directory = Path(name) / "lab"
            try:
                ground = survey(directory, scenario, completed)
                completed = ground.ends.get(UPGRADE.state)
                there = worth_trying(ground)
                print(f"{scenario.name}: {len(there)} faults", flush=True)
                chosen = [trial for trial in there if given.only in trial.line][given.first :: given.every]
                for number, trial in enumerate(chosen, 1):
                    outcome = attempt(ground, trial)
                    tally.add(ground, outcome)
                    wrong += bool(outcome.wrong)
                    print(f"{number} of {len(chosen)}: {told(outcome)}", flush=True)
            finally:
                cluster.down(directory)
    print(tally.table())
    return 1 if wrong else 0


def worth_trying(ground: Ground) -> tuple[Trial, ...]:
    """Every trial; of the rollback only what the upgrade has not."""
    if ground.scenario.name == UPGRADE.name:
        return ground.trials
    return tuple(trial for trial in ground.trials if trial.point.state == "rolling-back")


if __name__ == "__main__":
    sys.exit(main())
