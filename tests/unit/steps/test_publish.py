"""What is published is what the journal has of it, and so is what is taken for published."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from unit.nodes.test_site import CP1, Reached, config, site
from unit.tools.test_ssh_keygen import HEAD, allow, make_key
from unit.vault.builds import TAKEN_AT, made_up_manifest, published, snapshot_bytes
from unit.vault.media import LISTING

from upgrade_guard.config import AuditSettings
from upgrade_guard.errors import EvidenceLost, StepFailed
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.codec import to_json
from upgrade_guard.model.step import Done, Facts, NotDone, Step
from upgrade_guard.steps.snapshot import listing_digest, listing_name, publish
from upgrade_guard.tools.ssh_keygen import SshKeygen
from upgrade_guard.vault.bundle import Vault, bundle_name

CLUSTER = Cluster("lab", "v1.27.16", (CP1,), "14841639068965178418", "3.5.1", 4096)
ARCHIVE = b"an archive\n"
MANIFEST = made_up_manifest()
NAME = bundle_name("lab", TAKEN_AT, "r1")


def journal(**of_files: str) -> Facts:
    """What the steps before it have left in the journal."""
    save = {
        "source": "m1",
        "sha256": sha256(snapshot_bytes()).hexdigest(),
        "size": len(snapshot_bytes()),
        "taken_at": TAKEN_AT.isoformat(),
        "at_least": 50,
        "revision": 52,
        "hash": MANIFEST.hash,
        "live_hash": to_json(MANIFEST.hashkv),
        "cluster_id": MANIFEST.cluster_id,
        "etcd_version": "3.5.1",
        "members": [to_json(member) for member in MANIFEST.members],
    }
    files = {"sha256": sha256(ARCHIVE).hexdigest(), "listing_sha256": listing_digest(LISTING)}
    return Facts("r1", {"snapshot/save": save, "snapshot/files/cp1": files | of_files})


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """With everything staged."""
    vault = Vault(tmp_path / "vault")
    staging = vault.staging("r1")
    (staging / "snapshot.db").write_bytes(snapshot_bytes())
    (staging / "files-cp1.tar.gz").write_bytes(ARCHIVE)
    note(staging, LISTING)
    return vault


def note(staging: Path, listing: Any) -> None:
    (staging / listing_name("cp1")).write_text(json.dumps({"listing": to_json(listing)}))


@pytest.fixture
def step(tmp_path: Path, vault: Vault) -> Step:
    return publish(site(replace(config(tmp_path)), Reached()), CLUSTER)


def test_what_was_gathered_is_published(step: Step, vault: Vault) -> None:
    assert isinstance(step.probe(journal()), NotDone)
    step.act(journal())
    seen = step.probe(journal())

    assert isinstance(seen, Done)
    assert seen.result["manifest_sha256"] == vault.bundle(NAME).manifest_sha256


def signing(tmp_path: Path, key: Path) -> Step:
    settings = replace(config(tmp_path), audit=AuditSettings(signing_key=str(key)))
    known = site(settings, Reached(), LocalHost("here"))
    known.history_head = lambda: HEAD
    return publish(known, CLUSTER)


def test_the_head_of_history_in_a_bundle_is_signed_where_a_key_is_configured(tmp_path: Path, vault: Vault) -> None:
    key = make_key(tmp_path / "history")
    signing(tmp_path, key).act(journal())

    manifest = vault.bundle(NAME).manifest
    allowed = allow(tmp_path / "allowed", ("ops", key))
    assert manifest.history_head == HEAD
    assert SshKeygen(LocalHost("here")).signer(allowed, HEAD, manifest.history_signature) == "ops"


def test_a_key_that_cannot_sign_publishes_nothing(tmp_path: Path, vault: Vault) -> None:
    with pytest.raises(StepFailed) as failed:
        signing(tmp_path, tmp_path / "none").act(journal())

    assert "audit.signing_key" in failed.value.message
    assert "ssh-keygen -Y sign" in failed.value.hint
    assert vault.names() == ()


EXCHANGED: dict[str, Callable[[Path], object]] = {
    "the snapshot": lambda staging: (staging / "snapshot.db").write_bytes(snapshot_bytes(4 * 4096)),
    "an archive": lambda staging: (staging / "files-cp1.tar.gz").write_bytes(b"another\n"),
    "a listing": lambda staging: note(staging, replace(LISTING, absent=("/etc/kubernetes/manifests/evil.yaml",))),
    "no listing": lambda staging: (staging / listing_name("cp1")).unlink(),
}


@pytest.mark.parametrize("what", EXCHANGED)
def test_what_was_exchanged_since_is_not_published(step: Step, vault: Vault, what: str) -> None:
    EXCHANGED[what](vault.staging("r1"))
    with pytest.raises(EvidenceLost) as lost:
        step.act(journal())

    assert "upgrade-guard resume" in lost.value.hint
    assert vault.names() == ()


def test_what_an_earlier_version_gathered_is_gathered_again(step: Step) -> None:
    with pytest.raises(EvidenceLost):
        step.act(journal(listing_sha256=""))


@pytest.mark.parametrize(
    "other",
    [
        {"revision": 51},
        {"members": ()},
        {"node_files": {}},
        {"node_files": {"cp1": replace(LISTING, left_out=("/etc/kubernetes/pki",))}},
        {"hashkv": None},
    ],
)
def test_a_bundle_of_that_name_that_says_something_else_is_not_ours(
    step: Step, vault: Vault, other: dict[str, Any]
) -> None:
    published(vault, made_up_manifest(**{"node_files": {"cp1": LISTING}, **other}))
    with pytest.raises(EvidenceLost, match="differs from the journal"):
        step.probe(journal())


def test_a_bundle_of_that_name_with_other_files_is_not_ours(step: Step, vault: Vault) -> None:
    published(vault, made_up_manifest(node_files={"cp1": LISTING}), snapshot_bytes(4 * 4096))
    with pytest.raises(EvidenceLost, match="differs from the journal"):
        step.probe(journal())


def test_a_bundle_that_cannot_be_read_is_not_ours(step: Step, vault: Vault) -> None:
    (published(vault).path / "manifest.json").write_text("{}")
    with pytest.raises(EvidenceLost):
        step.probe(journal())
