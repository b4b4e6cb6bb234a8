"""Heads of history that lie elsewhere show what the journal alone cannot: an end that was cut off, a forged bundle."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from unit.cli.stocked import Stocked
from unit.tools.test_ssh_keygen import allow, make_key
from unit.vault.builds import made_up_manifest, published

from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.model.lock import LockOwner
from upgrade_guard.model.run import Kind
from upgrade_guard.nodes.cluster_lock import LAST, NAME
from upgrade_guard.tools.ssh_keygen import SshKeygen


@pytest.fixture
def stocked(tmp_path: Path) -> Stocked:
    """Its control plane is this machine, and keeps its files in a directory of the test."""
    (tmp_path / "work").mkdir(mode=0o700)
    return Stocked(tmp_path, more=f'[nodes."*"]\nwork_dir = "{tmp_path}/work"\n')


def left_on_the_node(stocked: Stocked, name: str, run: str) -> str:
    """A control plane keeps the head of now, of that run; the head."""
    with stocked.journal() as journal:
        head = journal.head()
    owner = LockOwner(run, "ada", "bastion", 1, "2026-11-22T02:00:00+00:00", "upgrade to v1.28.0", head)
    (stocked.directory / "work" / name).write_text(json.dumps(asdict(owner)))
    return head


def breaches(stocked: Stocked, *words: str) -> list[dict[str, Any]]:
    return list(stocked.guard("audit", "verify", *words, ends=3)["data"]["breaches"])


@pytest.mark.parametrize("name", [NAME, LAST])
def test_an_end_that_was_cut_off_shows_on_a_control_plane(stocked: Stocked, name: str) -> None:
    stocked.made(2, open_=True)
    journal = stocked.state_dir / "journal.sqlite"
    shutil.copy(journal, stocked.directory / "earlier.sqlite")
    stocked.made(1)
    head = left_on_the_node(stocked, name, "run-2")
    assert stocked.guard("audit", "verify", "--remote")["data"]["compared"]["problems"] == []

    shutil.copy(stocked.directory / "earlier.sqlite", journal)  # with its counters: it holds by itself
    stocked.guard("audit", "verify")
    [breach] = breaches(stocked, "--remote")
    assert breach["kind"] == "head"
    assert head in breach["what"]
    assert f"work/{name}" in breach["what"]


def test_a_head_of_another_journals_run_is_named_and_no_breach(stocked: Stocked) -> None:
    stocked.made(2)
    left_on_the_node(stocked, NAME, "run-of-another-machine")
    compared = stocked.guard("audit", "verify", "--remote")["data"]["compared"]
    assert len(compared["strangers"]) == 1


class Signed:
    """A vault with a bundle whose head is signed, and the file of those who may sign."""

    def __init__(self, stocked: Stocked) -> None:
        self.stocked = stocked
        self.key = make_key(stocked.directory / "key")
        allowed = allow(stocked.directory / "allowed", ("night@example.org", self.key))
        stocked.more = f'[audit]\nallowed_signers = "{allowed}"\n{stocked.more}'
        with stocked.journal() as journal:
            stocked.begin(journal, "run-1", Kind.BACKUP)
            self.head = journal.head()

    def bundle(self, key: Path | None, head: str = "") -> None:
        signature = SshKeygen(LocalHost("here")).sign(str(key), head or self.head) if key else ""
        manifest = replace(made_up_manifest("run-1"), history_head=self.head, history_signature=signature)
        published(self.stocked.vault, manifest)


@pytest.fixture
def signed(stocked: Stocked) -> Signed:
    return Signed(stocked)


def test_a_signed_head_says_who_signed_it(signed: Signed) -> None:
    signed.bundle(signed.key)
    compared = signed.stocked.guard("audit", "verify")["data"]["compared"]
    assert list(compared["signatures"]["good"].values()) == ["night@example.org"]
    assert "1 of them are signed, by night@example.org." in signed.stocked.invoke("audit", "verify").stdout


def test_a_signature_by_somebody_else_is_a_breach(signed: Signed) -> None:
    signed.bundle(make_key(signed.stocked.directory / "forger"))
    [breach] = breaches(signed.stocked)
    assert (breach["kind"], breach["run"]) == ("signature", "run-1")


def test_a_signature_of_another_head_is_a_breach(signed: Signed) -> None:
    signed.bundle(signed.key, "0" * 64)
    [breach] = breaches(signed.stocked)
    assert breach["kind"] == "signature"


def test_a_head_without_a_signature_is_named(signed: Signed) -> None:
    signed.bundle(None)
    compared = signed.stocked.guard("audit", "verify")["data"]["compared"]
    assert len(compared["signatures"]["unsigned"]) == 1
    assert "1 are not signed" in signed.stocked.invoke("audit", "verify").stdout


def test_signers_that_cannot_be_read_are_said_and_are_no_breach(signed: Signed) -> None:
    signed.bundle(signed.key)
    (signed.stocked.directory / "allowed").unlink()
    error = signed.stocked.guard("audit", "verify", ends=4)["error"]
    assert "audit.allowed_signers" in error["message"]
