"""Gathers the evidence and judges the gate: once before a process first changes a node, and with a guarded event."""

from __future__ import annotations

import threading

from upgrade_guard.engine.equipment import Equipment
from upgrade_guard.engine.gate import closed_because
from upgrade_guard.engine.held import held_against
from upgrade_guard.model.evidence import Evidence


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
