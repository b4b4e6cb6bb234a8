"""kubeadm on one node: argv, and what it prints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from upgrade_guard.errors import CommandFailed
from upgrade_guard.hosts.base import Host
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.model.version import Version
from upgrade_guard.tools.commands import failure, parse_json, reads, run_checked, unexpected
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


_UPDATE_FIRST = re.compile(r"you have to update kubeadm to (\S+?)\.?\s*$", re.MULTILINE)
_HEADER = re.compile(r"^COMPONENT\s+(NODE\s+)?CURRENT\s+TARGET\s*$")
_CONFIGS = re.compile(r"^API GROUP\s+CURRENT VERSION\s+PREFERRED VERSION\s+MANUAL UPGRADE REQUIRED\s*$")


@dataclass(frozen=True)
class PlannedComponent:
    """One row. `node` is "" for what belongs to the whole cluster, and in the tables of 1.29 and older."""

    component: str
    node: str
    current: str
    target: str


@dataclass(frozen=True)
class UpgradePlan:
    """What kubeadm would do. With `update_kubeadm_to` set, kubeadm is too old and its table misleads.

    `manual_configs` are component configurations that a person must convert first. No components: nothing to upgrade.
    """

    components: tuple[PlannedComponent, ...]
    update_kubeadm_to: str = ""
    manual_configs: tuple[str, ...] = ()

    @property
    def must_update_kubeadm(self) -> bool:
        """Does it say that kubeadm itself comes first?"""
        return bool(self.update_kubeadm_to)


@reads("kubeadm upgrade plan")
def parse_upgrade_plan(text: str) -> UpgradePlan:
    """The tables of kubeadm 1.24 to 1.35. Raises UnexpectedOutput when it is no plan at all."""
    if "[upgrade" not in text:
        raise unexpected("kubeadm upgrade plan", text)
    components: list[PlannedComponent] = []
    configs: list[str] = []
    columns: tuple[int, ...] = ()
    in_configs = False
    for line in text.splitlines():
        if _HEADER.match(line):
            columns, in_configs = _columns(line), False
        elif _CONFIGS.match(line):
            columns, in_configs = (), True
        elif not line.strip() or line.startswith("_"):
            columns, in_configs = (), False
        elif columns:
            components.append(_component(line, columns))
        elif in_configs and line.split()[-1] == "yes":
            configs.append(line.split()[0])
    update = _UPDATE_FIRST.search(text)
    return UpgradePlan(tuple(components), update.group(1) if update else "", tuple(configs))


def _columns(header: str) -> tuple[int, ...]:
    return tuple(header.index(name) for name in ("COMPONENT", "NODE", "CURRENT", "TARGET") if name in header)


def _component(line: str, columns: tuple[int, ...]) -> PlannedComponent:
    ends = (*columns[1:], len(line) + 1)
    cells = [line[start:end].strip() for start, end in zip(columns, ends, strict=True)]
    if len(cells) == 3:
        cells.insert(1, "")
    return PlannedComponent(*cells)


_ROW = re.compile(
    r"^(?P<name>[\w.-]+)\s+(?P<expires>[A-Z][a-z]{2} \d{2}, \d{4} \d{2}:\d{2} UTC)\s+(?P<left>\S+)\s+(?P<rest>.*)$"
)
_MISSING = re.compile(r"^!MISSING!\s+(?P<name>[\w.-]+)")


@dataclass(frozen=True)
class Certificate:
    """One certificate. `expires` is aware UTC, None when it is missing; kubeadm cannot renew an external one."""

    name: str
    expires: datetime | None
    missing: bool = False
    externally_managed: bool = False
    is_authority: bool = False


@reads("kubeadm certs check-expiration")
def parse_certificates(text: str) -> tuple[Certificate, ...]:
    """Both forms. Raises UnexpectedOutput when there is not one certificate in it."""
    found = _from_json(text) if '"certificates"' in text else _from_table(text)
    if not found:
        raise unexpected("kubeadm certs check-expiration", text)
    return found


def _from_json(text: str) -> tuple[Certificate, ...]:
    document = parse_json("kubeadm certs check-expiration", text)
    rows = [(row, False) for row in document.get("certificates") or ()]
    rows += [(row, True) for row in document.get("certificateAuthorities") or ()]
    return tuple(_certificate(row, is_authority=is_authority) for row, is_authority in rows)


def _certificate(row: dict[str, Any], *, is_authority: bool) -> Certificate:
    missing = bool(row.get("missing", False))
    expires = None if missing else datetime.fromisoformat(row["expirationDate"]).astimezone(UTC)
    return Certificate(str(row["name"]), expires, missing, bool(row.get("externallyManaged", False)), is_authority)


def _from_table(text: str) -> tuple[Certificate, ...]:
    found: list[Certificate] = []
    is_authority = False
    for line in text.splitlines():
        if line.startswith("CERTIFICATE AUTHORITY"):
            is_authority = True
        elif missing := _MISSING.match(line):
            found.append(Certificate(missing["name"], None, missing=True, is_authority=is_authority))
        elif row := _ROW.match(line):
            expires = datetime.strptime(row["expires"], "%b %d, %Y %H:%M UTC").replace(tzinfo=UTC)
            external = row["rest"].split()[-1:] == ["yes"]
            found.append(Certificate(row["name"], expires, externally_managed=external, is_authority=is_authority))
    return tuple(found)


__all__ = ["Certificate", "Kubeadm", "PlannedComponent", "UpgradePlan", "parse_upgrade_plan"]

_LOCK_HELD = 75
DEFAULT_DIRECTORY = "/etc/kubernetes"
PLAN_TIMEOUT = 180.0  # seconds; measured 3 to 5, its health-check Job may take a minute and more
PULL_TIMEOUT = 1800.0  # seconds; half a gigabyte over a slow line
APPLY_TIMEOUT = 1800.0  # seconds; measured 158 to 183, kubeadm gives each of four components five minutes


class Kubeadm:
    """The kubeadm package that is installed there now decides what it can do, or the one that is named by `program`."""

    def __init__(self, host: Host, settings: NodeSettings, program: str = "kubeadm") -> None:
        self._host = host
        self._settings = settings
        self._program = program

    def version(self) -> Version:
        """Its own version. Raises UnexpectedOutput for a pre-release."""
        text = run_checked(self._host, (self._program, "version", "-o", "short")).stdout
        try:
            return Version.parse(text)
        except ValueError as problem:
            raise unexpected("kubeadm version", text) from problem

    def upgrade_plan(self, target: Version, ignore: tuple[str, ...] = (), *, timeout: float = PLAN_TIMEOUT) -> str:
        """What `kubeadm upgrade plan` prints. With a kubeadm older than `target` it exits 0 and the table misleads."""
        argv = (self._program, "upgrade", "plan", str(target), *_ignoring(ignore), *self._kubeconfig("admin.conf"))
        return run_checked(self._host, argv, timeout=timeout).stdout

    def upgrade_apply(
        self, target: Version, ignore: tuple[str, ...] = (), patches: str = "", *, timeout: float = APPLY_TIMEOUT
    ) -> str:
        """Upgrade the first control plane, with the patches of that directory; what it printed. Running it again after
        a failure is safe by its design.
        """
        words = ("kubeadm", "upgrade", "apply", str(target), "--yes")
        return self._upgrade((*words, *_ignoring(ignore), *_with(patches), *self._kubeconfig("admin.conf")), timeout)

    def upgrade_node(self, ignore: tuple[str, ...] = (), patches: str = "", *, timeout: float = APPLY_TIMEOUT) -> str:
        """Upgrade another control plane, or the kubelet configuration of a worker; what it printed."""
        words = ("kubeadm", "upgrade", "node", *_ignoring(ignore), *_with(patches))
        argv = (*words, *self._kubeconfig(*self._node_kubeconfig()))
        return self._upgrade(argv, timeout)

    def at_work(self) -> bool:
        """Does a kubeadm upgrade that we started on this node still run, perhaps orphaned by an earlier process?"""
        if run_checked(self._host, ("test", "-e", self._lock), accept=(0, 1)).exit_status != 0:
            return False
        argv = (*self._locked(), "true")
        return run_checked(self._host, argv, accept=(0, _LOCK_HELD)).exit_status == _LOCK_HELD

    def certificates(self) -> tuple[Certificate, ...]:
        """Every certificate that kubeadm knows on this node, its authorities too."""
        argv = ("kubeadm", "certs", "check-expiration")
        result = run_checked(self._host, (*argv, "-o", "json"), timeout=60.0, accept=tuple(range(256)))
        if result.exit_status != 0:
            if "unknown" not in result.stderr:  # older versions do not know -o
                raise failure(self._host, argv, result)
            result = run_checked(self._host, argv, timeout=60.0)
        return parse_certificates(result.stdout)

    def images(self, configuration: str) -> tuple[str, ...]:
        """The images that this kubeadm wants for a control plane of the cluster that the file `configuration` tells."""
        argv = (self._program, "config", "images", "list", "--config", configuration)
        return tuple(line.strip() for line in run_checked(self._host, argv).stdout.splitlines() if line.strip())

    def pull_images(self, configuration: str) -> None:
        """Have the runtime pull them. Raises CommandFailed where one cannot be had."""
        argv = (self._program, "config", "images", "pull", "--config", configuration)
        run_checked(self._host, argv, timeout=PULL_TIMEOUT, changes=True)

    def stop_upgrade(self) -> None:
        """End a kubeadm upgrade that is at work there, by SIGTERM. None at work is no error."""
        own = "".join(f".*{re.escape(word)}" for word in self._kubeconfig(""))
        argv = ("pkill", "--full", "--signal", "TERM", "--", f"kubeadm upgrade (apply|node){own}")
        run_checked(self._host, argv, changes=True, accept=(0, 1))

    @property
    def _lock(self) -> str:
        return f"{self._settings.work_dir}/kubeadm.lock"

    def _locked(self) -> tuple[str, ...]:
        return ("flock", "--nonblock", "--exclusive", f"--conflict-exit-code={_LOCK_HELD}", self._lock)

    def _upgrade(self, argv: tuple[str, ...], timeout: float) -> str:
        """Under a lock that the kernel keeps as long as kubeadm lives, even when nobody waits for it any more."""
        run_checked(self._host, ("mkdir", "--parents", "--mode=0700", "--", self._settings.work_dir), changes=True)
        locked = (*self._locked(), *argv)
        result = run_checked(self._host, locked, timeout=timeout, changes=True, accept=(0, _LOCK_HELD))
        if result.exit_status == _LOCK_HELD and not result.stdout:
            raise CommandFailed(
                f"kubeadm is already at work on {self._host.name}",
                exit_status=_LOCK_HELD,
                stderr=result.stderr,
                hint=f"Wait for it (pgrep -a kubeadm on {self._host.name}), then: upgrade-guard resume",
            )
        if result.exit_status != 0:
            raise failure(self._host, locked, result, timeout)
        return result.stdout

    def _kubeconfig(self, *names: str) -> tuple[str, ...]:
        directory = self._settings.kubernetes_dir
        return () if directory == DEFAULT_DIRECTORY else tuple(f"--kubeconfig={directory}/{name}" for name in names)

    def _node_kubeconfig(self) -> tuple[str, ...]:
        """A worker has only kubelet.conf; kubeadm finds out by itself where everything is at its usual place."""
        directory = self._settings.kubernetes_dir
        if directory == DEFAULT_DIRECTORY:
            return ()
        there = run_checked(self._host, ("test", "-e", f"{directory}/admin.conf"), accept=(0, 1))
        return ("admin.conf" if there.exit_status == 0 else "kubelet.conf",)


def _with(patches: str) -> tuple[str, ...]:
    return (f"--patches={patches}",) if patches else ()


def _ignoring(checks: tuple[str, ...]) -> tuple[str, ...]:
    return (f"--ignore-preflight-errors={','.join(checks)}",) if checks else ()
