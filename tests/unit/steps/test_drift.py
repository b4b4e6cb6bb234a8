"""What somebody else changed while a run is open, told apart from what the run itself changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from unit.nodes.test_site import CP1, W1, Reached, config, site

from upgrade_guard.errors import DecisionNeeded
from upgrade_guard.hosts.scripted import ScriptedHost
from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.model.step import Facts, NotDone, Step
from upgrade_guard.model.version import Version
from upgrade_guard.steps.drift import ByHand
from upgrade_guard.steps.kubeadm import VERSIONED

OLD, NEW = "v1.27.16", "v1.28.0"
PACKAGES = dict.fromkeys(("kubeadm", "kubelet", "kubectl"), "1.27.16-1.1")
IMAGES = {component: f"registry.k8s.io/{component}:{OLD}" for component in VERSIONED}
CLUSTER = Cluster(
    "prod", OLD, (replace(CP1, packages=PACKAGES, manifests=IMAGES), replace(W1, packages=PACKAGES)), "1", "3.5.24", 1
)


def node(name: str, packages: dict[str, str], images: dict[str, str] | None = None) -> ScriptedHost:
    """A node that says which packages and manifests it has."""
    host = ScriptedHost(name)
    rows = "".join(f"{package} {version} ii\n" for package, version in packages.items())
    host.answers("dpkg-query", ..., stdout=rows)
    for component in (*VERSIONED, "etcd"):
        path = f"/etc/kubernetes/manifests/{component}.yaml"
        image = (images or {}).get(component)
        host.answers("test", "-e", path, exit_status=0 if image else 1)
        host.answers("cat", "--", path, stdout=manifest(component, image or ""))
    return host


def manifest(component: str, image: str) -> str:
    return f"spec:\n  containers:\n  - name: {component}\n    image: {image}\n    command: [{component}]\n"


def looks(tmp_path: Path, cp1: ScriptedHost, w1: ScriptedHost) -> ByHand:
    address = NodeSettings(address="root@10.0.0.1")
    return ByHand(site(config(tmp_path, node="cp1", cp1=address), Reached(cp1=cp1, w1=w1)), Version.parse(NEW))


def step(name: str) -> Step:
    return Step(name, "", lambda _: NotDone(), lambda _: None, changes_node=True)


def facts(*started: str) -> Facts:
    return Facts("r", started=frozenset(started))


def test_as_recorded_nothing_is_said(tmp_path: Path) -> None:
    by_hand = looks(tmp_path, node("cp1", PACKAGES, IMAGES), node("w1", PACKAGES))
    by_hand.refuse(CLUSTER, facts(), step("plan/cp1/package-source"))


@pytest.mark.parametrize("version", ["1.28.0-1.1", "1.27.17-1.1", "\x1b[31m1.28.0"])
def test_a_package_that_this_run_did_not_install(tmp_path: Path, version: str) -> None:
    by_hand = looks(tmp_path, node("cp1", PACKAGES, IMAGES), node("w1", {**PACKAGES, "kubelet": version}))
    with pytest.raises(DecisionNeeded) as refused:
        by_hand.refuse(CLUSTER, facts(), step("plan/cp1/kubeadm"))
    [reason] = refused.value.reasons
    assert f"w1: the package kubelet is {version}; it was 1.27.16-1.1" in reason
    assert "upgrade-guard abort" in refused.value.hint


def test_what_this_run_installed_is_its_own(tmp_path: Path) -> None:
    cp1 = node("cp1", {**PACKAGES, "kubeadm": "1.28.0-1.1"}, dict.fromkeys(VERSIONED, f"mirror/x:{NEW}"))
    by_hand = looks(tmp_path, cp1, node("w1", PACKAGES))
    by_hand.refuse(CLUSTER, facts("plan/cp1/kubeadm", "control-plane/cp1/apply"), step("control-plane/cp1/apply"))


def test_another_version_than_the_run_installs_is_not(tmp_path: Path) -> None:
    cp1 = node("cp1", {**PACKAGES, "kubeadm": "1.28.4-1.1"}, {**IMAGES, VERSIONED[0]: "x:v1.28.4"})
    by_hand = looks(tmp_path, cp1, node("w1", PACKAGES))
    with pytest.raises(DecisionNeeded) as refused:
        by_hand.refuse(CLUSTER, facts("plan/cp1/kubeadm", "control-plane/cp1/apply"), step("control-plane/cp1/drain"))
    assert len(refused.value.reasons) == 2
    assert "upgrade-guard rollback" in refused.value.hint


def test_manifests_that_are_new_before_kubeadm_was_started(tmp_path: Path) -> None:
    cp1 = node("cp1", PACKAGES, {component: f"registry.k8s.io/{component}:{NEW}" for component in VERSIONED})
    by_hand = looks(tmp_path, cp1, node("w1", PACKAGES))
    with pytest.raises(DecisionNeeded) as refused:
        by_hand.refuse(CLUSTER, facts("plan/cp1/kubeadm"), step("control-plane/cp1/apply"))
    assert len(refused.value.reasons) == len(VERSIONED)


def test_after_all_nodes_were_seen_only_the_steps_own_is_looked_at(tmp_path: Path) -> None:
    cp1, w1 = node("cp1", PACKAGES, IMAGES), node("w1", PACKAGES)
    by_hand = looks(tmp_path, cp1, w1)
    by_hand.refuse(CLUSTER, facts(), step("plan/cp1/package-source"))
    asked = len(cp1.commands)
    by_hand.refuse(CLUSTER, facts(), step("nodes/w1/kubeadm"))
    assert (len(cp1.commands), len(w1.commands)) == (asked, 2)


@pytest.mark.parametrize("name", ["rollback/w1/packages", "nodes/w1/put-back/packages"])
def test_a_way_back_is_for_everything_whoever_changed_it(tmp_path: Path, name: str) -> None:
    cp1, w1 = node("cp1", {}), node("w1", {**PACKAGES, "kubelet": "1.29.0-1.1"})
    looks(tmp_path, cp1, w1).refuse(CLUSTER, facts(), step(name))
    assert w1.commands == []


def test_a_node_that_is_away_is_the_steps_matter(tmp_path: Path) -> None:
    cp1, w1 = node("cp1", PACKAGES, IMAGES), node("w1", PACKAGES)
    w1.unreachable_at(1)
    looks(tmp_path, cp1, w1).refuse(CLUSTER, facts(), step("plan/cp1/kubeadm"))
