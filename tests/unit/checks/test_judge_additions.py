"""What people added to manifests, what they mount, and patch releases that are known to be bad."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from unit.checks.healthy import healthy, kubeadm_config, with_additions, with_api
from unit.checks.judging import B, Case, Good, V, W, assert_quiet, assert_said

from upgrade_guard.checks.gather_node import static_pod_file
from upgrade_guard.checks.gathered import Additions, Gathered
from upgrade_guard.checks.manifest_additions import REQUESTS
from upgrade_guard.tools.kubeadm import ExtraVolume, parse_kubeadm_config

MANIFESTS = Path(__file__).parents[2] / "fixtures" / "manifests"

USUAL = Additions(requests={"cpu": "250m"})


def with_patches(gathered: Gathered, *files: str) -> Gathered:
    nodes = tuple(replace(node, patches=files) for node in gathered.nodes)
    return replace(gathered, nodes=nodes, patches="/etc/kubernetes/patches")


def with_volume(volume: ExtraVolume, *there: str) -> Gathered:
    """kubeadm-config mounts it into the API server, and it is on the control planes `there`."""
    whole = with_api(kubeadm_config=kubeadm_config(extra_volumes={"kube-apiserver": (volume,)}))
    nodes = []
    for node in whole.nodes:
        look = node.control_plane
        if look is not None and node.name in there:
            look = replace(look, extra_volumes=frozenset({volume.path}))
        nodes.append(replace(node, control_plane=look))
    return replace(whole, nodes=tuple(nodes))


def with_env(*known: str) -> Gathered:
    added = with_additions("kube-apiserver", Additions(variables=("GOMAXPROCS",)))
    config = kubeadm_config(extra_envs={"kube-apiserver": known})
    return replace(added, api=replace(added.api, kubeadm_config=config))


AUDIT = ExtraVolume("/etc/kubernetes/audit.yaml", "File")
NO_KIND = ExtraVolume("/etc/kubernetes/audit.yaml")
KUBELET_PATCH = "kubeletconfiguration.yaml"
LOGS = ExtraVolume("/var/log/audit", "DirectoryOrCreate")

CASES = [
    Case("manifest-additions-kept", B, "the environment variable GOMAXPROCS", with_env(), where="cp2"),
    Case(
        "manifest-additions-kept",
        B,
        "the container kms",
        with_additions("kube-apiserver", Additions(containers=("kms",))),
    ),
    Case("manifest-additions-kept", B, "hostAliases", with_additions("kube-scheduler", Additions(host_aliases=True))),
    Case(
        "manifest-additions-kept",
        W,
        "request cpu 1, limit memory 8Gi",
        with_additions("kube-apiserver", Additions(requests={"cpu": "1"}, limits={"memory": "8Gi"})),
        where="cp2",
    ),
    Case("mounted-files-there", B, "mounts what is not there: /etc/kub", with_volume(AUDIT, "cp1", "cp3"), where="cp2"),
    Case("mounted-files-there", B, "cp3: kube-apiserver mounts", with_volume(NO_KIND, "cp1", "cp2"), where="cp3"),
    Case("target-patch-sound", W, "advise to skip it", healthy(), V("v1.30.0")),
    Case(
        "target-patch-sound",
        W,
        "patches of kubelet",
        with_patches(healthy(), "kubeletconfiguration.yaml"),
        V("v1.28.0"),
    ),
]

GOOD = [
    Good("manifest-additions-kept", with_env("GOMAXPROCS")),
    Good("manifest-additions-kept", with_additions("kube-apiserver", USUAL)),
    Good("manifest-additions-kept", with_patches(with_env(), "kube-apiserver.yaml")),
    Good("mounted-files-there", with_volume(AUDIT, "cp1", "cp2", "cp3")),
    Good("mounted-files-there", with_volume(LOGS)),
    Good("mounted-files-there", with_volume(NO_KIND)),
    Good("target-patch-sound", healthy()),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_wrong_is_said(case: Case) -> None:
    assert_said(case)


@pytest.mark.parametrize("good", GOOD, ids=str)
def test_what_is_right_is_not_held_against_it(good: Good) -> None:
    assert_quiet(good)


@pytest.mark.parametrize("path", sorted(MANIFESTS.glob("*-1.3*.yaml")), ids=lambda path: path.name)
def test_what_kubeadm_wrote_has_no_additions(path: Path) -> None:
    component = path.name.partition("-1.3")[0]
    pod = static_pod_file(f"{component}.yaml", path.read_text())
    assert pod.components == (component,)
    assert pod.additions == Additions(requests=REQUESTS[component])


def test_additions_are_read_from_a_manifest() -> None:
    text = """
kind: Pod
metadata: {name: kube-apiserver}
spec:
  hostAliases: [{ip: 10.0.0.9, hostnames: [idp.example.org]}]
  containers:
  - {name: kms, image: "kms:1"}
  - name: kube-apiserver
    image: registry.k8s.io/kube-apiserver:v1.27.16
    command: [kube-apiserver]
    env: [{name: GOMAXPROCS, value: "4"}, {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
    resources: {requests: {cpu: 1}, limits: {memory: 8Gi}}
"""
    assert static_pod_file("kube-apiserver.yaml", text).additions == Additions(
        variables=("GOMAXPROCS", "NODE"),
        containers=("kms",),
        requests={"cpu": "1"},
        limits={"memory": "8Gi"},
        host_aliases=True,
    )


def test_what_kubeadm_config_mounts_and_sets_is_read() -> None:
    text = """
apiVersion: kubeadm.k8s.io/v1beta4
kubernetesVersion: v1.33.1
apiServer:
  extraEnvs: [{name: GOMAXPROCS, value: "4"}]
  extraVolumes: [{name: audit, hostPath: /etc/kubernetes/audit.yaml, mountPath: /audit.yaml, pathType: File}]
etcd: {local: {dataDir: /var/lib/etcd, extraEnvs: [{name: ETCD_X, value: y}]}}
"""
    config = parse_kubeadm_config(json.dumps({"data": {"ClusterConfiguration": text}}))
    assert config.extra_volumes["kube-apiserver"] == (ExtraVolume("/etc/kubernetes/audit.yaml", "File"),)
    assert (config.extra_envs["kube-apiserver"], config.extra_envs["etcd"]) == (("GOMAXPROCS",), ("ETCD_X",))
