"""What kubeadm writes besides manifests: certificates, kubelet's files, a copy of etcd's data, ConfigMaps, addons."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Sequence

from upgrade_guard.lab import releases
from upgrade_guard.lab.kubeadm_plan import reached, tag_of
from upgrade_guard.lab.layout import LabSettings, Layout, at
from upgrade_guard.lab.programs.entry import ProgramPlace, say
from upgrade_guard.lab.simulation import opened

SOCKET = "unix:///run/containerd/containerd.sock"
# Target minors from which kubeadm writes kubelet's socket into a file of its own, and drops the sandbox image's flag.
INSTANCE_CONFIG, NO_INFRA_IMAGE = 34, 35
# The kubeconfigs that name the node's own API server also behind a balancer (kubeadm: phases/kubeconfig).
LOCAL = ("controller-manager.conf", "scheduler.conf")


def renew(place: ProgramPlace, settings: LabSettings, names: Sequence[str], *, quiet: bool = False) -> None:
    """New keys and certificates, in place and without a copy of the old ones."""
    # Only here, where an apply takes seconds anyway: the other programs start without the site's packages.
    sys.path += [path for path in settings.python_paths if path not in sys.path]
    from upgrade_guard.lab import certificates

    for name in names:
        leaf = next((leaf for leaf in certificates.ALL_LEAVES if leaf.name == name), None)
        if leaf is None:
            continue
        if not quiet:
            say(f"[upgrade/staticpods] Renewing {name} certificate")
        certificates.issue(
            leaf,
            Layout.of(settings).kubernetes(place.node),
            node=place.node,
            address=settings.addresses[place.node],
            server=server_url(settings, place.node, leaf.file),
        )


def server_url(settings: LabSettings, name: str, file: str) -> str:
    """What a kubeconfig of a node points at: the cluster's endpoint, where there is one and the file is not LOCAL."""
    if settings.endpoint and file not in LOCAL:
        return f"https://{at(settings.endpoint, settings.ports.api_server)}"
    plane = name if settings.is_control_plane(name) else settings.control_planes[0]
    return f"https://{at(settings.addresses[plane], settings.ports.api_server)}"


def copy_etcd(settings: LabSettings, name: str, began: str) -> None:
    """kubeadm's copy of the live data directory: files, no snapshot. The lab leaves the 64 MB of WAL out."""
    layout = Layout.of(settings)
    target = layout.kubernetes(name) / "tmp" / f"kubeadm-backup-etcd-{began}" / "etcd" / "member" / "snap"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(layout.etcd(name) / "member" / "snap" / "db", target / "db")


def upload_config(place: ProgramPlace, target: str) -> None:
    """kubeadm-config says the new version, and is what `upgrade node` follows."""
    say('[upload-config] Storing the configuration used in ConfigMap "kubeadm-config" in the "kube-system" Namespace')
    with opened(place.directory, node=place.node) as lab:
        world = reached(lab)
        found = world.get("configmaps", "kube-system", "kubeadm-config")
        if found is not None:
            text = found["data"]["ClusterConfiguration"]
            found["data"]["ClusterConfiguration"] = re.sub(
                r"^kubernetesVersion: .*$", f"kubernetesVersion: {target}", text, flags=re.MULTILINE
            )
        world.write()
    say(
        '[kubelet] Creating a ConfigMap "kubelet-config" in namespace kube-system with the configuration for the '
        "kubelets in the cluster"
    )


def write_kubelet_files(place: ProgramPlace, settings: LabSettings, target: str) -> None:
    """config.yaml from the kubelet-config ConfigMap, kubeadm-flags.env, and from 1.34 on instance-config.yaml."""
    layout = Layout.of(settings)
    own = layout.kubelet(place.node)
    backup = layout.kubernetes(place.node) / "tmp" / f"kubeadm-kubelet-config{time.time_ns() % 10**9}"
    backup.mkdir(parents=True)
    say(f"[upgrade] Backing up kubelet config file to {backup}/config.yaml")
    if (own / "config.yaml").exists():
        shutil.copy2(own / "config.yaml", backup / "config.yaml")
    with opened(place.directory, node=place.node) as lab:
        found = reached(lab).get("configmaps", "kube-system", "kubelet-config")
    text = found["data"]["kubelet"] if found else ""
    put_kubelet_files(settings, place.node, target, text)
    say(f'[kubelet-start] Writing kubelet environment file with flags to file "{own}/kubeadm-flags.env"')
    if releases.minor(target) >= INSTANCE_CONFIG:
        say(f'[kubelet-start] Writing kubelet configuration to file "{own}/instance-config.yaml"')
    say(f'[kubelet-start] Writing kubelet configuration to file "{own}/config.yaml"')
    say("[upgrade/kubelet-config] The kubelet configuration for this node was successfully upgraded!")


def put_kubelet_files(settings: LabSettings, name: str, version: str, configuration: str) -> None:
    """The files themselves, as kubeadm of `version` leaves them."""
    layout, series = Layout.of(settings), releases.minor(version)
    own = layout.kubelet(name)
    own.mkdir(parents=True, exist_ok=True)
    # One configuration for all, except that the nodes of a lab share one file system.
    first = str(layout.node(settings.control_planes[0]))
    (own / "config.yaml").write_text(configuration.replace(first, str(layout.node(name))))
    flags = []
    if series < INSTANCE_CONFIG:
        flags.append(f"--container-runtime-endpoint={SOCKET}")
    if series < NO_INFRA_IMAGE:
        flags.append(f"--pod-infra-container-image={releases.image('pause', version, settings.etcd_version)}")
    (own / "kubeadm-flags.env").write_text(f'KUBELET_KUBEADM_ARGS="{" ".join(flags)}"\n')
    if series >= INSTANCE_CONFIG:
        (own / "instance-config.yaml").write_text(f"containerRuntimeEndpoint: {SOCKET}\n")


def upgrade_addons(place: ProgramPlace, target: str) -> None:
    """CoreDNS and kube-proxy, once every API server is new (kubeadm: phases/upgrade/postupgrade.go)."""
    with opened(place.directory, node=place.node) as lab:
        world = reached(lab)
        old = [name for name in lab.settings.control_planes if tag_of(lab, name, "kube-apiserver") != target]
        if old:
            say(
                "[upgrade/addon] Skipping upgrade of addons because control plane instances "
                f"[{' '.join(old)}] have not been upgraded"
            )
            return
        for plural, name, component in (
            ("deployments", "coredns", "coredns"),
            ("daemonsets", "kube-proxy", "kube-proxy"),
        ):
            found = world.get(plural, "kube-system", name)
            image = releases.image(component, target, lab.settings.etcd_version)
            if found is not None and found["spec"]["template"]["spec"]["containers"][0]["image"] != image:
                found["spec"]["template"]["spec"]["containers"][0]["image"] = image
                found["metadata"]["generation"] += 1
        lab.settle()
    say("[addons] Applied essential addon: CoreDNS\n[addons] Applied essential addon: kube-proxy")
