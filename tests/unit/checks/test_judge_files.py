"""Files of the control planes, disks, certificates, and the place for copies."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from unit.checks.healthy import (
    NOW,
    TARGET,
    etcd_manifest,
    kubeadm_config,
    static_pods,
    with_api,
    with_control_plane,
    with_flag,
    with_machine,
)
from unit.checks.judging import B, Case, Good, V, W, assert_quiet, assert_said

from upgrade_guard.checks.catalogue import judge
from upgrade_guard.checks.gathered import Gathered, Room, StaticPodFile, TargetLook
from upgrade_guard.model.finding import Severity
from upgrade_guard.tools.kubeadm import Certificate

MIB = 1024**2
unmounted = TargetLook("file:///mnt/x", ("is it mounted?",), off_control_plane=True, reason="")
same_disk = TargetLook("file:///mnt/x", (), off_control_plane=False, reason="same disk")
good_target = TargetLook("ssh://nas/x", (), off_control_plane=True, reason="another host")
copied = StaticPodFile("kube-apiserver.yaml.bak", "r.example/kube-apiserver:v1", components=("kube-apiserver",))


def with_file(file: StaticPodFile) -> Gathered:
    return with_control_plane("cp2", static_pods=(*static_pods(), file))


def with_certificate(name: str, days: float | None) -> Gathered:
    expires = None if days is None else NOW + timedelta(days=days)
    return with_control_plane("cp2", certificates=(Certificate(name, expires, missing=days is None),))


def with_extra(flag: str, value: str) -> Gathered:
    return with_api(kubeadm_config=kubeadm_config(extra_args={"kube-scheduler": {flag: value}}))


def below_roots(**data_dirs: str) -> Gathered:
    """Each control plane below a root of its own; kubeadm-config says what is true of the first."""
    whole = with_api(kubeadm_config=kubeadm_config(data_dir="/srv/cp1/var/lib/etcd"))
    looks = []
    for look in whole.nodes:
        if look.control_plane is not None:
            root = f"/srv/{look.name}"
            etcd = etcd_manifest(look.name, data_dir=data_dirs.get(look.name, f"{root}/var/lib/etcd"))
            look = replace(look, control_plane=replace(look.control_plane, root=root, etcd=etcd))
        looks.append(look)
    return replace(whole, nodes=tuple(looks))


CASES = [
    Case("certificates-valid", B, "expired: apiserver", with_certificate("apiserver", -1), where="cp2"),
    Case("certificates-valid", W, "apiserver (20 days)", with_certificate("apiserver", 20)),
    Case("certificates-valid", W, "missing: admin.conf", with_certificate("admin.conf", None)),
    Case("disk-space-etcd", B, "/d has 100.0 MiB", with_control_plane("cp2", data_room=Room("/d", 100 * MIB, 2))),
    Case("disk-space-etcd", B, "/t has 9 B", with_control_plane("cp2", tmp_room=Room("/t", 9, 2)), where="cp2"),
    Case("disk-space-vault", B, "/v has 1.0 KiB", with_machine(vault_room=Room("/v", 1024, 2))),
    Case("disk-space-scratch", B, "/s has 1.0 KiB", with_machine(scratch_room=Room("/s", 1024, 2))),
    Case("offsite-target-usable", B, "no off-site target", with_machine(targets=())),
    Case("offsite-target-usable", B, "mounted", with_machine(targets=(unmounted,)), where="file:///mnt/x"),
    Case("offsite-target-usable", B, "is not off-site: same disk", with_machine(targets=(same_disk,))),
    Case("offsite-target-usable", W, "mounted", with_machine(targets=(unmounted, good_target))),
    Case("offsite-target-usable", B, "2 copies are required, 1", with_machine(targets_required=2)),
    Case("manifests-clean", B, "kube-apiserver.yaml.bak", with_file(copied), where="cp2"),
    Case(
        "flags-supported",
        B,
        "kube-controller-manager is given --pod-eviction-timeout, which it does not know since v1.27",
        with_flag("kube-controller-manager", "pod-eviction-timeout", "5m"),
        V("v1.28.0"),
        where="cp2",
    ),
    Case(
        "flags-supported",
        B,
        "the admission plugin PodSecurityPolicy",
        with_flag("kube-apiserver", "enable-admission-plugins", "NodeRestriction,PodSecurityPolicy"),
    ),
    Case(
        "flags-supported",
        B,
        "the feature gate KubeletCredentialProviders",
        with_flag("kube-scheduler", "feature-gates", "A=true,KubeletCredentialProviders=true"),
    ),
    Case("manifests-clean", W, "notes.txt", with_file(StaticPodFile("notes.txt", ""))),
    Case(
        "manifests-match-config",
        W,
        "--oidc-issuer-url=https://i",
        with_flag("kube-apiserver", "oidc-issuer-url", "https://i"),
    ),
    Case(
        "manifests-match-config",
        W,
        "(becomes 127.0.0.1)",
        with_flag("kube-controller-manager", "bind-address", "0.0.0.0"),
    ),
    Case("manifests-match-config", W, "--v (becomes 4)", with_extra("v", "4")),
    Case("manifests-match-config", W, "--leader-elect=true (becomes false)", with_extra("leader-elect", "false")),
    Case("data-dir-agrees", B, "says /srv/etcd", with_api(kubeadm_config=kubeadm_config(data_dir="/srv/etcd"))),
    Case("data-dir-agrees", B, "cp2: etcd uses /srv/cp2/data", below_roots(cp2="/srv/cp2/data"), where="cp2"),
    Case("data-dir-agrees", B, "cp3: etcd uses /srv/cp1/var", below_roots(cp3="/srv/cp1/var/lib/etcd"), where="cp3"),
    Case("tmp-same-filesystem", B, "another file system", with_control_plane("cp2", tmp_device=9), where="cp2"),
]

GOOD = [
    Good("certificates-valid", with_certificate("super-admin.conf", None)),
    Good("certificates-valid", with_certificate("apiserver", 30.1)),
    Good("manifests-clean", with_file(StaticPodFile("kube-vip.yaml", "ghcr.io/kube-vip/kube-vip:v0.8.0"))),
    Good("manifests-clean", with_file(StaticPodFile("etcd-backup.yaml", "registry.k8s.io/etcd:3.5.12-0"))),
    Good("manifests-match-config", with_extra("leader-elect", "true")),
    Good("data-dir-agrees", with_api(kubeadm_config=kubeadm_config(data_dir="/var/lib/etcd/"))),
    Good("data-dir-agrees", below_roots()),
    Good("tmp-same-filesystem", with_control_plane("cp2", tmp_device=None)),
    Good("offsite-target-usable", with_machine(targets=(same_disk, good_target))),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_wrong_is_said(case: Case) -> None:
    assert_said(case)


@pytest.mark.parametrize("good", GOOD, ids=str)
def test_what_is_right_is_not_held_against_it(good: Good) -> None:
    assert_quiet(good)


def test_needs_on_one_device_add_up() -> None:
    data = Room("/var/lib/etcd", 300 * MIB, 1)
    apart = with_control_plane("cp2", data_room=data, tmp_room=replace(data, device=2))
    together = with_control_plane("cp2", data_room=data, tmp_room=data)

    def severities(gathered: Gathered) -> set[Severity]:
        found = judge(gathered, TARGET)
        return {one.severity for one in found if one.check == "disk-space-etcd" and one.where == "cp2"}

    assert severities(apart) == {Severity.OK}
    assert severities(together) == {Severity.BLOCKING}
