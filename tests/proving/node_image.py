"""The system that a node boots: Debian with systemd, containerd, sshd and one version's packages, held."""

from __future__ import annotations

import tempfile
from pathlib import Path

from proving.ground import cache, podman, run
from proving.images import WITHOUT_DOCUMENTS
from proving.packages import repository, series, source_line

NAME = "localhost/upgrade-guard-proving"
INCLUDE = (
    "systemd,systemd-sysv,dbus,containerd,containernetworking-plugins,runc,iptables,ebtables,ethtool,iproute2,"
    "iputils-ping,socat,conntrack,kmod,procps,mount,util-linux,openssh-server,ca-certificates,openssl,"
    "python3,python3-venv,xz-utils,zstd"
)
MASKED = (
    "systemd-udevd.service systemd-modules-load.service systemd-logind.service console-getty.service getty.target "
    "apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer"
)
ROUTES_UNIT = (
    "[Unit]\\nDescription=routes to the pods of other nodes\\nBefore=containerd.service\\nAfter=network.target\\n"
    "[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/sh /etc/proving/routes.sh\\n"
    "[Install]\\nWantedBy=multi-user.target\\n"
)
# Without CAP_SYS_RESOURCE every pod fails unless containerd leaves the OOM score alone.
BASE = f"""FROM {NAME}:rootfs
RUN mkdir -p /opt/cni/bin /etc/cni/net.d /etc/containerd /etc/kubernetes /root/.ssh /etc/proving \\
 && chmod 700 /root/.ssh \\
 && cp -a /usr/lib/cni/* /opt/cni/bin/ \\
 && containerd config default | sed \\
   -e 's#sandbox_image = .*#sandbox_image = "registry.k8s.io/pause:3.10"#' \\
   -e 's#SystemdCgroup = false#SystemdCgroup = true#' \\
   -e 's#restrict_oom_score_adj = false#restrict_oom_score_adj = true#' >/etc/containerd/config.toml \\
 && systemctl mask {MASKED} \\
 && printf '{ROUTES_UNIT}' >/etc/systemd/system/proving-routes.service \\
 && systemctl enable containerd ssh proving-routes && sed -i '/pam_systemd\\|pam_motd\\|pam_mail/d' /etc/pam.d/* \\
 && printf 'UseDNS no\\nPermitRootLogin prohibit-password\\nMaxStartups 50\\n' >/etc/ssh/sshd_config.d/proving.conf \\
 && rm -f /etc/apt/sources.list && printf 'net.ipv4.ip_forward=1\\n' >/etc/sysctl.d/proving.conf
"""


def of(version: str) -> str:
    """The image of a node with that version's packages installed and held."""
    name = f"{NAME}:{version}"
    if podman("image", "exists", name, check=False).returncode:
        base()
        repository(version)
        install = " ".join(f"{one}={version}-1.1" for one in ("kubeadm", "kubelet", "kubectl"))
        build(
            name,
            f"FROM {NAME}:base\n"
            f"RUN echo '{source_line(version).strip()}' >/etc/apt/sources.list.d/kubernetes.list \\\n"
            f" && apt-get update -qq && apt-get install -y -qq --no-install-recommends {install} \\\n"
            " && apt-mark hold kubeadm kubelet kubectl && systemctl enable kubelet\n",
            "-v",
            f"{cache()}/repo/{series(version)}:/repo/{series(version)}:ro",
        )
    return name


def base() -> None:
    """Debian and what every node has, whatever its version."""
    if not podman("image", "exists", f"{NAME}:base", check=False).returncode:
        return
    made = cache() / "node.tar"
    if not made.exists():
        part = made.with_name("node.part.tar")  # mmdebstrap chooses its format by the ending
        run(
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            f"--include={INCLUDE}",
            *WITHOUT_DOCUMENTS,
            "bookworm",
            part,
            timeout=1800,
        )
        part.rename(made)
    podman("import", made, f"{NAME}:rootfs", timeout=600)
    build(f"{NAME}:base", BASE)


def build(name: str, containerfile: str, *options: str) -> None:
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "Containerfile").write_text(containerfile)
        podman(
            "build", "--isolation=chroot", "-q", *options, "-t", name, "-f", f"{work}/Containerfile", work, timeout=1200
        )
