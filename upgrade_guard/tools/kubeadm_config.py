"""The ConfigMap `kubeadm-config`: what kubeadm writes manifests from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from upgrade_guard.tools.commands import parse_json, reads, unexpected
from upgrade_guard.tools.plain_yaml import plain_yaml

_COMPONENTS = {
    "apiServer": "kube-apiserver",
    "controllerManager": "kube-controller-manager",
    "scheduler": "kube-scheduler",
}
_DEFAULT_DATA_DIR = "/var/lib/etcd"
_DEFAULT_REPOSITORY = "registry.k8s.io"


@dataclass(frozen=True)
class ExtraVolume:
    """A path of the node that kubeadm mounts into a component. `kind` is its hostPath type: File, Directory, ..."""

    path: str
    kind: str = ""


@dataclass(frozen=True)
class KubeadmConfig:
    """`extra_args` maps a component to its flags without dashes, `extra_volumes` to what is mounted into it,
    `extra_envs` to the names of environment variables; `external_etcd` when etcd is not kubeadm's.
    """

    kubernetes_version: str
    data_dir: str
    cluster_name: str
    control_plane_endpoint: str
    image_repository: str
    extra_args: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    certificates_dir: str = "/etc/kubernetes/pki"
    external_etcd: bool = False
    api_version: str = ""
    extra_volumes: Mapping[str, tuple[ExtraVolume, ...]] = field(default_factory=dict)
    extra_envs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@reads("kubectl get configmap kubeadm-config")
def parse_kubeadm_config(text: str) -> KubeadmConfig:
    """The ConfigMap as JSON with a ClusterConfiguration of v1beta2 to v1beta4 in it."""
    return _read(parse_kubeadm_document(text))


@reads("kubectl get configmap kubeadm-config")
def parse_kubeadm_document(text: str) -> dict[str, Any]:
    """That ClusterConfiguration as it is."""
    document = parse_json("kubectl get configmap kubeadm-config", text)
    try:
        return dict(plain_yaml(document["data"]["ClusterConfiguration"]))
    except ValueError as problem:
        raise unexpected("kubectl get configmap kubeadm-config", text, "no ClusterConfiguration") from problem


def _read(configuration: dict[str, Any]) -> KubeadmConfig:
    etcd = configuration.get("etcd") or {}
    local = etcd.get("local") or {}
    parts = {name: configuration.get(key) or {} for key, name in _COMPONENTS.items()} | {"etcd": local}
    extra = {name: _arguments(part.get("extraArgs")) for name, part in parts.items()}
    return KubeadmConfig(
        kubernetes_version=str(configuration["kubernetesVersion"]),
        data_dir="" if etcd.get("external") else str(local.get("dataDir") or _DEFAULT_DATA_DIR),
        cluster_name=str(configuration.get("clusterName") or "kubernetes"),
        control_plane_endpoint=str(configuration.get("controlPlaneEndpoint") or ""),
        image_repository=str(configuration.get("imageRepository") or _DEFAULT_REPOSITORY),
        extra_args={name: arguments for name, arguments in extra.items() if arguments},
        certificates_dir=str(configuration.get("certificatesDir") or "/etc/kubernetes/pki"),
        external_etcd=bool(etcd.get("external")),
        api_version=str(configuration.get("apiVersion") or ""),
        extra_volumes={name: rows for name, part in parts.items() if (rows := _volumes(part.get("extraVolumes")))},
        extra_envs={name: names for name, part in parts.items() if (names := _names(part.get("extraEnvs")))},
    )


def _arguments(value: Any) -> dict[str, str]:
    """A mapping up to v1beta3, a list of name and value (names may repeat, the last one wins) since v1beta4."""
    if isinstance(value, list):
        return {str(row["name"]): str(row.get("value", "")) for row in value}
    return {str(name): str(argument) for name, argument in (value or {}).items()}


def _volumes(value: Any) -> tuple[ExtraVolume, ...]:
    return tuple(ExtraVolume(str(row["hostPath"]), str(row.get("pathType") or "")) for row in value or ())


def _names(value: Any) -> tuple[str, ...]:
    return tuple(str(row["name"]) for row in value or ())
