"""What a restore sees on a node before it starts anything there."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.nodes.captured_cluster import NOW, captured, site

from upgrade_guard.errors import StepFailed
from upgrade_guard.hosts.scripted import ScriptedHost
from upgrade_guard.model.cluster import Node
from upgrade_guard.model.step import Done, Facts
from upgrade_guard.steps.restore_survey import certificates_hold

CP1 = Node("z-cp1", "control-plane", "10.92.0.11", "v1.33.13")
NOTHING = Facts("r1")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


def test_certificates_that_are_valid_are_counted(state: Path) -> None:
    host = ScriptedHost("z-cp1")
    host.answers("kubeadm", "certs", ..., stdout=captured("kubeadm/certificates-json"))
    seen = certificates_hold(site(state, host), CP1).probe(NOTHING)
    assert isinstance(seen, Done)
    assert seen.result["valid"] > 5


def test_certificates_that_expired_since_the_bundle_stop_the_restore_before_anything_is_started(state: Path) -> None:
    host = ScriptedHost("z-cp1")
    text = captured("kubeadm/certificates-json")
    expired = text.replace("2027", f"{NOW.year - 1}")
    assert expired != text
    host.answers("kubeadm", "certs", ..., stdout=expired)
    with pytest.raises(StepFailed, match="certificates of z-cp1 have expired since the bundle was made") as problem:
        certificates_hold(site(state, host), CP1).probe(NOTHING)
    assert "apiserver" in problem.value.message
    assert problem.value.hint == "renew them on z-cp1: kubeadm certs renew all, then: upgrade-guard resume"


def test_a_kubeadm_that_cannot_say_holds_nobody_up(state: Path) -> None:
    host = ScriptedHost("z-cp1")
    host.answers("kubeadm", "certs", ..., stderr="panic", exit_status=2)
    seen = certificates_hold(site(state, host), CP1).probe(NOTHING)
    assert isinstance(seen, Done)
    assert "panic" in str(seen.result["not_known"])
