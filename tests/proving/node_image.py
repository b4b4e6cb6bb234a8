"""The system that a node boots: Debian with systemd, containerd, sshd and one version's packages, held."""

from __future__ import annotations

import tempfile
from pathlib import Path

from proving.ground import made_of, podman
from proving.images import debian
from proving.packages import repositories, repository, series, source_line

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
BASE = f"""FROM ROOTFS
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
    below = base()
    name = f"{NAME}:{version}-{made_of(Path(__file__), below, repositories().name)}"
    if missing(name):
        repository(version)
        install = " ".join(f"{one}={version}-1.1" for one in ("kubeadm", "kubelet", "kubectl"))
        build(
            name,
            f"FROM {below}\n"
            f"RUN echo '{source_line(version).strip()}' >/etc/apt/sources.list.d/kubernetes.list \\\n"
            f" && apt-get update -qq && apt-get install -y -qq --no-install-recommends {install} \\\n"
            " && apt-mark hold kubeadm kubelet kubectl && systemctl enable kubelet\n",
            "-v",
            f"{repositories()}/{series(version)}:/repo/{series(version)}:ro",
        )
    return name


def base() -> str:
    """The image with Debian and what every node has, whatever its version."""
    made = debian("node", INCLUDE)
    rootfs = f"{NAME}:rootfs-{made_of(made.name)}"
    name = f"{NAME}:base-{made_of(made.name, BASE)}"
    if missing(name):
        if missing(rootfs):
            podman("import", made, rootfs, timeout=600)
        build(name, BASE.replace("ROOTFS", rootfs))
    return name


def missing(image: str) -> bool:
    """Is it not made yet?"""
    return podman("image", "exists", image, check=False).returncode != 0


def build(name: str, containerfile: str, *options: str) -> None:
    """From a Containerfile, under that name; images of the same kind from an older recipe go."""
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "Containerfile").write_text(containerfile)
        chroot = ("--isolation=chroot", "-q", *options)
        podman("build", *chroot, "-t", name, "-f", f"{work}/Containerfile", work, timeout=1200)
    kind = name.rpartition("-")[0]
    for old in podman("images", "--format", "{{.Repository}}:{{.Tag}}", NAME).stdout.split():
        if old.rpartition("-")[0] == kind and old != name:
            podman("rmi", old, check=False)  # stays while a container or an image made from it does
