"""A restore from a copy that was named: a bundle of that name that is here already is not simply taken for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.nodes.test_site import Reached, config, site
from unit.vault.builds import made_up_manifest, published, snapshot_bytes
from unit.vault.media import LISTING, file_target, quiet

from upgrade_guard.errors import Refused
from upgrade_guard.model.step import Done, Facts, NotDone, Step
from upgrade_guard.steps.restore_bundle import WantedBundle, find_bundle
from upgrade_guard.vault.bundle import Bundle, Vault

FACTS = Facts("r2")
MANIFEST = made_up_manifest(node_files={"cp1": LISTING})


@pytest.fixture
def copied(tmp_path: Path) -> Bundle:
    """A bundle of another machine, with a copy at a target."""
    bundle = published(Vault(tmp_path / "elsewhere"), MANIFEST)
    file_target(tmp_path / "nas").copy(bundle, quiet)
    return bundle


def finding(tmp_path: Path, copied: Bundle, recorded: str = "") -> Step:
    return find_bundle(
        site(config(tmp_path), Reached()), WantedBundle(copied.name, f"file://{tmp_path / 'nas'}"), lambda _: recorded
    )


def test_what_is_here_and_is_the_copy_is_taken_after_it_was_compared(tmp_path: Path, copied: Bundle) -> None:
    published(Vault(tmp_path / "vault"), MANIFEST)
    step = finding(tmp_path, copied)
    assert isinstance(step.probe(FACTS), NotDone)
    step.act(FACTS)
    seen = step.probe(FACTS)

    assert isinstance(seen, Done)
    assert seen.result["manifest_sha256"] == copied.manifest_sha256


def test_what_is_here_and_is_another_one_is_in_the_way(tmp_path: Path, copied: Bundle) -> None:
    published(Vault(tmp_path / "vault"), MANIFEST, snapshot_bytes(4 * 4096))
    step = finding(tmp_path, copied)
    assert isinstance(step.probe(FACTS), NotDone)
    with pytest.raises(Refused, match="is in the way of") as refused:
        step.act(FACTS)
    assert "mv " in refused.value.hint


def test_what_the_journal_knows_needs_no_target(tmp_path: Path, copied: Bundle) -> None:
    ours = published(Vault(tmp_path / "vault"), MANIFEST)
    assert isinstance(finding(tmp_path, copied, recorded=ours.manifest_sha256).probe(FACTS), Done)
