"""`kubeadm upgrade apply` and `kubeadm upgrade node`, in kubeadm's order and words (measured).

What it takes back by itself and what not is kept as measured: when the API server fails, manifests go back, but etcd
stays new, and renewed certificates and kubeconfigs stay renewed.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from upgrade_guard.lab import faults, kubeadm_files, kubeadm_plan, manifests, objects, power, releases
from upgrade_guard.lab.layout import LabSettings, Layout, at, load_settings
from upgrade_guard.lab.programs.entry import Failure, ProgramPlace, complain, say
from upgrade_guard.lab.simulation import opened

# Of an apply's pace; the rest of its time is etcd's.
SHARE = 0.12
BETWEEN_LOOKS = 0.03
RENEWS = {
    "etcd": ("etcd-server", "etcd-peer", "etcd-healthcheck-client"),
    "kube-apiserver": ("apiserver", "apiserver-kubelet-client", "front-proxy-client", "apiserver-etcd-client"),
    "kube-controller-manager": ("controller-manager.conf",),
    "kube-scheduler": ("scheduler.conf",),
}


@dataclass
class Upgrade:
    """One control plane's upgrade while it goes on. `moved` are the manifests that would be put back."""

    place: ProgramPlace
    settings: LabSettings
    target: str
    first: bool
    moved: dict[str, Path] = field(default_factory=dict)
    began: str = field(default_factory=lambda: time.strftime("%Y-%m-%d-%H-%M-%S"))

    @property
    def kubernetes(self) -> Path:
        """The node's /etc/kubernetes."""
        return Layout.of(self.settings).kubernetes(self.place.node)

    @property
    def backups(self) -> Path:
        """Where old manifests go."""
        return self.kubernetes / "tmp" / f"kubeadm-backup-manifests-{self.began}"

    def pause(self) -> None:
        """Take a little of the time that the real one takes."""
        time.sleep(self.settings.pace * SHARE)


def apply(place: ProgramPlace, target: str, own: str, ignored: frozenset[str]) -> int:
    """Upgrade the first control plane."""
    settings = load_settings(place.directory)
    upgrade = Upgrade(place, settings, target, first=True)
    say('[upgrade] Reading configuration from the "kubeadm-config" ConfigMap in namespace "kube-system"...')
    say("[upgrade] Use 'kubeadm init phase upload-config kubeadm --config your-config-file' to re-upload it.")
    say("[upgrade/preflight] Running preflight checks\n[upgrade] Running cluster health checks")
    with opened(place.directory, node=place.node) as lab:
        world = kubeadm_plan.reached(lab)
        current = kubeadm_plan.cluster_version(world)
        kubeadm_plan.healthy(world, ignored)
        if faults.fires(place.directory, "apply-fails-before-change"):
            job = f'Job "upgrade-health-check-{objects.suffix()}" in the namespace "kube-system"'
            kubeadm_plan.refuse("CreateJob", f"{job} did not complete in 15s: no condition of type Complete", ignored)
        say(f'[upgrade/preflight] You have chosen to upgrade the cluster version to "{target}"')
        say(f"[upgrade/versions] Cluster version: {current}\n[upgrade/versions] kubeadm version: {own}")
        kubeadm_plan.enforce_skew(world, current, target, own)
    _pull(upgrade)
    say(
        f'[upgrade/control-plane] Upgrading your static Pod-hosted control plane to version "{target}" '
        "(timeout: 5m0s)..."
    )
    _static_pods(upgrade)
    say("[upgrade/control-plane] The control plane instance for this node was successfully upgraded!")
    kubeadm_files.upload_config(place, target)
    _after_control_plane(upgrade)
    say(f'\n[upgrade] SUCCESS! A control plane node of your cluster was upgraded to "{target}".\n')
    say("[upgrade] Now please proceed with upgrading the rest of the nodes by following the right order.")
    return 0


