"""Which flags kubeadm writes into manifests by itself: everything else must come from extraArgs or it is lost."""

from __future__ import annotations

from collections.abc import Mapping

_REQUESTHEADER = (
    "requestheader-allowed-names",
    "requestheader-client-ca-file",
    "requestheader-extra-headers-prefix",
    "requestheader-group-headers",
    "requestheader-username-headers",
)

# From manifests that kubeadm 1.24 to 1.35 wrote; flags of older and newer ones are both listed.
GENERATED: Mapping[str, frozenset[str]] = {
    "kube-apiserver": frozenset(
        (
            "advertise-address",
            "allow-privileged",
            "authorization-mode",
            "client-ca-file",
            "enable-admission-plugins",
            "enable-bootstrap-token-auth",
            "etcd-cafile",
            "etcd-certfile",
            "etcd-keyfile",
            "etcd-servers",
            "insecure-port",
            "kubelet-client-certificate",
            "kubelet-client-key",
            "kubelet-preferred-address-types",
            "proxy-client-cert-file",
            "proxy-client-key-file",
            "secure-port",
            "service-account-issuer",
            "service-account-key-file",
            "service-account-signing-key-file",
            "service-cluster-ip-range",
            "tls-cert-file",
            "tls-private-key-file",
            *_REQUESTHEADER,
        )
    ),
    "kube-controller-manager": frozenset(
        (
            "allocate-node-cidrs",
            "authentication-kubeconfig",
            "authorization-kubeconfig",
            "bind-address",
            "client-ca-file",
            "cluster-cidr",
            "cluster-name",
            "cluster-signing-cert-file",
            "cluster-signing-duration",
            "cluster-signing-key-file",
            "controllers",
            "kubeconfig",
            "leader-elect",
            "node-cidr-mask-size",
            "node-cidr-mask-size-ipv4",
            "node-cidr-mask-size-ipv6",
            "port",
            "requestheader-client-ca-file",
            "root-ca-file",
            "service-account-private-key-file",
            "service-cluster-ip-range",
            "use-service-account-credentials",
        )
    ),
    "kube-scheduler": frozenset(
        ("authentication-kubeconfig", "authorization-kubeconfig", "bind-address", "kubeconfig", "leader-elect", "port")
    ),
    "etcd": frozenset(
        (
            "advertise-client-urls",
            "cert-file",
            "client-cert-auth",
            "data-dir",
            "experimental-initial-corrupt-check",
            "experimental-watch-progress-notify-interval",
            "feature-gates",
            "initial-advertise-peer-urls",
            "initial-cluster",
            "initial-cluster-state",
            "key-file",
            "listen-client-urls",
            "listen-metrics-urls",
            "listen-peer-urls",
            "name",
            "peer-cert-file",
            "peer-client-cert-auth",
            "peer-key-file",
            "peer-trusted-ca-file",
            "snapshot-count",
            "trusted-ca-file",
            "watch-progress-notify-interval",
        )
    ),
}

# Values that kubeadm always writes; another one was edited in by hand (kubeadm#950, kubeadm#2157).
FIXED: Mapping[str, Mapping[str, str]] = {
    "kube-apiserver": {"authorization-mode": "Node,RBAC", "enable-admission-plugins": "NodeRestriction"},
    "kube-controller-manager": {"bind-address": "127.0.0.1", "leader-elect": "true"},
    "kube-scheduler": {"bind-address": "127.0.0.1", "leader-elect": "true"},
    "etcd": {},
}


def lost_flags(component: str, flags: Mapping[str, str], extra_args: Mapping[str, str]) -> tuple[str, ...]:
    """What the manifest says and kubeadm, writing it anew, would not: `--flag=value`, with the value it would get."""
    lost = []
    for flag, value in sorted(flags.items()):
        if flag in extra_args:
            if extra_args[flag] != value:
                lost.append(f"--{flag}={value} (becomes {extra_args[flag]})")
        elif flag not in GENERATED[component]:
            lost.append(f"--{flag}={value}")
        elif FIXED[component].get(flag, value) != value:
            lost.append(f"--{flag}={value} (becomes {FIXED[component][flag]})")
    lost += [f"--{flag} (becomes {value})" for flag, value in sorted(extra_args.items()) if flag not in flags]
    return tuple(lost)
