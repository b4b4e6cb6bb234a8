"""Flags, feature gates and admission plugins that Kubernetes and etcd have removed: with one of them nothing starts.

Only what is known to be removed is here; that a setting is not in these tables says nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

FLAG, GATE, PLUGIN = "flag", "feature gate", "admission plugin"

API_SERVER, CONTROLLER_MANAGER, SCHEDULER = "kube-apiserver", "kube-controller-manager", "kube-scheduler"
KUBELET, ETCD = "kubelet", "etcd"
OF_KUBERNETES = (API_SERVER, CONTROLLER_MANAGER, SCHEDULER, KUBELET)


@dataclass(frozen=True)
class Removed:
    """`name` is unknown to `components` from the minor `gone_in` on. `by_kubeadm`: kubeadm takes it out by itself."""

    kind: str
    name: str
    components: tuple[str, ...]
    gone_in: int
    source: str
    by_kubeadm: bool = False

    @property
    def shown(self) -> str:
        """As an operator finds it: `--network-plugin`, or "the feature gate NAME"."""
        return f"--{self.name}" if self.kind == FLAG else f"the {self.kind} {self.name}"


def _flags(names: str, components: tuple[str, ...], gone_in: int, source: str) -> tuple[Removed, ...]:
    return tuple(Removed(FLAG, name, components, gone_in, source) for name in names.split())


def _gates(names: str, gone_in: int, source: str) -> tuple[Removed, ...]:
    return tuple(Removed(GATE, name, OF_KUBERNETES, gone_in, source) for name in names.split())


REMOVED: tuple[Removed, ...] = (
    *_flags(
        "network-plugin cni-bin-dir cni-conf-dir cni-cache-dir network-plugin-mtu docker-endpoint "
        "image-pull-progress-deadline",
        (KUBELET,),
        24,
        "CHANGELOG-1.24, dockershim; kubernetes/website#34755, #36896",
    ),
    Removed(FLAG, "container-runtime", (KUBELET,), 27, "CHANGELOG-1.27", by_kubeadm=True),
    Removed(FLAG, "pod-infra-container-image", (KUBELET,), 35, "kubernetes/kubeadm#3281", by_kubeadm=True),
    *_flags("keep-terminated-pod-volumes", (KUBELET,), 31, "CHANGELOG-1.31"),
    *_flags("cloud-config", (KUBELET,), 34, "CHANGELOG-1.34"),
    *_flags(
        "logtostderr log-dir log-file log-file-max-size log-backtrace-at alsologtostderr add-dir-header skip-headers "
        "skip-log-headers stderrthreshold one-output",
        OF_KUBERNETES,
        26,
        "KEP-2845, klog flags; CHANGELOG-1.26",
    ),
    *_flags("cloud-provider", (API_SERVER,), 33, "CHANGELOG-1.33"),
    *_flags("pod-eviction-timeout enable-taint-manager", (CONTROLLER_MANAGER,), 27, "CHANGELOG-1.27"),
    *_flags("enable-v2", (ETCD,), 34, "etcd 3.6, upgrade guide: v2 store removed"),
    *_gates("KubeletCredentialProviders", 28, "CHANGELOG-1.28"),
    Removed(PLUGIN, "PodSecurityPolicy", (API_SERVER,), 25, "CHANGELOG-1.25"),
)


def removed_from(
    component: str, flags: Mapping[str, str], minor: int, gates: Mapping[str, bool] | None = None
) -> Iterator[Removed]:
    """What of these flags, of the gates among them and of `gates` the component of that minor does not know."""
    named = {*_gates_in(flags.get("feature-gates", "")), *(gates or {})}
    plugins = {
        name
        for flag in ("enable-admission-plugins", "disable-admission-plugins")
        for name in flags.get(flag, "").split(",")
    }
    given = {FLAG: set(flags), GATE: named, PLUGIN: plugins}
    for one in REMOVED:
        if component in one.components and minor >= one.gone_in and one.name in given[one.kind]:
            yield one


def _gates_in(text: str) -> Iterator[str]:
    for part in text.split(","):
        name, equals, _ = part.strip().partition("=")
        if equals:
            yield name
