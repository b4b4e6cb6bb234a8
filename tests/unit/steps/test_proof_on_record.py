"""What makes a verdict a proof: every level, and the figures that the journal has of the snapshot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.vault.builds import TAKEN_AT, published

from upgrade_guard.model.step import Facts
from upgrade_guard.steps.proof import mismatches, shortfalls
from upgrade_guard.vault.bundle import Vault
from upgrade_guard.vault.proof import LEVELS, Level, Proof

HASHKV, REVISION = 1084519789, 52
PROOF = Proof(
    ok=True,
    levels=tuple(Level(name, ok=True, seconds=0.1) for name in LEVELS),
    revision=REVISION,
    hashkv=HASHKV,
    restore_seconds=0.2,
    snapshot_sha256="ab",
    proven_at=TAKEN_AT,
)


def test_a_proof_with_every_level_lacks_nothing(tmp_path: Path) -> None:
    assert shortfalls(PROOF, published(Vault(tmp_path))) == ()


@pytest.mark.parametrize("name", LEVELS)
def test_a_level_that_is_missing_or_failed_is_named(tmp_path: Path, name: str) -> None:
    bundle = published(Vault(tmp_path))
    without = tuple(level for level in PROOF.levels if level.name != name)
    for levels in (without, (*without, Level(name, ok=False, seconds=0.1))):
        assert shortfalls(replace(PROOF, levels=levels), bundle) == (f"the proof lacks {name}",)


def test_other_figures_are_no_proof_of_this_bundle(tmp_path: Path) -> None:
    bundle = published(Vault(tmp_path))
    assert shortfalls(replace(PROOF, revision=51), bundle) == ("the proof is of revision 51, the snapshot of 52",)
    assert shortfalls(replace(PROOF, hashkv=1), bundle) == ("the proof found other content than the cluster had",)


def recorded(**proof: Any) -> Facts:
    """What a run has on record; `proof` changes the result of the proof."""
    live = {"endpoint": "", "hash": HASHKV, "compact_revision": -1, "revision": REVISION}
    kept = {"revision": REVISION, "hashkv": HASHKV, "manifest_sha256": "cd", "levels": list(LEVELS)}
    return Facts(
        "r1",
        {
            "snapshot/save": {"revision": REVISION, "live_hash": live},
            "snapshot/publish": {"manifest_sha256": "cd"},
            "prove/snapshot": {key: value for key, value in (kept | proof).items() if value is not None},
        },
    )


def test_a_proof_of_the_snapshot_on_record_counts_also_one_of_an_earlier_version() -> None:
    assert mismatches(recorded()) == ()
    assert mismatches(recorded(levels=None, manifest_sha256=None)) == ()


@pytest.mark.parametrize(
    ("proof", "reason"),
    [
        ({"levels": []}, f"The proof on record lacks {', '.join(LEVELS)}."),
        ({"revision": 51}, "The proof on record is of revision 51, not of 52."),
        ({"hashkv": 1}, "The proof on record found other content than the cluster had."),
        ({"manifest_sha256": "ef"}, "The proof on record is of another manifest than the one that was published."),
    ],
)
def test_the_gate_hears_what_does_not_fit(proof: dict[str, Any], reason: str) -> None:
    assert mismatches(recorded(**proof)) == (reason,)
