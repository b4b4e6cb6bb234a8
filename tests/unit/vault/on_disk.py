"""A node whose files are in a directory of this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.model.cluster import Node
from upgrade_guard.model.etcd import EtcdManifest
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.tools.files import Files
from upgrade_guard.vault.manifest import NodeFiles
from upgrade_guard.vault.node_files import capture

APISERVER = """\
apiVersion: v1
kind: Pod
metadata: {{name: kube-apiserver, namespace: kube-system}}
spec:
  containers:
  - name: kube-apiserver
    image: registry.k8s.io/kube-apiserver:v1.27.16
    command: [kube-apiserver, --audit-policy-file={root}/etc/audit/policy.yaml]
  volumes:
  - name: policy
    hostPath: {{path: {root}/etc/audit/policy.yaml, type: File}}
  - name: encryption
    hostPath: {{path: {root}/etc/encryption, type: Directory}}
  - name: gone
    hostPath: {{path: {root}/etc/gone.yaml, type: File}}
  - name: data
    hostPath: {{path: {root}/var/lib/etcd, type: DirectoryOrCreate}}
  - name: state
    hostPath: {{path: {root}/var, type: Directory}}
  - name: logs
    hostPath: {{path: /var/log/kubernetes, type: DirectoryOrCreate}}
  - name: certificates
    hostPath: {{path: /etc/ssl/certs, type: Directory}}
  - name: many
    hostPath: {{path: {root}/srv/many, type: Directory}}
"""


@dataclass(frozen=True)
class OnDisk:
    """A node whose root is a directory."""

    root: Path
    node: Node
    settings: NodeSettings
    files: Files
    local: Path

    def path(self, name: str) -> Path:
        return self.root / name

    def write(self, name: str, text: str, mode: int = 0o600) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def capture(self) -> NodeFiles:
        return capture(self.files, self.node, self.settings, self.local)

    @property
    def aside(self) -> str:
        return f"{self.settings.work_dir}/aside-r1"


def on_disk(directory: Path) -> OnDisk:
    """A control plane with what a rollback puts back, and a directory of too many files to be captured."""
    root = directory / "node"
    settings = NodeSettings(
        address="local",
        kubernetes_dir=f"{root}/etc/kubernetes",
        kubelet_dir=f"{root}/var/lib/kubelet",
        work_dir=f"{root}/var/lib/upgrade-guard/node",
        package_source=f"{root}/etc/apt/sources.list.d/kubernetes.list",
        host_files=(f"{root}/etc/default/kubelet", f"{root}/etc/cni/net.d", f"{root}/etc/sysconfig/kubelet"),
    )
    manifest = EtcdManifest("etcd:3.5.1", "cp1", f"{root}/var/lib/etcd", "", "", "", ("https://127.0.0.1:2379",), "")
    node = Node(
        "cp1",
        "control-plane",
        "10.0.0.11",
        "v1.27.16",
        packages={"kubeadm": "1.27.16-1.1"},
        holds=("kubeadm",),
        etcd=manifest,
    )
    local = directory / "staging" / "files-cp1.tar.gz"
    local.parent.mkdir()
    disk = OnDisk(root, node, settings, Files(LocalHost("cp1"), work_dir=settings.work_dir), local)
    disk.write("etc/kubernetes/admin.conf", "admin")
    disk.write("etc/kubernetes/kubelet.conf", "kubelet")
    disk.write("etc/kubernetes/pki/ca.crt", "ca", 0o644)
    disk.write("etc/kubernetes/pki/etcd/server.key", "key")
    disk.write("etc/kubernetes/manifests/kube-apiserver.yaml", APISERVER.format(root=root))
    disk.write("etc/kubernetes/manifests/etcd.yaml", "kind: Pod\n")
    disk.write("etc/kubernetes/tmp/kubeadm-backup-etcd-x/etcd/member/snap/db", "large")
    disk.write("var/lib/kubelet/config.yaml", "kubelet configuration", 0o644)
    disk.write("var/lib/kubelet/kubeadm-flags.env", "KUBELET_KUBEADM_ARGS=x", 0o644)
    disk.write("var/lib/kubelet/pods/x/volumes/secret", "not ours")
    disk.write("var/lib/etcd/member/snap/db", "data")
    disk.write("etc/default/kubelet", "KUBELET_EXTRA_ARGS=", 0o644)
    disk.write("etc/cni/net.d/10-flannel.conflist", "{}", 0o644)
    disk.write("etc/apt/sources.list.d/kubernetes.list", "deb v1.27", 0o644)
    disk.write("etc/audit/policy.yaml", "audit")
    disk.write("etc/encryption/config.yaml", "keys")
    disk.write("srv/many/0", "x")
    for number in range(1, 501):
        os.link(disk.path("srv/many/0"), disk.path(f"srv/many/{number}"))
    return disk


def tree(disk: OnDisk) -> dict[str, tuple[int, str]]:
    """Everything on the node but our work directory."""
    return {
        str(path.relative_to(disk.root)): (
            path.lstat().st_mode,
            str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else "",
        )
        for path in sorted(disk.root.rglob("*"))
        if not str(path).startswith(f"{disk.root}/var/lib/upgrade-guard")
    }


def upgrade(disk: OnDisk) -> None:
    """What an upgrade does to a node."""
    disk.write("etc/kubernetes/admin.conf", "renewed")
    disk.write("etc/kubernetes/super-admin.conf", "new in 1.29")
    disk.write("etc/kubernetes/pki/etcd/server.key", "renewed")
    disk.write("etc/kubernetes/pki/new/deep/file", "added")
    disk.write("etc/kubernetes/manifests/etcd.yaml", "kind: Pod # 1.28\n")
    disk.write("etc/kubernetes/manifests/extra.yaml", "kind: Pod\n")
    disk.path("etc/kubernetes/manifests/kube-apiserver.yaml").unlink()
    disk.write("etc/kubernetes/tmp/kubeadm-backup-manifests-y/etcd.yaml", "old")
    disk.write("etc/kubernetes/upgrade-guard-stopped-r1/etcd.yaml", "ours")
    disk.write("var/lib/kubelet/instance-config.yaml", "new in 1.34")
    disk.path("var/lib/kubelet/kubeadm-flags.env").unlink()
    disk.path("etc/encryption/config.yaml").chmod(0o644)
    disk.path("etc/apt/sources.list.d/kubernetes.list").write_text("deb v1.28")
