"""What people added to the control planes' manifests, which kubeadm writes anew, and the files that they mount."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from upgrade_guard.checks.control_plane_files import EXPECTED_FILES
from upgrade_guard.checks.findings import blocking, listed, ok, warning
from upgrade_guard.checks.gathered import Additions, ControlPlaneLook, Gathered
from upgrade_guard.model.finding import Finding
from upgrade_guard.model.version import Version
from upgrade_guard.tools.kubeadm import ExtraVolume

# kubeadm asks for these in every version (cmd/kubeadm/app/phases/controlplane/manifests.go, phases/etcd/local.go).
REQUESTS: Mapping[str, Mapping[str, str]] = {
    "kube-apiserver": {"cpu": "250m"},
    "kube-controller-manager": {"cpu": "200m"},
    "kube-scheduler": {"cpu": "100m"},
    "etcd": {"cpu": "100m", "memory": "100Mi"},
}

# Kinds of hostPath that kubelet makes itself where they are missing (kubernetes.io, Volumes, hostPath volume types).
_MADE = ("DirectoryOrCreate", "FileOrCreate")


def additions_kept(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """Nothing that was added to a manifest by hand gets lost: environment, containers beside it, hostAliases.

    kubeadm writes manifests anew, from kubeadm-config and from its patches; what is in neither is gone afterwards.
    """
    name = "manifest-additions-kept"
    if gathered.patches:
        return (ok(name, f"kubeadm is given the patches in {gathered.patches}"),)
    findings = []
    config = gathered.api.kubeadm_config
    hint = (
        'put them into a patch of kubeadm and name its directory: [upgrade] patches = "/etc/kubernetes/patches" '
        "(kubernetes.io, Customizing components with the kubeadm API)"
    )
    for node, component, additions in _components(gathered):
        known = () if config is None else config.extra_envs.get(component, ())
        if lost := tuple(_lost(additions, known)):
            findings.append(blocking(name, f"{node}: the upgrade will drop of {component}: {listed(lost)}", hint, node))
        elif changed := _resources(component, additions):
            findings.append(warning(name, f"{node}: the upgrade will reset of {component}: {changed}", hint, node))
    return tuple(findings) or (ok(name, "nothing was added to a manifest that kubeadm would not write"),)


def _components(gathered: Gathered) -> Iterator[tuple[str, str, Additions]]:
    for node, look in gathered.control_planes:
        for pod in look.static_pods:
            component = pod.name.removesuffix(".yaml")
            if pod.name in EXPECTED_FILES and component in pod.components:
                yield node, component, pod.additions


def _lost(additions: Additions, known: tuple[str, ...]) -> Iterator[str]:
    yield from (f"the environment variable {one}" for one in additions.variables if one not in known)
    yield from (f"the container {one}" for one in additions.containers)
    if additions.host_aliases:
        yield "hostAliases"


def _resources(component: str, additions: Additions) -> str:
    """Requests that are others than kubeadm's, and limits, which it never sets."""
    usual = REQUESTS[component]
    requests = {key: value for key, value in additions.requests.items() if usual.get(key) != value}
    said = [f"request {key} {value}" for key, value in requests.items()]
    said += [f"limit {key} {value}" for key, value in additions.limits.items()]
    return listed(said) if said else ""


def mounted_files_there(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """What kubeadm-config mounts into a component is on every control plane: without it the new pod does not start.

    One that is missing there alone is told apart by the others (kubeadm-config is one for all control planes).
    """
    name = "mounted-files-there"
    config = gathered.api.kubeadm_config
    if config is None:
        return ()
    findings = []
    for component, volumes in config.extra_volumes.items():
        for node, look in gathered.control_planes:
            missing = [one.path for one in volumes if _is_missed(one, look, gathered)]
            if missing:
                findings.append(
                    blocking(
                        name,
                        f"{node}: {component} mounts what is not there: {listed(missing)}",
                        f"bring it to {node}, or take it out of extraVolumes: "
                        "kubectl -n kube-system edit configmap kubeadm-config",
                        node,
                    )
                )
    return tuple(findings) or (ok(name, "what kubeadm-config mounts is on every control plane"),)


def _is_missed(volume: ExtraVolume, look: ControlPlaneLook, gathered: Gathered) -> bool:
    if volume.kind in _MADE or volume.path in look.extra_volumes:
        return False
    # Without a kind the runtime makes an empty directory: all right for logs, wrong for a file that others have.
    return bool(volume.kind) or any(volume.path in other.extra_volumes for _, other in gathered.control_planes)
