"""Evidence against rows: the newest snapshot, its newest proof, the newest copy at each target."""

from __future__ import annotations

from typing import Any

import pytest
from unit.engine.test_gate import NOW, open_evidence

from upgrade_guard.engine.evidence_check import held_against
from upgrade_guard.engine.gate import closed_because
from upgrade_guard.model.run import CopyRecord, ProofRecord, SnapshotRecord

SHA = "ab" * 32


def snapshot(bundle: str = "b1", sha: str = SHA) -> SnapshotRecord:
    return SnapshotRecord(bundle, f"/vault/{bundle}", sha, SHA, 4096, 100, "1", NOW)


def proof(bundle: str = "b1", sha: str = SHA, *, ok: bool = True) -> ProofRecord:
    return ProofRecord(bundle, sha, ok, 100, 7, 1.5, NOW)


def copy(target: str = "nas", bundle: str = "b1", *, read_back: bool = True, off: bool = True) -> CopyRecord:
    return CopyRecord(bundle, target, f"/{target}/{bundle}", SHA, read_back, off, NOW)


BOTH = (copy("nas"), copy("s3"))
CASES: dict[str, tuple[Any, Any, Any, int]] = {
    "all there": ((snapshot(),), (proof(),), BOTH, 0),
    "no rows at all": ((), (), (), 3),
    "a proof of another bundle": ((snapshot(),), (proof("b0"),), BOTH, 1),
    "a proof of other bytes": ((snapshot(),), (proof(sha="cd" * 32),), BOTH, 1),
    "a later proof that failed": ((snapshot(),), (proof(), proof(ok=False)), BOTH, 1),
    "a later proof that succeeded": ((snapshot(),), (proof(ok=False), proof()), BOTH, 0),
    "a newer snapshot without anything": ((snapshot(), snapshot("b2")), (proof(),), BOTH, 3),
    "one copy counted twice": ((snapshot(),), (proof(),), (copy(), copy()), 1),
    "a copy that differs now": ((snapshot(),), (proof(),), (*BOTH, copy("s3", read_back=False)), 1),
    "copies on control planes": ((snapshot(),), (proof(),), (copy("nas", off=False), copy("s3", off=False)), 1),
}


@pytest.mark.parametrize("case", CASES)
def test_what_the_rows_do_not_bear_out_closes_the_gate(case: str) -> None:
    snapshots, proofs, copies, reasons = CASES[case]
    held = held_against(open_evidence(), snapshots, proofs, copies, ())
    assert len(closed_because(held)) == reasons


def test_rows_cannot_make_up_for_evidence_that_is_missing() -> None:
    gathered = open_evidence(proof_succeeded=False, copies_read_back=0, copies_off_control_plane=0)
    held = held_against(gathered, (snapshot(),), (proof(),), BOTH, ())
    assert closed_because(held) == closed_because(gathered)


def test_what_was_done_to_the_rows_is_a_reason() -> None:
    held = held_against(open_evidence(), (snapshot(),), (proof(),), BOTH, ("Row 7 of proofs was edited.",))
    assert closed_because(held) == ("Row 7 of proofs was edited.",)
