"""The etcd manifest of a control plane: the paths and names that a snapshot and a restore depend on."""

from __future__ import annotations

from upgrade_guard.errors import UnexpectedOutput
from upgrade_guard.model.etcd import EtcdManifest
from upgrade_guard.tools.static_pod import StaticPod, parse_static_pod

DEFAULT_CLIENT_URL = "http://localhost:2379"  # etcd's own default for --listen-client-urls


def parse_etcd_manifest(text: str) -> EtcdManifest:
    """Read it. A flag that is not given anywhere is "" (the check `etcd-manifest-complete` says which).

    etcd takes each flag from its environment too (`ETCD_DATA_DIR`); paths are those on the node, also where a mount
    gives them another name in the container. Raises UnexpectedOutput when the pod does not run etcd itself or takes
    its flags from a file, or when a path is relative.
    """
    pod = parse_static_pod(text, "etcd")
    if not pod.program:
        raise UnexpectedOutput("the etcd manifest does not say which program it runs")
    if pod.program.rpartition("/")[2] != "etcd":
        raise UnexpectedOutput(f"the etcd manifest runs {pod.program!r} and not etcd itself")
    if _setting(pod, "config-file"):
        raise UnexpectedOutput(f"etcd takes its settings from {_setting(pod, 'config-file')}, which is not supported")
    urls = _urls(pod, "listen-client-urls") or (DEFAULT_CLIENT_URL,)
    return EtcdManifest(
        image=pod.image,
        name=_setting(pod, "name"),
        data_dir=_path(pod, "data-dir"),
        cert_file=_path(pod, "cert-file"),
        key_file=_path(pod, "key-file"),
        trusted_ca_file=_path(pod, "trusted-ca-file"),
        listen_client_urls=urls,
        initial_advertise_peer_urls=",".join(_urls(pod, "initial-advertise-peer-urls")),
        wal_dir=_path(pod, "wal-dir"),
    )


def _urls(pod: StaticPod, flag: str) -> tuple[str, ...]:
    """A list as people write it: with blanks after its commas, too."""
    return tuple(url.strip() for url in _setting(pod, flag).split(",") if url.strip())


def _setting(pod: StaticPod, flag: str) -> str:
    """A flag wins over its variable."""
    return pod.flags.get(flag) or pod.environment.get(f"ETCD_{flag.upper().replace('-', '_')}", "")


def _path(pod: StaticPod, flag: str) -> str:
    path = _setting(pod, flag)
    if path and (not path.startswith("/") or ".." in path.split("/") or not path.isprintable()):
        raise UnexpectedOutput(f"--{flag} of etcd is {path!r}, which is not an absolute path")
    return pod.on_node(path.rstrip("/") or path) if path else ""


def read_etcd_manifest(text: str | None) -> tuple[EtcdManifest | None, str]:
    """What the manifest says, or why it says nothing."""
    if text is None:
        return None, "there is no etcd.yaml in manifests/"
    try:
        return parse_etcd_manifest(text), ""
    except UnexpectedOutput as problem:
        return None, problem.message
