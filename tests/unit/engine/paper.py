"""A cluster on paper: marks in a directory, steps that set them, and a workflow made of lists.

What was done is on disk, as it is with a real cluster, so that a process can be killed and another one goes on. Every
act is also a line in `acts`, in order: what was done twice shows there twice.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from upgrade_guard.engine.interruption import Interruption
from upgrade_guard.errors import GuardError
from upgrade_guard.model.evidence import Evidence
from upgrade_guard.model.run import (
    CopyRecord,
    Event,
    Outcome,
    ProofRecord,
    Record,
    Run,
    SnapshotRecord,
    State,
    Transition,
)
from upgrade_guard.model.step import Answer, Done, Facts, NotDone, Phase, Seen, Step

MAX_AGE = 1800.0
BACK = Answer(everything_back=True, why="the control plane does not serve")
SHA = "ab" * 32


class FakeClock:
    """Time that moves only when told to, or paused."""

    def __init__(self, interruption: Interruption | None = None) -> None:
        self.time = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
        self.interruption = interruption or Interruption()

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    def pause(self, seconds: float) -> None:
        self.interruption.check()
        self.time += timedelta(seconds=seconds)


class PaperCluster:
    """Marks on disk. `trouble` maps a step to what happens in its act before the mark is set."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.folder = folder
        self.clock = clock
        self.trouble: dict[str, Callable[[], None]] = {}
        self.aftermath: dict[str, Callable[[], None]] = {}
        self.sight: dict[str, Callable[[], Seen | None]] = {}
        (folder / "marks").mkdir(parents=True, exist_ok=True)

    def _mark(self, name: str) -> Path:
        return self.folder / "marks" / name.replace("/", "+")

    def has(self, name: str) -> bool:
        return self._mark(name).exists()

    def clear(self, *names: str) -> None:
        for name in names:
            self._mark(name).unlink(missing_ok=True)

    def set(self, name: str) -> None:
        written = self.folder / f"unfinished-{threading.get_ident()}"
        written.write_text(json.dumps({"at": self.clock.now().isoformat(), "bundle": f"b{len(self.acts)}"}))
        written.replace(self._mark(name))  # whole or not at all: another lane may die meanwhile

    def read(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._mark(name).read_text())
        return found

    @property
    def acts(self) -> list[str]:
        log = self.folder / "acts"
        return log.read_text().split() if log.exists() else []

    def act(self, name: str, undoes: tuple[str, ...] = ()) -> None:
        with (self.folder / "acts").open("a") as log:
            log.write(name + "\n")
        if name in self.trouble:
            self.trouble[name]()
        self.clear(*undoes)
        self.set(name)
        if name in self.aftermath:
            self.aftermath[name]()

    def step(
        self,
        name: str,
        *,
        changes_node: bool = False,
        lasting: bool = True,
        lane: str = "",
        undoes: tuple[str, ...] = (),
        stale: Callable[[datetime], bool] = lambda at: False,
        records: Callable[[Mapping[str, Any]], tuple[Record, ...]] = lambda mark: (),
    ) -> Step:
        """A step that sets a mark; one that is `stale`, by the time at which it was set, does not count."""

        def look() -> Seen:
            if not self.has(name):
                return NotDone(f"{name} is not marked")
            mark = self.read(name)
            if stale(datetime.fromisoformat(mark["at"])):
                return NotDone(f"{name} is stale")
            return Done(mark, records(mark))

        def probe(facts: Facts) -> Seen:
            return (self.sight[name]() if name in self.sight else None) or look()

        def act(facts: Facts) -> None:
            assert not isinstance(look(), Done), f"{name} is done a second time"
            self.act(name, undoes)

        return Step(
            name=name,
            summary=f"Mark {name}",
            probe=probe,
            act=act,
            changes_node=changes_node,
            lasting=lasting,
            lane=lane,
        )


