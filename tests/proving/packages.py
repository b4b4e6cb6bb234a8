"""kubeadm, kubelet and kubectl as .deb packages, in one flat apt repository for each minor, as the real ones are."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from proving import binaries
from proving.ground import NEW, OLD, cache, made_of, outdate, run

DEPENDS = {
    "kubectl": "ca-certificates",
    "kubelet": "iptables, ethtool, iproute2, mount, util-linux, socat",
    "kubeadm": "kubelet, ethtool, iptables",
}
KUBELET_UNIT = """[Unit]
Description=kubelet: The Kubernetes Node Agent
Wants=network-online.target
After=network-online.target
[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10
[Install]
WantedBy=multi-user.target
"""
_KUBECONFIGS = "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
KUBEADM_DROP_IN = f"""[Service]
Environment="KUBELET_KUBECONFIG_ARGS={_KUBECONFIGS}"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
"""
EXTRA = {
    "kubelet": {"lib/systemd/system/kubelet.service": KUBELET_UNIT},
    "kubeadm": {"usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf": KUBEADM_DROP_IN},
}


def series(version: str) -> str:
    """The minor as a repository is called: v1.33."""
    return f"v{version.rpartition('.')[0]}"


def source_line(version: str) -> str:
    """The apt source that names that minor only; upgrading needs it switched, as with the real repositories."""
    return f"deb [trusted=yes] file:/repo/{series(version)} ./\n"


def repositories() -> Path:
    """The directory of all repositories, which nodes see as /repo."""
    programs = (binaries.kubernetes(version).name for version in (OLD, NEW))
    made = cache() / f"repo-{made_of(Path(__file__), *programs)}"
    outdate(made, "repo-*")
    return made


def repository(version: str) -> Path:
    """The repository of that version's minor, with its packages."""
    made = repositories() / series(version)
    if (made / "Packages").exists():
        return made
    part = made.with_name(f"{made.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name in DEPENDS:
        package(name, version, part)
    (part / "Packages").write_text(run("dpkg-scanpackages", "-m", ".", cwd=part).stdout)
    part.rename(made)
    return made


def package(name: str, version: str, directory: Path, *, program: Path | None = None, revision: str = "1.1") -> None:
    """The package of one program, as `directory`/NAME_VERSION-REVISION_amd64.deb."""
    with tempfile.TemporaryDirectory() as work:
        root = Path(work)
        (root / "DEBIAN").mkdir(mode=0o755)
        (root / "usr" / "bin").mkdir(parents=True)
        shutil.copy2(program or binaries.kubernetes(version) / name, root / "usr" / "bin" / name)
        (root / "DEBIAN" / "control").write_text(
            f"Package: {name}\nVersion: {version}-{revision}\nArchitecture: amd64\n"
            f"Maintainer: proving <root@localhost>\nSection: admin\nPriority: optional\n"
            f"Depends: {DEPENDS[name]}\nDescription: Kubernetes {name}\n"
        )
        for place, text in EXTRA.get(name, {}).items():
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            (root / place).write_text(text)
        root.chmod(0o755)
        made = directory / f"{name}_{version}-{revision}_amd64.deb"
        run("dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "-b", root, made)
