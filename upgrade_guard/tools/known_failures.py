"""Failures that others have met before: what the program says, and what cures it.

Each entry names the issue where it was described first, or the manual that tells of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class KnownFailure:
    """`said` is searched in a program's output; `hint` is one imperative line."""

    name: str
    said: str
    hint: str
    seen_in: str


KNOWN_FAILURES = (
    KnownFailure(
        "health-check-job",
        r"\[ERROR CreateJob\]|upgrade-health-check-\S+.{0,80}(did not complete|no condition of type Complete)",
        "Look why the Job's pod does not run: kubectl -n kube-system get events; pull the pause image on every node; "
        'then retry, or set upgrade.ignore_preflight_errors = ["CreateJob"].',
        "kubernetes/kubernetes#122303, kubernetes/kubeadm#3050",
    ),
    KnownFailure(
        "static-pod-unchanged",
        r"static Pod hash for component \S+ on Node \S+ did not change|failed to obtain static Pod hash",
        "Look at the node's kubelet and containers: journalctl -u kubelet; crictl ps --all",
        "kubernetes/kubeadm#2468",
    ),
    KnownFailure(
        "etcd-file-copy",
        r"failed to back up etcd data",
        "Run it again: kubeadm copies the live data directory and met a file that etcd had just renamed.",
        "kubernetes/kubeadm#3324",
    ),
    KnownFailure(
        "disk-full",
        r"no space left on device",
        "Make room; kubeadm never removes its own copies: du -sh /etc/kubernetes/tmp/*",
        "kubernetes/kubernetes#125357",
    ),
    KnownFailure(
        "other-file-system",
        r"invalid cross-device link",
        "Keep /etc/kubernetes/tmp on the file system of /etc/kubernetes/manifests: findmnt -T /etc/kubernetes/tmp",
        "kubernetes/kubeadm#3023",
    ),
    KnownFailure(
        "coredns-migration",
        r"\[ERROR CoreDNS(UnsupportedPlugins|Migration)\]|CoreDNSMigration|CoreDNSUnsupportedPlugins",
        "Migrate the Corefile by hand, then set upgrade.ignore_preflight_errors = "
        '["CoreDNSUnsupportedPlugins", "CoreDNSMigration"].',
        "kubernetes/kubernetes#82889",
    ),
    KnownFailure(
        "certificate-expired",
        r"certificate has expired",
        "Renew and restart the control plane's pods: kubeadm certs check-expiration; kubeadm certs renew all",
        "kubernetes/kubeadm#2352",
    ),
    KnownFailure(
        "admin-forbidden",
        r'User "kubernetes-admin" cannot \S+ ',
        "Give the administrator its binding back: kubectl --kubeconfig=/etc/kubernetes/super-admin.conf create "
        "clusterrolebinding kubeadm:cluster-admins --clusterrole=cluster-admin --group=kubeadm:cluster-admins",
        "kubernetes/kubeadm#3308",
    ),
    KnownFailure(
        "eviction-refused",
        r"violate the pod's disruption budget",
        "See which budget allows no disruption: kubectl get poddisruptionbudgets --all-namespaces",
        "replicatedhq/kURL#817",
    ),
    KnownFailure(
        "bare-pods",
        r"cannot delete Pods (that|not managed by|declare).{0,120}(use --force|no controller)",
        "Give those pods a controller or delete them, or set upgrade.drain_force = true: they are gone for good then.",
        "kubectl drain --help",
    ),
    KnownFailure(
        "local-data",
        r"cannot delete Pods with local storage",
        "Set upgrade.drain_delete_emptydir = true, or skip the drain of that node: drain = false in its table.",
        "kubectl drain --help",
    ),
    KnownFailure(
        "feature-gate",
        r"unrecognized feature gate: \w+",
        "Take that gate out of kubeadm-config, kubelet-config and the flags first: the target has removed it.",
        "kubernetes.io, Feature Gates (removed)",
    ),
    KnownFailure(
        "image-pull",
        r"\[ERROR ImagePull\]|ErrImagePull|ImagePullBackOff",
        "Pull the images by hand and see why it fails: kubeadm config images pull; crictl pull IMAGE",
        "kubeadm config images pull --help",
    ),
    KnownFailure(
        "crictl-endpoint",
        r"validate service connection|dockershim\.sock: connect: no such file|runtime connect using default endpoints",
        "Name the runtime's socket in /etc/crictl.yaml: runtime-endpoint: unix:///run/containerd/containerd.sock",
        "cri-tools, docs/crictl.md",
    ),
    KnownFailure(
        "no-kubeadm-config",
        r'configmaps "kubeadm-config" not found|unable to fetch the kubeadm-config ConfigMap',
        "kubeadm keeps its settings there; write it again: kubeadm init phase upload-config kubeadm --config FILE",
        "kubeadm init phase upload-config --help",
    ),
    KnownFailure(
        "kubeadm-config-version",
        r"your configuration file uses an old API spec|no kind \"ClusterConfiguration\" is registered for version",
        "Convert it with a kubeadm that still knows it: kubeadm config migrate --old-config FILE --new-config NEW",
        "kubeadm config migrate --help",
    ),
    KnownFailure(
        "etcd-full",
        r"database space exceeded|alarm:NOSPACE",
        "Compact, defragment and disarm: etcdctl compact REVISION; etcdctl defrag; etcdctl alarm disarm",
        "etcd-io/etcd#14497",
    ),
    KnownFailure(
        "old-member",
        r"cluster ID mismatch",
        "A member with other data is still there: restore the same snapshot on every control plane.",
        "k0sproject/k0sctl#971",
    ),
    KnownFailure(
        "snapshot-without-digest",
        r"snapshot missing hash but|expected sha256 \[",
        "The snapshot file is damaged: use another one (upgrade-guard backup list).",
        "etcd-io/etcd#18340",
    ),
    KnownFailure(
        "no-shell-in-image",
        r'exec: "sh": executable file not found',
        "The image has no shell: run its program directly.",
        "rancher/rke#3382",
    ),
    KnownFailure(
        "cri-version",
        r"CRI v1 runtime API is not implemented",
        "Update containerd (1.6 or newer for Kubernetes 1.26) or enable its CRI plug-in: "
        "grep disabled_plugins /etc/containerd/config.toml",
        "containerd/containerd#7799",
    ),
    KnownFailure(
        "kubelet-flag-gone",
        r"unknown flag: --(network-plugin|pod-infra-container-image|container-runtime)\b",
        "Remove that flag from /var/lib/kubelet/kubeadm-flags.env and /etc/default/kubelet, then restart kubelet.",
        "kubernetes/website#34755, kubernetes/kubeadm#3281",
    ),
    KnownFailure(
        "kubelet-flags-empty",
        r"no flags found in file .{0,120}kubeadm-flags\.env",
        "Use a newer patch release, or put one harmless flag into /var/lib/kubelet/kubeadm-flags.env.",
        "kubernetes/kubeadm#3279",
    ),
    KnownFailure(
        "package-locked",
        r"Could not get lock /var/lib/(dpkg|apt)/|is another process using it\?",
        "Another package program is at work on the node: wait for it (ps aux | grep -E 'apt|dpkg'), then resume.",
        "apt-get(8)",
    ),
    KnownFailure(
        "package-key",
        r"EXPKEYSIG|NO_PUBKEY|KEYEXPIRED|Sub-process /usr/bin/sqv|is not signed|invalid signature",
        "Renew the repository's signing key on the node: curl -fsSL https://pkgs.k8s.io/core:/stable:/vX.Y/deb/Release.key"
        " | gpg --dearmor -o /etc/apt/keyrings/kubernetes-apt-keyring.gpg",
        "apt-secure(8); kubernetes.io, changing the package repository",
    ),
    KnownFailure(
        "package-forbidden",
        r"\b40[13]\b\s+(Forbidden|Unauthorized)",
        "The package server refuses this node: look at its proxy and credentials: apt-config dump | grep -i proxy",
        "apt-get(8)",
    ),
    KnownFailure(
        "package-interrupted",
        r"dpkg was interrupted, you must manually run",
        "Finish what was interrupted on the node: dpkg --configure -a",
        "dpkg(1)",
    ),
    KnownFailure(
        "package-removes",
        r"Packages need to be removed but remove is disabled",
        "See on the node what would be removed, and why: apt-get install --simulate kubeadm=VERSION",
        "apt-get(8), --no-remove",
    ),
    KnownFailure(
        "package-held-broken",
        r"you have held broken packages|unmet dependencies",
        "See which package is held back: apt-mark showhold; cri-tools and kubernetes-cni must not be on hold.",
        "apt-get(8)",
    ),
    KnownFailure(
        "package-missing",
        r"E: (Version '\S+' for '\S+' was not found|Unable to locate package)",
        "Look what the node's package source offers: apt-cache madison kubeadm kubelet kubectl",
        "apt-get(8)",
    ),
    KnownFailure(
        "no-apt",
        r"(apt-get|apt-cache|apt-mark|dpkg-query): not found",
        "Upgrade this node by hand: only nodes with apt (Debian, Ubuntu) are supported.",
        "upgrade-guard",
    ),
    KnownFailure(
        "no-control-plane",
        r"stat \S+/admin\.conf: no such file or directory",
        "Name a control plane of the cluster in the configuration (cluster.control_plane): upgrade-guard config init",
        "kubectl",
    ),
    KnownFailure(
        "api-refused",
        r"The connection to the server \S+ was refused",
        "The API server does not answer: crictl ps --all; crictl logs CONTAINER",
        "kubectl",
    ),
)


def hint_for(text: str) -> str:
    """The cure for the first known failure that `text` shows, or ""."""
    for known in KNOWN_FAILURES:
        if re.search(known.said, text, re.DOTALL):
            return known.hint
    return ""
