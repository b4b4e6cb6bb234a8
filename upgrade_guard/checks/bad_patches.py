"""Patch releases that their own maintainers advise against, and which one to take instead."""

from __future__ import annotations

from dataclasses import dataclass

from upgrade_guard.checks.findings import ok, warning
from upgrade_guard.checks.gathered import Gathered
from upgrade_guard.model.finding import Finding
from upgrade_guard.model.version import Version


@dataclass(frozen=True)
class BadPatch:
    """`series` up to and without the patch `take`. `for_kubelet_patches`: only where kubelet's configuration is
    patched through kubeadm.
    """

    series: str
    take: int
    why: str
    source: str
    for_kubelet_patches: bool = False


_UPLOADED = "kubeadm writes one node's patches of kubelet's configuration into that of all nodes"

BAD_PATCHES = (
    BadPatch(
        "v1.30",
        1,
        "`kubeadm upgrade apply` writes kubelet's default configuration over your own, and fails where the only node "
        "is drained; kubeadm's maintainers advise to skip it",
        "kubernetes/kubernetes#124046, kubernetes/kubeadm#3050",
    ),
    BadPatch("v1.29", 2, _UPLOADED, "kubernetes/kubeadm#3008", for_kubelet_patches=True),
    BadPatch("v1.28", 7, _UPLOADED, "kubernetes/kubeadm#3008", for_kubelet_patches=True),
    BadPatch("v1.27", 11, _UPLOADED, "kubernetes/kubeadm#3008", for_kubelet_patches=True),
)


def target_patch_sound(gathered: Gathered, target: Version) -> tuple[Finding, ...]:
    """The target is no patch release that its own maintainers advise against."""
    name = "target-patch-sound"
    patched = gathered.patches and any(
        file.startswith("kubeletconfiguration") for node in gathered.nodes for file in node.patches or ()
    )
    findings = [
        warning(
            name,
            f"{target}: {one.why} ({one.source})",
            f"take {one.series}.{one.take} or a later one: upgrade-guard run {one.series}.{one.take}",
        )
        for one in BAD_PATCHES
        if one.series == target.series and target.patch < one.take and (patched or not one.for_kubelet_patches)
    ]
    return tuple(findings) or (ok(name, f"nothing is known against {target}"),)
