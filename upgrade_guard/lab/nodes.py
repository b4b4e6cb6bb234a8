"""The directory of a node, as a machine has it after `kubeadm init` or `kubeadm join`."""

from __future__ import annotations

import shutil
from pathlib import Path

from upgrade_guard.lab import certificates, kubeadm_files, manifests, packages, seed
from upgrade_guard.lab.layout import LabSettings, Layout

DROP_IN = """# Note: This dropin only works with kubeadm and kubelet v1.11+
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--kubeconfig={kubernetes}/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config={kubelet}/config.yaml"
EnvironmentFile=-{kubelet}/kubeadm-flags.env
EnvironmentFile=-{etc}/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
"""
CNI = '{"cniVersion": "0.3.1", "name": "cbr0", "plugins": [{"type": "flannel"}]}\n'


def host_files(settings: LabSettings, name: str) -> tuple[str, ...]:
    """What belongs to a node's bundle outside Kubernetes' own directories."""
    etc = Layout.of(settings).node(name) / "etc"
    return tuple(
        str(etc / file)
        for file in ("default/kubelet", "systemd/system/kubelet.service.d", "containerd/config.toml", "cni/net.d")
    )


def make_node(settings: LabSettings, name: str) -> None:
    """Make what is missing; run again after a cut-short `up`, it keeps what is there."""
    layout = Layout.of(settings)
    kubernetes, node, own = layout.kubernetes(name), layout.node(name), layout.kubelet(name)
    _make_host_files(settings, name)
    for directory in (layout.work(name), kubernetes / "tmp"):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificates.make_authorities(layout.authorities)
    certificates.make_client(layout.authorities)
    address = settings.addresses[name]
    if not (kubernetes / "kubelet.conf").exists():
        if settings.is_control_plane(name):
            for file in certificates.SHARED:
                path, target = layout.authorities / file, layout.pki(name) / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
            for leaf in certificates.LEAVES:
                server = kubeadm_files.server_url(settings, name, leaf.file)
                certificates.issue(leaf, kubernetes, node=name, address=address, server=server)
        else:
            # A worker has the authority's certificate and nothing else of the PKI.
            layout.pki(name).mkdir(parents=True, exist_ok=True)
            shutil.copy2(layout.authorities / "ca.crt", layout.pki(name) / "ca.crt")
        server = kubeadm_files.server_url(settings, name, "kubelet.conf")
        certificates.issue_kubelet(kubernetes, layout.authorities, node=name, address=address, server=server)
    (kubernetes / "manifests").mkdir(mode=0o700, exist_ok=True)
    if settings.is_control_plane(name):
        manifests.write_all(settings, name, settings.from_version, kubernetes / "manifests")
        _write_new(kubernetes / "manifests/keepalived.yaml", manifests.keepalived(settings, name))
        _write_new(node / "etc/keepalived/keepalived.conf", "vrrp_instance VI_1 {\n}\n")
        _write_new(node / "etc/keepalived/check_apiserver.sh", "#!/bin/sh\n")
        (node / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
        layout.etcd(name).mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (own / "config.yaml").exists():
        text = seed.kubelet_configuration(settings)
        kubeadm_files.put_kubelet_files(settings, name, settings.from_version, text)


def _make_host_files(settings: LabSettings, name: str) -> None:
    layout = Layout.of(settings)
    etc = layout.node(name) / "etc"
    drop_in = DROP_IN.format(kubernetes=layout.kubernetes(name), kubelet=layout.kubelet(name), etc=etc)
    for path, content in (
        (layout.package_source(name), packages.source_line(settings, settings.from_version)),
        (etc / "default/kubelet", "KUBELET_EXTRA_ARGS=\n"),
        (etc / "systemd/system/kubelet.service.d/10-kubeadm.conf", drop_in),
        (etc / "containerd/config.toml", "version = 2\n"),
        (etc / "cni/net.d/10-flannel.conflist", CNI),
    ):
        _write_new(path, content)


def _write_new(path: Path, content: str) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
