"""Are the control planes' files what kubeadm expects, so that an upgrade neither hangs nor loses settings?"""

from __future__ import annotations

import re

from upgrade_guard.checks.findings import blocking, listed, ok, warning
from upgrade_guard.checks.gathered import Gathered
from upgrade_guard.checks.generated_flags import lost_flags
from upgrade_guard.checks.removed_settings import removed_from
from upgrade_guard.model.cluster import COMPONENTS
from upgrade_guard.model.etcd import EtcdManifest
from upgrade_guard.model.finding import Finding
from upgrade_guard.model.version import Version

EXPECTED_FILES = frozenset(f"{component}.yaml" for component in COMPONENTS)


def etcd_manifest_complete(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """The etcd manifest names --cert-file, --key-file, --trusted-ca-file and --data-dir, and all four exist."""
    name = "etcd-manifest-complete"
    findings = []
    for node, look in gathered.control_planes:
        if look.etcd is None:
            findings.append(
                blocking(
                    name,
                    f"{node}: {look.etcd_problem or 'there is no etcd manifest'}",
                    "only etcd on the control planes themselves is supported: cat /etc/kubernetes/manifests/etcd.yaml",
                    node,
                )
            )
        elif absent := [flag for flag, value in critical_paths(look.etcd).items() if not value]:
            findings.append(
                blocking(
                    name,
                    f"{node}: the etcd manifest does not say {listed(absent)}",
                    f"look on {node}: grep -e '--' /etc/kubernetes/manifests/etcd.yaml",
                    node,
                )
            )
        elif look.etcd.wal_dir:
            findings.append(
                blocking(
                    name,
                    f"{node}: etcd keeps its log apart from its data, in {look.etcd.wal_dir} (--wal-dir): after a "
                    "restore it would go on with the old one",
                    "move wal/ into DATA_DIR/member and take wal-dir out of etcd.local.extraArgs: "
                    "kubectl -n kube-system edit configmap kubeadm-config",
                    node,
                )
            )
        elif look.missing_files:
            findings.append(
                blocking(
                    name,
                    f"{node}: the etcd manifest names files that are not there: {listed(look.missing_files)}",
                    f"look on {node}: ls -l {' '.join(look.missing_files)}",
                    node,
                )
            )
        else:
            findings.append(ok(name, f"{node}: etcd's certificate, key, CA and data directory are there", node))
    return tuple(findings)


def critical_paths(etcd: EtcdManifest) -> dict[str, str]:
    """The four without which neither a snapshot nor a restore is possible: flag to path, "" where it is not given."""
    return {
        "--cert-file": etcd.cert_file,
        "--key-file": etcd.key_file,
        "--trusted-ca-file": etcd.trusted_ca_file,
        "--data-dir": etcd.data_dir,
    }


def data_dir_agrees(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """kubeadm-config and the manifest name one data directory: kubeadm copies the one it believes in (kubeadm#3044).

    kubeadm-config is one for all nodes. Where `kubernetes_dir` puts a node's files below a root of their own, paths are
    compared as they are below that root.
    """
    name = "data-dir-agrees"
    config = gathered.api.kubeadm_config
    if config is None:
        return ()
    findings = []
    # The node that kubeadm-config was written on lent it its own root; at most one root fits.
    believed = min((_below(look.root, config.data_dir) for _, look in gathered.control_planes), key=len, default="")
    for node, look in gathered.control_planes:
        if look.etcd is None:
            continue
        if config.data_dir and _below(look.root, look.etcd.data_dir) != believed:
            findings.append(
                blocking(
                    name,
                    f"{node}: etcd uses {look.etcd.data_dir}, kubeadm-config says {config.data_dir}",
                    "make etcd.local.dataDir true: kubectl -n kube-system edit configmap kubeadm-config",
                    node,
                )
            )
        else:
            findings.append(ok(name, f"{node}: the data directory is {look.etcd.data_dir}", node))
    return tuple(findings)


def _below(root: str, path: str) -> str:
    """`/srv/cp1/var/lib/etcd` below `/srv/cp1` is `/var/lib/etcd`; a path elsewhere stays as it is."""
    return (path[len(root) :] if root and path.startswith(f"{root}/") else path).rstrip("/")


def manifests_clean(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """manifests/ holds no second copy of a component: kubelet runs every file there.

    kubeadm#2823, kubernetes#136962. Other static pods (keepalived, haproxy, kube-vip) are the operator's own.
    """
    name = "manifests-clean"
    findings = []
    for node, look in gathered.control_planes:
        if not look.static_pods:
            continue
        strays = [pod for pod in look.static_pods if pod.name not in EXPECTED_FILES and not pod.name.startswith(".")]
        copies = [pod for pod in strays if pod.components]
        unread = [pod.name for pod in strays if not pod.image]
        if copies:
            what = listed(f"{pod.name} ({', '.join(pod.components)})" for pod in copies)
            findings.append(
                blocking(
                    name,
                    f"{node}: kubelet also runs what is in {what} in manifests/, a second copy that competes",
                    f"move it out of the directory on {node}: mv manifests/{copies[0].name} /root/",
                    node,
                )
            )
        elif unread:
            findings.append(
                warning(
                    name,
                    f"{node}: kubelet also reads {listed(unread)} in manifests/, which cannot be read as a pod",
                    f"look at it on {node}: cat manifests/{unread[0]}",
                    node,
                )
            )
        else:
            others = f"; static pods of your own: {listed(pod.name for pod in strays)}" if strays else ""
            findings.append(ok(name, f"{node}: manifests/ is clean{others}", node))
    return tuple(findings)


def manifests_match_config(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """No flag was edited into a manifest by hand: kubeadm writes manifests anew from kubeadm-config.

    kubeadm#2157, #950, #541, #3026.
    """
    name = "manifests-match-config"
    config = gathered.api.kubeadm_config
    if config is None:
        return ()
    findings = []
    for node, look in gathered.control_planes:
        for pod in look.static_pods:
            component = pod.name.removesuffix(".yaml")
            if pod.name not in EXPECTED_FILES or component not in pod.components:
                continue
            lost = lost_flags(component, pod.flags, config.extra_args.get(component, {}))
            if lost:
                findings.append(
                    warning(
                        name,
                        f"{node}: the upgrade will drop or change in {component}: {listed(lost)}",
                        "put them into extraArgs first: kubectl -n kube-system edit configmap kubeadm-config",
                        node,
                    )
                )
    return tuple(findings) or (ok(name, "the manifests say what kubeadm-config says"),)


def flags_supported(gathered: Gathered, target: Version) -> tuple[Finding, ...]:
    """No flag, feature gate or admission plugin that the target's components are known not to know any more.

    They would crash-loop in the middle of the upgrade. What a table does not know is not known to be removed, and no
    more than that.
    """
    name = "flags-supported"
    findings = []
    for node, look in gathered.control_planes:
        for pod in look.static_pods:
            component = pod.name.removesuffix(".yaml")
            if component not in pod.components:
                continue
            findings += [
                blocking(
                    name,
                    f"{node}: {component} is given {one.shown}, which it does not know since "
                    f"v{target.major}.{one.gone_in} ({one.source})",
                    "take it out of extraArgs, and out of the manifest: "
                    "kubectl -n kube-system edit configmap kubeadm-config",
                    node,
                )
                for one in removed_from(component, pod.flags, target.minor)
            ]
    return tuple(findings) or (ok(name, f"no flag is known to be removed in {target.series}"),)


def tmp_same_filesystem(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """kubeadm renames manifests between manifests/ and tmp/, which works within one file system only (kubeadm#3023)."""
    name = "tmp-same-filesystem"
    findings = []
    for node, look in gathered.control_planes:
        if look.tmp_device is None or look.manifests_device is None:
            continue
        if look.tmp_device != look.manifests_device:
            findings.append(
                blocking(
                    name,
                    f"{node}: tmp/ beside manifests/ is on another file system",
                    f"make it a plain directory on {node}: rm /etc/kubernetes/tmp && mkdir -m 700 /etc/kubernetes/tmp",
                    node,
                )
            )
        else:
            findings.append(ok(name, f"{node}: tmp/ and manifests/ share a file system", node))
    return tuple(findings)


def program_of(image: str) -> str:
    """What an image is called without its registry and tag: `registry.k8s.io/kube-apiserver:v1.28.0`."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def patches_known(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """Patches of kubeadm are handed to it again: without them it writes manifests that lack what was patched.

    File names as in kubernetes.io, "Customizing components with the kubeadm API": target, suffix, patch type.
    """
    name = "patches-known"
    findings = []
    for node in gathered.nodes:
        if gathered.patches and node.control_plane is not None and node.patches is None:
            hint = f"put the patches of the other control planes there: ls {gathered.patches}"
            findings.append(blocking(name, f"{node.name} has no directory {gathered.patches}", hint, node.name))
        patches = [file for file in node.patches or () if _PATCH.match(file)]
        if patches and not gathered.patches:
            findings.append(
                blocking(
                    name,
                    f"{node.name} has patches for kubeadm which it would not be given: {listed(patches)}",
                    'name their directory in the configuration: [upgrade] patches = "/etc/kubernetes/patches"',
                    node.name,
                )
            )
    return tuple(findings) or (ok(name, "kubeadm is given every patch that is there"),)


_PATCH = re.compile(
    r"(etcd|kube-(apiserver|controller-manager|scheduler)|kubeletconfiguration|corednsdeployment)"
    r"[^.+]*(\+(strategic|merge|json))?\.(ya?ml|json)$"
)
