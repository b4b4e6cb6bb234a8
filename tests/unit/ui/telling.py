"""Runs told by hand, for the report and what it is made of: one that completed, one that was taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from upgrade_guard.model.run import (
    ApprovalRecord,
    CommandRow,
    CopyRecord,
    Event,
    Kind,
    NodeRecord,
    Outcome,
    ProofRecord,
    Run,
    SnapshotRecord,
    State,
    StepRow,
    Transition,
)
from upgrade_guard.ui.tables import Story

AT = datetime(2025, 3, 1, 2, 0, tzinfo=UTC)
SHA256 = "5a" * 32
MEMBERS = [
    {"name": "cp1", "peer_urls": ["https://10.0.0.1:2380"], "is_learner": False},
    {"name": "cp2", "peer_urls": ["https://10.0.0.2:2380"], "is_learner": False},
]


@dataclass
class Teller:
    """Writes rows as the journal would, one second apart."""

    kind: Kind = Kind.UPGRADE
    state: State = State.STARTED
    seq: int = 1
    steps: list[StepRow] = field(default_factory=list)
    moves: list[Transition] = field(default_factory=list)
    commands: list[CommandRow] = field(default_factory=list)

    @property
    def at(self) -> datetime:
        return AT + timedelta(seconds=self.seq)

    def row(
        self,
        name: str,
        outcome: Outcome,
        *,
        attempt: int = 1,
        detail: str = "",
        result: Mapping[str, Any] | None = None,
    ) -> None:
        self.seq += 1
        self.steps.append(
            StepRow(self.seq, "r1", name, "", attempt, self.state, outcome, False, self.at, result or {}, detail)
        )

    def step(
        self,
        name: str,
        outcome: Outcome = Outcome.SUCCEEDED,
        *,
        attempt: int = 1,
        detail: str = "",
        result: Mapping[str, Any] | None = None,
    ) -> None:
        self.row(name, Outcome.STARTED, attempt=attempt)
        self.row(name, outcome, attempt=attempt, detail=detail, result=result)

    def command(self, step: str, *argv: str, ended: int | None = 0, changes: bool = True, stderr: str = "") -> None:
        self.seq += 1
        self.commands.append(CommandRow("r1", step, 1, "cp1", argv, ended, self.at, 1.0, changes, "", stderr, self.seq))

    def move(self, event: Event, to: State, *reasons: str) -> None:
        self.seq += 1
        self.moves.append(Transition(self.seq, "r1", event, self.state, to, self.at, reasons))
        self.state = to

    def run(self, outcome: str = "") -> Run:
        ended = None if outcome in ("", "rollback-failed") else self.at
        return Run(
            "r1", "prod", "v1.27.16", "v1.28.0", self.state, outcome, AT, ended, 1, 1800.0, {}, "ada", "bastion", "0.1",
            self.kind,
        )  # fmt: skip

    def story(self, outcome: str = "", **more: Any) -> Story:
        return replace(
            Story(self.run(outcome), tuple(self.moves), tuple(self.steps), tuple(self.commands), (), (), (), ()), **more
        )


def prepared() -> Teller:
    """A run that stands at its gate."""
    teller = Teller()
    teller.step("inspect/etcd-tools", result={"directories": {"cp1": "/opt/etcd"}})
    findings = [
        {"check": "nodes-schedulable", "severity": "warning", "where": "w1", "message": "cordoned", "hint": "uncordon"}
    ]
    teller.step("inspect/checks", result={"asked": 47, "findings": findings})
    teller.move(Event.CLUSTER_INSPECTED, State.INSPECTED)
    teller.step("snapshot/save", result={"members": MEMBERS})
    teller.move(Event.SNAPSHOT_TAKEN, State.SNAPSHOTTED)
    teller.move(Event.SNAPSHOT_PROVEN, State.VERIFIED)
    teller.move(Event.COPIES_READ_BACK, State.COPIED)
    teller.move(Event.PLAN_APPROVED, State.PLANNED)
    return teller


KEPT = {"directory": "/state/failed/r1", "kept": ["cp1.log"], "snapshot": "/work/r1-failed.db"}


def evidence() -> dict[str, Any]:
    snapshot = SnapshotRecord("bundle-1", "/vault/bundle-1", SHA256, "6b" * 32, 1 << 20, 99, "14841", AT)
    levels = {"digest": {"name": "digest", "ok": True, "seconds": 0.1, "figures": {"bytes": 7}, "message": ""}}
    return {
        "snapshots": (snapshot,),
        "proofs": (ProofRecord("bundle-1", SHA256, True, 99, 7, 2.5, AT, levels),),
        "copies": (CopyRecord("bundle-1", "ssh://nas/etcd", "ssh://nas/etcd/bundle-1", SHA256, True, True, AT),),
        "approvals": (ApprovalRecord("Upgrade?", "ada", "prompt", "prod", AT),),
        "nodes": (NodeRecord("cp1", "control-plane", "10.0.0.1", "v1.27.16", {"kubelet": "1.27.16-1.1"}),),
        "head": "ab" * 32,
    }


def completed() -> Story:
    teller = prepared()
    teller.step("control-plane/cp1/apply")
    teller.move(Event.CONTROL_PLANE_CHANGED, State.CONTROL_PLANE_UPGRADED)
    teller.step("nodes/w1/drain", Outcome.FAILED, detail="a budget was in the way")
    teller.step("nodes/w1/drain", attempt=2)
    teller.move(Event.NODES_CHANGED, State.NODES_UPGRADED)
    teller.move(Event.UPGRADE_CONFIRMED, State.COMPLETED)
    return teller.story("completed", **evidence())


def taken_back() -> Story:
    teller = prepared()
    teller.row("control-plane/cp1/apply", Outcome.STARTED)
    teller.command("control-plane/cp1/apply", "kubectl", "get", "pods", ended=1, changes=False)
    teller.command("control-plane/cp1/apply", "kubeadm", "upgrade", "apply", ended=1, stderr="etcd is\nnot well")
    teller.row("control-plane/cp1/apply", Outcome.FAILED, detail="kubeadm ended with 1; then: not at v1.28.0")
    teller.move(Event.ROLLBACK_BEGUN, State.ROLLING_BACK, "kubeadm ended with 1", "cp1: not at v1.28.0")
    teller.step("rollback/path", result={"path": "whole", "why": "the manifests of cp1 are new"})
    teller.step("rollback/cp1/evidence", result=KEPT)
    teller.step("rollback/cp1/swap", result={"aside": "/var/lib/etcd.old"})
    teller.step("rollback/verify/canary")
    teller.move(Event.ROLLBACK_CONFIRMED, State.ROLLED_BACK)
    return teller.story("rolled-back", **evidence())
