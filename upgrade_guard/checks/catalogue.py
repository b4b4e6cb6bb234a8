"""Every check by name. Names are public: stored, shown and documented; renaming one needs a migration."""

from __future__ import annotations

from upgrade_guard.checks import (
    api,
    bad_patches,
    certificates,
    control_plane_files,
    disk,
    etcd_members,
    etcd_server,
    kubelet,
    manifest_additions,
    nodes,
    packages,
    targets,
    versions,
)
from upgrade_guard.checks.findings import Check, Judge
from upgrade_guard.checks.gathered import Gathered
from upgrade_guard.model.finding import Finding, Severity
from upgrade_guard.model.version import Version

_BLOCKING, _WARNING = Severity.BLOCKING, Severity.WARNING


def _check(name: str, worst: Severity, judge: Judge) -> Check:
    return Check(name, (judge.__doc__ or "").partition("\n")[0], worst, judge)


CHECKS: tuple[Check, ...] = (
    _check("version-path", _BLOCKING, versions.version_path),
    _check("version-skew", _BLOCKING, versions.version_skew),
    _check("target-patch-sound", _WARNING, bad_patches.target_patch_sound),
    _check("etcd-manifest-complete", _BLOCKING, control_plane_files.etcd_manifest_complete),
    _check("etcd-members-healthy", _BLOCKING, etcd_members.members_healthy),
    _check("etcd-one-leader", _BLOCKING, etcd_members.one_leader),
    _check("etcd-members-level", _BLOCKING, etcd_members.members_level),
    _check("etcd-no-alarm", _BLOCKING, etcd_members.no_alarm),
    _check("etcd-no-learner", _BLOCKING, etcd_members.no_learner),
    _check("etcd-members-agree", _BLOCKING, etcd_members.members_agree),
    _check("etcd-odd-members", _WARNING, etcd_members.odd_members),
    _check("etcd-version-sound", _BLOCKING, etcd_server.version_sound),
    _check("etcd-quota", _BLOCKING, etcd_server.quota),
    _check("certificates-valid", _BLOCKING, certificates.certificates_valid),
    _check("disk-space-etcd", _BLOCKING, disk.disk_space_etcd),
    _check("disk-space-vault", _BLOCKING, disk.disk_space_vault),
    _check("disk-space-scratch", _BLOCKING, disk.disk_space_scratch),
    _check("offsite-target-usable", _BLOCKING, targets.offsite_target_usable),
    _check("package-source-known", _BLOCKING, packages.package_source_known),
    _check("packages-available", _BLOCKING, packages.packages_available),
    _check("packages-whole", _WARNING, packages.packages_whole),
    _check("packages-held", _WARNING, packages.packages_held),
    _check("packages-match-running", _WARNING, packages.packages_match_running),
    _check("nodes-ready", _BLOCKING, nodes.nodes_ready),
    _check("nodes-left-out", _WARNING, nodes.nodes_left_out),
    _check("nodes-pressure", _BLOCKING, nodes.nodes_pressure),
    _check("nodes-schedulable", _WARNING, nodes.nodes_schedulable),
    _check("clocks-agree", _WARNING, nodes.clocks_agree),
    _check("disruption-budgets-allow", _WARNING, nodes.disruption_budgets_allow),
    _check("pods-can-leave", _BLOCKING, nodes.pods_can_leave),
    _check("manifests-clean", _BLOCKING, control_plane_files.manifests_clean),
    _check("patches-known", _BLOCKING, control_plane_files.patches_known),
    _check("manifests-match-config", _WARNING, control_plane_files.manifests_match_config),
    _check("manifest-additions-kept", _BLOCKING, manifest_additions.additions_kept),
    _check("mounted-files-there", _BLOCKING, manifest_additions.mounted_files_there),
    _check("flags-supported", _BLOCKING, control_plane_files.flags_supported),
    _check("data-dir-agrees", _BLOCKING, control_plane_files.data_dir_agrees),
    _check("tmp-same-filesystem", _BLOCKING, control_plane_files.tmp_same_filesystem),
    _check("kubelet-flags-supported", _BLOCKING, kubelet.kubelet_flags_supported),
    _check("runtime-supported", _BLOCKING, kubelet.runtime_supported),
    _check("cri-socket-agrees", _BLOCKING, kubelet.cri_socket_agrees),
    _check("cgroups-supported", _BLOCKING, kubelet.cgroups_supported),
    _check("deprecated-apis", _WARNING, api.deprecated_apis),
    _check("api-services-available", _WARNING, api.api_services_available),
    _check("webhooks-answer", _WARNING, api.webhooks_answer),
    _check("workloads-healthy", _WARNING, api.workloads_healthy),
    _check("addons-healthy", _WARNING, api.addons_healthy),
)


def judge(gathered: Gathered, target: Version) -> tuple[Finding, ...]:
    """Every finding of every check, the OK ones too, in the order of the catalogue.

    A question that could not be asked is answered by its check's worst severity: not knowing is no reason to go on.
    """
    findings = []
    for check in CHECKS:
        unanswered = [one for one in gathered.unanswered if one.check == check.name]
        places = {one.where for one in unanswered}
        findings += [
            finding
            for finding in check.judge(gathered, target)
            if finding.severity is not Severity.OK or finding.where not in places
        ]
        findings += [
            Finding(
                check.name,
                check.worst,
                f"{one.where}: could not be asked: {one.message}"
                if one.where
                else f"could not be asked: {one.message}",
                one.hint or "cure that and ask again: upgrade-guard check VERSION",
                one.where,
            )
            for one in unanswered
        ]
    return tuple(findings)


def blocking(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Those that stop a run."""
    return tuple(finding for finding in findings if finding.severity is Severity.BLOCKING)