def node(place: ProgramPlace, own: str, ignored: frozenset[str]) -> int:
    """Upgrade another control plane, or a worker's kubelet configuration, to the version of kubeadm-config."""
    settings = load_settings(place.directory)
    say('[upgrade] Reading configuration from the "kubeadm-config" ConfigMap in namespace "kube-system"...')
    say("[upgrade] Use 'kubeadm init phase upload-config kubeadm --config your-config-file' to re-upload it.")
    say("[upgrade/preflight] Running pre-flight checks")
    with opened(place.directory, node=place.node) as lab:
        target = kubeadm_plan.cluster_version(kubeadm_plan.reached(lab))
    if releases.minor(own) < releases.minor(target):
        raise Failure(
            "error: error execution phase preflight: this version of kubeadm only supports deploying clusters with "
            f"the control plane version <= {own}. Current version: {target}\n{kubeadm_plan.STACK}"
        )
    if not settings.is_control_plane(place.node):
        say("[upgrade/preflight] Skipping prepull. Not a control plane node.")
        say("[upgrade/control-plane] Skipping phase. Not a control plane node.")
        kubeadm_files.write_kubelet_files(place, settings, target)
        say("[upgrade/addon] Skipping the addon/coredns phase. Not a control plane node.")
        say("[upgrade] The configuration for this node was successfully upgraded!")
        return 0
    upgrade = Upgrade(place, settings, target, first=False)
    with opened(place.directory, node=place.node) as lab:
        kubeadm_plan.healthy(kubeadm_plan.reached(lab), ignored)
        # After kubeadm's own look, which is the last that it takes at other nodes.
        if place.node in settings.control_planes[1:2] and faults.fires(place.directory, "machine-lost"):
            power.cut(lab, settings.control_planes[-1])
    _pull(upgrade)
    say(f'[upgrade/control-plane] Upgrading your Static Pod-hosted control plane instance to version "{target}"...')
    _static_pods(upgrade)
    say("[upgrade/control-plane] The control plane instance for this node was successfully upgraded!")
    _after_control_plane(upgrade)
    say("[upgrade] The control plane node was successfully upgraded!")
    return 0


def _pull(upgrade: Upgrade) -> None:
    say("[upgrade/preflight] Pulling images required for setting up a Kubernetes cluster")
    say("[upgrade/preflight] This might take a minute or two, depending on the speed of your internet connection")
    say("[upgrade/preflight] You can also perform this action beforehand using 'kubeadm config images pull'")
    upgrade.pause()
    with opened(upgrade.place.directory, node=upgrade.place.node) as lab:
        record = lab.records[upgrade.place.node]
        record.images = sorted({*record.images, *releases.images(upgrade.target, upgrade.settings.etcd_version)})


def _static_pods(upgrade: Upgrade) -> None:
    """etcd first; on a failure everything that was moved goes back, except an etcd that came up."""
    place, fault = upgrade.place, faults.fires
    written = upgrade.kubernetes / "tmp" / f"kubeadm-upgraded-manifests{time.time_ns() % 10**9}"
    say(f'[upgrade/staticpods] Writing new Static Pod manifests to "{written}"')
    manifests.write_all(upgrade.settings, place.node, upgrade.target, written)
    try:
        for component in manifests.COMPONENTS:
            if component == "kube-apiserver" and upgrade.first:
                if fault(place.directory, "apply-hangs"):
                    _begin(upgrade, component)
                    _wait_for_ever()
                if fault(place.directory, "apply-fails-after-etcd") or fault(place.directory, "apply-fails-once"):
                    _begin(upgrade, component)
                    server = at(upgrade.settings.addresses[place.node], upgrade.settings.ports.api_server)
                    raise Failure(
                        f"failed to obtain static Pod hash for component {component} on Node {place.node}: Get "
                        f'"https://{server}/api/v1/namespaces/kube-system/pods/{component}-{place.node}?timeout=10s": '
                        f"dial tcp {server}: connect: connection refused"
                    )
            _component(upgrade, component, written / f"{component}.yaml")
    except Failure as failure:
        for component, backup in upgrade.moved.items():
            backup.replace(upgrade.kubernetes / "manifests" / f"{component}.yaml")
        with opened(place.directory, node=place.node):
            pass  # kubelet sees the old manifests
        raise Failure(
            "error: error execution phase control-plane: couldn't complete the static pod upgrade: couldn't upgrade "
            "control plane. kubeadm has tried to recover everything into the earlier state. Errors faced: "
            f"{failure}\n{kubeadm_plan.STACK}"
        ) from failure
    shutil.rmtree(written, ignore_errors=True)