@dataclass
class PaperWorkflow:
    """Every state with a phase or two. `evidence_differs` replaces fields of the gathered evidence."""

    cluster: PaperCluster
    workers: tuple[str, ...] = ("w1", "w2")
    at_once: int = 1
    amends: bool = True
    weighs: bool = False
    evidence_differs: dict[str, Any] = field(default_factory=dict)
    replaced: dict[State, tuple[Phase, ...]] = field(default_factory=dict)
    evidence_asked: int = 0
    decided_wrong: tuple[str, ...] = ()
    given_up: tuple[str, ...] = ()
    answers: Answer = BACK
    asked_for_an_answer: list[tuple[str, ...]] = field(default_factory=list)

    def ahead(self, state: State, facts: Facts) -> tuple[Phase, ...]:
        if state in self.replaced:
            return self.replaced[state]
        step = self.cluster.step
        match state:
            case State.STARTED:
                return (Phase("inspect", "Inspect", (step("inspect/cluster"),), Event.CLUSTER_INSPECTED),)
            case State.INSPECTED:
                saves = (step("snapshot/save", stale=self._too_old, records=self._snapshot), step("snapshot/files/cp1"))
                return (Phase("snapshot", "Snapshot", saves, Event.SNAPSHOT_TAKEN),)
            case State.SNAPSHOTTED:
                proves = (step("proof/restore", stale=self._too_old, records=self._proof),)
                return (Phase("proof", "Prove", proves, Event.SNAPSHOT_PROVEN),)
            case State.VERIFIED:
                copies = (step("copies/nas", stale=self._of_another_snapshot, records=self._copy),)
                return (Phase("copies", "Copy", copies, Event.COPIES_READ_BACK),)
            case State.COPIED:
                plans = (step("packages/cp1/kubeadm", changes_node=True, lane="cp1"), step("plan/approve"))
                return (Phase("plan", "Plan", plans, Event.PLAN_APPROVED),)
            case State.PLANNED:
                ready = Phase("ready", "Look before", (step("ready/nodes", lasting=False),))
                changes = (
                    step("control-plane/cp1/apply", changes_node=True, lane="cp1"),
                    step("control-plane/cp1/kubelet", changes_node=True, lane="cp1"),
                )
                return (ready, Phase("control-plane", "Control plane", changes, Event.CONTROL_PLANE_CHANGED))
            case State.CONTROL_PLANE_UPGRADED:
                changes = tuple(
                    step(f"nodes/{name}/{what}", changes_node=True, lane=name, undoes=self._amended(name))
                    for name in self.workers
                    for what in ("drain", "packages", "uncordon")
                )
                amends = self._put_back if self.amends else None
                phase = Phase("nodes", "Nodes", changes, Event.NODES_CHANGED, self.at_once, amends, weighs=self.weighs)
                return (phase,)
            case State.NODES_UPGRADED:
                return (Phase("verify", "Verify", (step("verify/baseline", lasting=False),), Event.UPGRADE_CONFIRMED),)
            case State.ROLLING_BACK:
                ways = (
                    step("rollback/quiesce", changes_node=True),
                    step("rollback/restore", changes_node=True, undoes=("control-plane/cp1/apply",)),
                    step("rollback/verify", lasting=False),
                )
                return (Phase("rollback", "Roll back", ways, Event.ROLLBACK_CONFIRMED),)
        raise AssertionError(f"nothing is ahead of {state}")

    def _amended(self, lane: str) -> tuple[str, ...]:
        return (f"amend/{lane}/packages", f"amend/{lane}/uncordon")

    def _put_back(self, lane: str) -> tuple[Step, ...]:
        if not lane:
            return ()
        undone = tuple(f"nodes/{lane}/{what}" for what in ("drain", "packages", "uncordon"))
        return (
            self.cluster.step(f"amend/{lane}/packages", changes_node=True, lane=lane, undoes=undone),
            self.cluster.step(f"amend/{lane}/uncordon", changes_node=True, lane=lane),
        )

    def aborting(self, facts: Facts) -> tuple[Phase, ...]:
        if not facts.touched("packages/cp1/kubeadm"):
            return ()
        back = self.cluster.step("abort/cp1/packages", changes_node=True, undoes=("packages/cp1/kubeadm",))
        return (Phase("abort", "Put packages back", (back,), Event.RUN_ABORTED),)

    def answer(self, failures: Iterable[tuple[str, GuardError]], facts: Facts) -> Answer:
        self.asked_for_an_answer.append(tuple(step for step, _ in failures))
        return self.answers

    def outdated(self, facts: Facts) -> tuple[str, ...]:
        return tuple(name for name in self.decided_wrong if facts.has(name))

    def given_up_steps(self, facts: Facts) -> tuple[str, ...]:
        return tuple(name for name in facts.started if name in self.given_up)

    def control_plane_touched(self, facts: Facts) -> bool:
        return facts.touched("control-plane/cp1/apply")

    def evidence(self, facts: Facts) -> Evidence:
        self.evidence_asked += 1
        proof = facts.of("proof/restore") if facts.has("proof/restore") else {}
        copies = 1 if facts.has("copies/nas") else 0
        gathered: dict[str, Any] = {
            "now": self.cluster.clock.now(),
            "snapshot_taken": facts.has("snapshot/save"),
            "proof_succeeded": bool(proof),
            "proven_at": datetime.fromisoformat(proof["at"]) if proof else None,
            "max_age": MAX_AGE,
            "copies_read_back": copies,
            "copies_off_control_plane": copies,
            "copies_required": 1,
            "node_files_missing": (),
            "snapshot_cluster_id": "1",
            "live_cluster_id": "1",
            "alarms": (),
            "age_matters": not self.control_plane_touched(facts),
        }
        return Evidence(**(gathered | self.evidence_differs))

    def _too_old(self, at: datetime) -> bool:
        return (self.cluster.clock.now() - at).total_seconds() >= MAX_AGE

    def _of_another_snapshot(self, at: datetime) -> bool:
        return at < datetime.fromisoformat(self.cluster.read("snapshot/save")["at"])

    def _snapshot(self, mark: Mapping[str, Any]) -> tuple[Record, ...]:
        taken = datetime.fromisoformat(mark["at"])
        return (SnapshotRecord(mark["bundle"], f"/vault/{mark['bundle']}", SHA, SHA, 4096, 100, "1", taken),)

    def _proof(self, mark: Mapping[str, Any]) -> tuple[Record, ...]:
        bundle = self.cluster.read("snapshot/save")["bundle"]
        return (ProofRecord(bundle, SHA, True, 100, 7, 1.5, datetime.fromisoformat(mark["at"])),)

    def _copy(self, mark: Mapping[str, Any]) -> tuple[Record, ...]:
        bundle = self.cluster.read("snapshot/save")["bundle"]
        made = datetime.fromisoformat(mark["at"])
        return (CopyRecord(bundle, "file:///nas", f"/nas/{bundle}", SHA, True, True, made),)


