"""Gathers the evidence and judges the gate: once before a process first changes a node, and with a guarded event."""

from __future__ import annotations

import threading
from dataclasses import replace

from upgrade_guard.engine.equipment import Equipment
from upgrade_guard.engine.gate import closed_because
from upgrade_guard.model.evidence import Evidence


class GateClosed(Exception):  # noqa: N818 - not an error of its own: the runner turns it into a retake or a refusal
    """The gate was judged and is closed."""

    def __init__(self, evidence: Evidence, reasons: tuple[str, ...]) -> None:
        super().__init__("; ".join(reasons))
        self.evidence = evidence
        self.reasons = reasons


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
        evidence = self._held_against_the_journal(
            self._equipment.workflow.evidence(self._equipment.journal.facts(self._run_id))
        )
        reasons = closed_because(evidence)
        self._equipment.tell(lambda watcher: watcher.gate_judged(reasons))
        if reasons:
            self._closed = GateClosed(evidence, reasons)
            raise self._closed
        self._passed = True
        return evidence

    def _held_against_the_journal(self, evidence: Evidence) -> Evidence:
        """What the workflow gathered, less what the journal has no row for, plus what was done to its rows."""
        journal = self._equipment.journal
        snapshots = journal.snapshots(self._run_id)
        proofs = [
            proof
            for proof in journal.proofs(self._run_id)
            if snapshots and proof.ok and proof.snapshot_sha256 == snapshots[-1].snapshot_sha256
        ]
        copies = {
            copy.target for copy in journal.copies(self._run_id) if snapshots and copy.bundle == snapshots[-1].bundle
        }
        return replace(
            evidence,
            snapshot_taken=evidence.snapshot_taken and bool(snapshots),
            proof_succeeded=evidence.proof_succeeded and bool(proofs),
            copies_read_back=min(evidence.copies_read_back, len(copies)),
            problems=(*evidence.problems, *journal.edited(self._run_id)),
        )