def _begin(upgrade: Upgrade, component: str) -> None:
    say(f'[upgrade/staticpods] Preparing for "{component}" upgrade')
    kubeadm_files.renew(upgrade.place, upgrade.settings, RENEWS[component])
    backup = upgrade.backups / f"{component}.yaml"
    say(
        f'[upgrade/staticpods] Moving new manifest to "{upgrade.kubernetes}/manifests/{component}.yaml" and backing up '
        f'old manifest to "{backup}"\n[upgrade/staticpods] Waiting for the kubelet to restart the component\n'
        "[upgrade/staticpods] This can take up to 5m0s"
    )


def _component(upgrade: Upgrade, component: str, new: Path) -> None:
    live = upgrade.kubernetes / "manifests" / f"{component}.yaml"
    if component == "etcd":
        kubeadm_files.copy_etcd(upgrade.settings, upgrade.place.node, upgrade.began)
        before, after = manifests.read(live), manifests.read(new)
        if before and after and _tag(after.image) <= _tag(before.image):
            say(
                f'[upgrade/etcd] The desired etcd version "{after.image.rsplit(":", 1)[1]}" is not newer. Skipping etcd'
            )
            return
    if live.exists() and live.read_bytes() == new.read_bytes():
        say(f"[upgrade/staticpods] Current and new manifests of {component} are equal, skipping upgrade")
        return
    _begin(upgrade, component)
    upgrade.backups.mkdir(parents=True, exist_ok=True)
    backup = upgrade.backups / f"{component}.yaml"
    if live.exists():
        live.replace(backup)
        upgrade.moved[component] = backup
    new.replace(live)
    upgrade.pause()
    _wait(upgrade, component, live)
    if component == "etcd":
        # From here on kubeadm no longer puts etcd back (kubeadm: phases/upgrade/staticpods.go).
        upgrade.moved.pop(component, None)
    say(f"[apiclient] Found 1 Pods for label selector component={component}")
    say(f'[upgrade/staticpods] Component "{component}" upgraded successfully!')
    if component == "etcd":
        say("[upgrade/etcd] Waiting for etcd to become available")


def _wait(upgrade: Upgrade, component: str, live: Path) -> None:
    """Until the mirror pod has the new hash and runs, as long as the lab's kubeadm is patient.

    It need not be Ready: one that crash-loops runs too (kubeadm: util/apiclient/wait.go, and measured).
    """
    node_name, wanted = upgrade.place.node, manifests.read(live)
    digest, deadline = wanted.digest if wanted else "", time.monotonic() + upgrade.settings.patience
    complained = False
    while True:
        with opened(upgrade.place.directory, node=node_name) as lab:
            pod = lab.world.get("pods", "kube-system", f"{component}-{node_name}") if lab.world else None
            runs = pod is not None and pod["status"].get("phase") == "Running"
            if pod and runs and pod["metadata"]["annotations"]["kubernetes.io/config.hash"] == digest:
                return
            answers = lab.world is not None
        if not answers and not complained:
            complain('E1122 09:29:37.530944 1454 request.go:1196] "Unexpected error when reading response body"')
            complained = True
        if time.monotonic() > deadline:
            raise Failure(
                f"static Pod hash for component {component} on Node {node_name} did not change after 5m0s: "
                "timed out waiting for the condition"
            )
        time.sleep(BETWEEN_LOOKS)


def _wait_for_ever() -> None:
    while True:
        time.sleep(60)


def _after_control_plane(upgrade: Upgrade) -> None:
    place, settings, target = upgrade.place, upgrade.settings, upgrade.target
    leaves = ("admin.conf", "super-admin.conf") if releases.minor(target) >= 29 else ("admin.conf",)
    kubeadm_files.renew(place, settings, leaves, quiet=True)
    say("[upgrade/kubeconfig] The kubeconfig files for this node were successfully upgraded!")
    kubeadm_files.write_kubelet_files(place, settings, target)
    upgrade.pause()
    say("[upgrade/bootstrap-token] Configuring bootstrap token and cluster-info RBAC rules")
    kubeadm_files.upgrade_addons(place, target)


def _tag(image: str) -> tuple[int, ...]:
    return tuple(int(number) for number in image.rsplit(":", 1)[1].replace("-", ".").split("."))
