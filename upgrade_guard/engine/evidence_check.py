"""Gathers the evidence, compares it with the rows of the journal, and judges the gate: what nobody wrote down does not
count.

It is asked once before a process first changes a node, and with each guarded event.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from upgrade_guard.engine.gate import closed_because
from upgrade_guard.engine.run_context import Equipment
from upgrade_guard.model.evidence import Evidence
from upgrade_guard.model.run import CopyRecord, ProofRecord, SnapshotRecord


class GateClosed(Exception):
    """The gate was judged and is closed. `edited`: rows of this run were changed, which no new snapshot cures."""

    def __init__(self, evidence: Evidence, reasons: tuple[str, ...], *, edited: bool) -> None:
        super().__init__("; ".join(reasons))
        self.evidence = evidence
        self.reasons = reasons
        self.edited = edited


class Gatekeeper:
    """Stands at the gate for one process; lanes that arrive together wait for one judgement.

    Once closed it stays closed: evidence that was taken anew is for a new gatekeeper.
    """

    def __init__(self, equipment: Equipment, run_id: str) -> None:
        self._equipment = equipment
        self._run_id = run_id
        self._judging = threading.Lock()
        self._passed = False
        self._closed: GateClosed | None = None

    def admit(self) -> None:
        """Judge the gate unless this process has passed it. Raises GateClosed, or what gathering evidence raises."""
        with self._judging:
            if self._closed is not None:
                raise self._closed  # judged in another lane a moment ago
            if not self._passed:
                self.judge()

    def judge(self) -> Evidence:
        """Judge the gate now and return the evidence for which it is open. Raises GateClosed."""
        journal, run_id = self._equipment.journal, self._run_id
        gathered = self._equipment.workflow.evidence(journal.facts(run_id))
        edited = journal.edited(run_id)
        evidence = held_against(
            gathered, journal.snapshots(run_id), journal.proofs(run_id), journal.copies(run_id), edited
        )
        reasons = closed_because(evidence)
        self._equipment.tell(lambda watcher: watcher.gate_judged(reasons, evidence.notes))
        if reasons:
            self._closed = GateClosed(evidence, reasons, edited=bool(edited))
            raise self._closed
        self._passed = True
        return evidence


def held_against(
    evidence: Evidence,
    snapshots: Sequence[SnapshotRecord],
    proofs: Sequence[ProofRecord],
    copies: Sequence[CopyRecord],
    edited: Sequence[str],
) -> Evidence:
    """The evidence, less what the rows of the run (oldest first) do not bear out, plus what was done to the rows.

    The newest snapshot alone counts, and of its proofs and of its copies at one target the newest, as for the gate of
    the database: what was equal once and differs now is no evidence.
    """
    snapshot = snapshots[-1] if snapshots else None
    proof: ProofRecord | None = None
    newest: dict[str, CopyRecord] = {}
    if snapshot is not None:
        for row in proofs:
            if row.bundle == snapshot.bundle and row.snapshot_sha256 == snapshot.snapshot_sha256:
                proof = row
        newest = {copy.target: copy for copy in copies if copy.bundle == snapshot.bundle}
    equal = [copy for copy in newest.values() if copy.read_back]
    off_control_plane = [copy for copy in equal if copy.off_control_plane]
    return replace(
        evidence,
        snapshot_taken=evidence.snapshot_taken and snapshot is not None,
        proof_succeeded=evidence.proof_succeeded and proof is not None and proof.ok,
        copies_read_back=min(evidence.copies_read_back, len(equal)),
        copies_off_control_plane=min(evidence.copies_off_control_plane, len(off_control_plane)),
        problems=(*evidence.problems, *edited),
    )
