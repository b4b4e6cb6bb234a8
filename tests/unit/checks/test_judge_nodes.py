"""Versions, packages, nodes and what runs on them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.checks.healthy import (
    NODES,
    SOURCE,
    TARGET,
    healthy,
    node_row,
    pod,
    static_pods,
    with_api,
    with_known_node,
    with_node,
)
from unit.checks.judging import B, Case, Good, V, W, assert_quiet, assert_said

from upgrade_guard.checks.catalogue import judge
from upgrade_guard.checks.gathered import Gathered
from upgrade_guard.tools.kubectl_objects import Budget

FLAGS = "/var/lib/kubelet/kubeadm-flags.env"
DEFAULTS = "/etc/default/kubelet"
PACKAGES = ("kubeadm", "kubelet", "kubectl")
MIRROR = "deb http://mirror.example/kubernetes ./\n"
budget = Budget("shop", "web", 0, 1, 1, {"matchLabels": {"app": "web"}})


def api_server_of_cp1(tag: str) -> Gathered:
    whole = healthy()
    first = whole.nodes[0]
    assert first.control_plane is not None
    pods = tuple(
        replace(one, image=f"registry.k8s.io/kube-apiserver:{tag}") if one.name == "kube-apiserver.yaml" else one
        for one in static_pods()
    )
    look = replace(first, control_plane=replace(first.control_plane, static_pods=pods))
    return replace(whole, nodes=(look, *whole.nodes[1:]))


def kubelet_of_w1(version: str) -> Gathered:
    return with_known_node("w1", kubelet_version=version)


def row_of_w1(**changes: object) -> Gathered:
    return with_api(nodes=(node_row("w1", **changes),))


def row_of_cp2(runtime: str) -> Gathered:
    return with_api(nodes=(node_row("cp2", role="control-plane", runtime=runtime),))


AUDIT = "The following packages are in a mess due to serious problems during\ninstallation: kubelet"


def left_out(name: str, why: str) -> Gathered:
    whole = healthy()
    return replace(whole, cluster=replace(whole.cluster, left_out={name: why}))


def patched(directory: str, names: tuple[str, ...], *, everywhere: bool = False) -> Gathered:
    """cp1 has that directory, and all the others too where it is `everywhere`."""
    whole = healthy()
    nodes = (replace(one, patches=names if everywhere or one.name == "cp1" else None) for one in whole.nodes)
    return replace(whole, nodes=tuple(nodes), patches=directory)


def flags_of_w1(path: str, text: str) -> Gathered:
    return with_node("w1", kubelet_flags={path: text})


def cgroups(kind: str, config: str = "") -> Gathered:
    return with_node("w1", cgroup_type=kind, kubelet_config=config)


other_kubelet = {"kubeadm": "1.27.16-1.1", "kubelet": "1.27.17-2.1"}

CASES = [
    Case("version-path", B, "v1.27.15 is older than the cluster", healthy(), V("v1.27.15")),
    Case("version-path", B, "v1.26.0 is older than the cluster", healthy(), V("v1.26.0")),
    Case("version-path", B, "skips 1 minor", healthy(), V("v1.29.0")),
    Case("version-path", B, "no way from v1.27.16 to v2.0.0", healthy(), V("v2.0.0")),
    Case("version-path", B, "every node runs v1.27.16 already", healthy(), V("v1.27.16")),
    Case("version-path", W, "still to be upgraded: w1", kubelet_of_w1("v1.26.1"), V("v1.27.16")),
    Case("version-skew", B, "different minor versions", api_server_of_cp1("v1.28.0")),
    Case("version-skew", W, "different patches", api_server_of_cp1("v1.27.12")),
    Case("version-skew", B, "is newer than the API server", kubelet_of_w1("v1.28.0"), where="w1"),
    Case("version-skew", B, "more than 3 minor versions", kubelet_of_w1("v1.25.0"), V("v1.29.0"), where="w1"),
    Case("version-skew", B, "more than 2 minor versions", kubelet_of_w1("v1.24.9"), V("v1.27.17"), where="w1"),
    Case("version-skew", W, "is not a release", kubelet_of_w1("v1.27.16-alpha.1")),
    Case("package-source-known", B, "not installed by apt", with_node("w1", installed=None), where="w1"),
    Case("package-source-known", B, "not installed by apt", with_node("w1", installed={"kubectl": "1.27.16-1.1"})),
    Case("package-source-known", B, "no package source /etc", with_node("w1", package_source_text=None)),
    Case("package-source-known", W, "no repository of v1.27", with_node("w1", package_source_text=MIRROR)),
    Case("packages-available", B, "no package of v1.27.17 for kubeadm", healthy(), V("v1.27.17")),
    Case("packages-available", B, "of v1.28.0", with_node("w1", package_source_text=SOURCE.replace("27", "28"))),
    Case("packages-whole", W, "w1: The following packages are in a mess", with_node("w1", unfinished=AUDIT)),
    Case("nodes-left-out", W, "win1 is not upgraded: it runs windows", left_out("win1", "it runs windows")),
    Case("patches-known", B, "would not be given: etcd0+json.yaml", with_node("cp1", patches=("etcd0+json.yaml", "a"))),
    Case("patches-known", B, "cp2 has no directory /p", patched("/p", ())),
    Case("packages-held", W, "not on hold: kubectl", with_node("w1", holds=("kubeadm", "kubelet"))),
    Case("packages-match-running", W, "the package is 1.27.17-2.1", with_node("w1", installed=other_kubelet)),
    Case("nodes-ready", B, "w1 is not Ready: KubeletNotReady", row_of_w1(ready=False, ready_reason="KubeletNotReady")),
    Case("nodes-pressure", W, "w1 reports DiskPressure", row_of_w1(pressures=("DiskPressure",))),
    Case("nodes-pressure", B, "cp1 reports", with_api(nodes=(node_row("cp1", pressures=("DiskPressure",)),))),
    Case("nodes-schedulable", W, "w1 is cordoned", row_of_w1(unschedulable=True), where="w1"),
    Case("clocks-agree", W, "12 s behind", with_node("w1", clock_offset=-12.0), where="w1"),
    Case("disruption-budgets-allow", W, "shop/web allows no eviction", with_api(budgets=(budget,))),
    Case("kubelet-flags-supported", B, "sets --network-plugin", flags_of_w1(FLAGS, 'X="--network-plugin=cni"')),
    Case("kubelet-flags-supported", B, "--container-runtime,", flags_of_w1(DEFAULTS, "X=--container-runtime=remote")),
    Case("runtime-supported", B, "containerd 1.5.9", row_of_w1(runtime="containerd://1.5.9")),
    Case("runtime-supported", B, "2.0 or newer", row_of_w1(runtime="containerd://1.7.27"), V("v1.36.0")),
    Case("runtime-supported", B, "dockershim", row_of_w1(runtime="docker://20.10.1")),
    Case("cri-socket-agrees", B, "names /run/dockershim.sock", row_of_w1(cri_socket="/run/dockershim.sock")),
    Case(
        "kubelet-flags-supported",
        B,
        "10-extra.conf sets --keep-terminated-pod-volumes, which kubelet does not know since v1.31",
        flags_of_w1(
            "/etc/systemd/system/kubelet.service.d/10-extra.conf", 'Environment="X=--keep-terminated-pod-volumes"'
        ),
        V("v1.31.0"),
    ),
    Case(
        "kubelet-flags-supported",
        B,
        "the feature gate KubeletCredentialProviders",
        with_node("w1", kubelet_config="featureGates: {KubeletCredentialProviders: true} # once needed"),
    ),
    Case("runtime-supported", B, "through containerd", row_of_cp2("cri-o://1.27.1")),
    Case("cgroups-supported", B, "does not start", cgroups("tmpfs"), V("v1.35.0")),
    Case("cgroups-supported", W, "later", cgroups("tmpfs", "a: b\nfailCgroupV1: false\n"), V("v1.35.0")),
    Case("cgroups-supported", W, "later", cgroups("tmpfs", "{failCgroupV1: false} # for now\n"), V("v1.35.0")),
]

GOOD = [
    Good("version-path", healthy(), V("v1.27.17")),
    Good("version-path", healthy(), V("v1.28.9")),
    Good("version-skew", kubelet_of_w1("v1.25.0")),
    Good("package-source-known", with_node("w1", package_source_text=MIRROR), V("v1.27.17")),
    Good(
        "packages-available",
        with_node("w1", available=dict.fromkeys(PACKAGES, ("1.28.0-2.1",)), package_source_text=MIRROR),
    ),
    Good("disruption-budgets-allow", with_api(budgets=(budget,), pods=(pod("web", owner_kind="DaemonSet"),))),
    Good("disruption-budgets-allow", with_api(budgets=(budget,), pods=(pod("web", "other"),))),
    Good("disruption-budgets-allow", with_api(budgets=(budget,), pods=(pod("web", phase="Succeeded"),))),
    Good("disruption-budgets-allow", with_api(budgets=(replace(budget, disruptions_allowed=1),))),
    Good("kubelet-flags-supported", flags_of_w1(FLAGS, 'X="--container-runtime=remote"')),
    Good("kubelet-flags-supported", with_node("w1", kubelet_config="featureGates:\n  Other: true\n")),
    Good("kubelet-flags-supported", flags_of_w1(DEFAULTS, "# --network-plugin=cni\nX=--node-ip=1")),
    Good("kubelet-flags-supported", flags_of_w1(DEFAULTS, "X=--pod-infra-container-image=p"), V("v1.34.0")),
    Good("runtime-supported", row_of_w1(runtime="cri-o://1.27.0")),
    Good("cri-socket-agrees", row_of_w1(cri_socket="")),
    Good("cgroups-supported", cgroups("cgroup2fs"), V("v1.35.0")),
    Good("patches-known", patched("/p", ("kube-apiserver+merge.yaml",), everywhere=True)),
    Good("patches-known", with_node("cp1", patches=("notes.txt", "kube-proxy.yaml"))),
    Good("clocks-agree", with_node("w1", clock_offset=9.0)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_wrong_is_said(case: Case) -> None:
    assert_said(case)


@pytest.mark.parametrize("good", GOOD, ids=str)
def test_what_is_right_is_not_held_against_it(good: Good) -> None:
    assert_quiet(good)


def test_every_node_is_judged() -> None:
    found = [one for one in judge(healthy(), TARGET) if one.check == "packages-held"]
    assert tuple(one.where for one in found) == NODES