class Notes:
    """A watcher that writes down what it hears, one line each."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def run_began(self, run: Run, *, resumed: bool) -> None:
        self.lines.append(f"run {'resumed' if resumed else 'began'}")

    def phase_began(self, phase: Phase, steps_done: int, steps_total: int) -> None:
        self.lines.append(f"phase {phase.name} {steps_done}/{steps_total}")

    def step_began(self, step: Step, *, in_doubt: bool) -> None:
        self.lines.append(f"step {step.name}{' in doubt' if in_doubt else ''}")

    def step_skipped(self, step: Step) -> None:
        self.lines.append(f"skipped {step.name}")

    def step_ended(self, step: Step, outcome: Outcome, detail: str, seconds: float) -> None:
        self.lines.append(f"{outcome.value} {step.name}")

    def moved(self, transition: Transition) -> None:
        self.lines.append(f"moved {transition.to_state.value}")

    def gate_judged(self, reasons: Any, _notes: Any = ()) -> None:
        self.lines.append(f"gate {'closed' if reasons else 'open'}")

    def rollback_begins(self, reasons: Any) -> None:
        self.lines.append("rollback")

    def lane_amended(self, lane: str, reason: str) -> None:
        self.lines.append(f"amended {lane}")

    def stopping(self, reason: str) -> None:
        self.lines.append(f"stopping {reason}")
