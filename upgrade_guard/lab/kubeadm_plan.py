"""`kubeadm upgrade plan`, and the rules by which kubeadm refuses a version (kubeadm: phases/upgrade/policy.go)."""

from __future__ import annotations

from upgrade_guard.lab import faults, objects, releases
from upgrade_guard.lab.layout import at
from upgrade_guard.lab.programs.entry import Failure, ProgramPlace, say
from upgrade_guard.lab.simulation import Simulation, opened
from upgrade_guard.lab.world import World

STACK = releases.STACK
LINE = "_" * 69
# The tables have a row for each node from this minor on (kubernetes#123578).
TABLE_WITH_NODES = 30


def plan(place: ProgramPlace, target: str, own: str, ignored: frozenset[str]) -> int:
    """With an older kubeadm it exits 0 and shows its own idea of etcd and CoreDNS (measured)."""
    say("[preflight] Running pre-flight checks.")
    with opened(place.directory, node=place.node) as lab:
        world = reached(lab)
        current = cluster_version(world)
        say('[upgrade/config] Reading configuration from the "kubeadm-config" ConfigMap in namespace "kube-system"...')
        say("[upgrade] Running cluster health checks")
        healthy(world, ignored)
        if faults.is_on(place.directory, "plan-refuses"):
            refuse(
                "CoreDNSMigration",
                "CoreDNS will not be upgraded: start version 'v1.10.1-custom' not supported",
                ignored,
            )
        say(f"[upgrade] Fetching available versions to upgrade to\n[upgrade/versions] Cluster version: {current[1:]}")
        say(f"[upgrade/versions] kubeadm version: {own}\n[upgrade/versions] Target version: {target}")
        say(f"[upgrade/versions] Latest version in the v1.{releases.minor(current)} series: {target}\n")
        if current == target:
            return 0
        _tables(lab, world, current, target, own)
    return 0


def _tables(lab: Simulation, world: World, current: str, target: str, own: str) -> None:
    with_nodes = releases.minor(own) >= TABLE_WITH_NODES
    nodes = [(node["metadata"]["name"], node["status"]["nodeInfo"]["kubeletVersion"]) for node in world.kind("nodes")]
    say(
        "Components that must be upgraded manually after you have upgraded the control plane with "
        "'kubeadm upgrade apply':"
    )
    if with_nodes:
        kubelets = [("kubelet", name, version, target) for name, version in nodes]
    else:
        versions = sorted({version for _, version in nodes})
        kubelets = [("kubelet", "", f"{sum(1 for _, one in nodes if one == v)} x {v}", target) for v in versions]
    _table(kubelets, with_nodes=with_nodes)
    say(f"Upgrade to the latest version in the v1.{releases.minor(current)} series:\n")
    # An old kubeadm knows only its own etcd and CoreDNS, which is why its table misleads.
    series = target if releases.minor(own) >= releases.minor(target) else own
    rows = []
    for component in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        rows += [(component, name, tag_of(lab, name, component), target) for name in lab.settings.control_planes]
    rows.append(("kube-proxy", "", current[1:] if with_nodes else current, target))
    rows.append(("CoreDNS", "", releases.COREDNS[releases.minor(current)], releases.COREDNS[releases.minor(series)]))
    wanted = releases.etcd_tag(series, lab.settings.etcd_version)
    rows += [("etcd", name, tag_of(lab, name, "etcd"), wanted) for name in lab.settings.control_planes]
    _table(
        rows if with_nodes else list(dict.fromkeys((one, "", old, new) for one, _, old, new in rows)),
        with_nodes=with_nodes,
    )
    say(f"You can now apply the upgrade by executing the following command:\n\n\tkubeadm upgrade apply {target}\n")
    if releases.numbers(own) < releases.numbers(target):
        say(f"Note: Before you can perform this upgrade, you have to update kubeadm to {target}.\n")
    say(
        f"{LINE}\n\n\nThe table below shows the current state of component configs as understood by this version of "
        'kubeadm.\nConfigs that have a "yes" mark in the "MANUAL UPGRADE REQUIRED" column require manual config '
        "upgrade or\nresetting to kubeadm defaults before a successful upgrade can be performed. The version to "
        'manually\nupgrade to is denoted in the "PREFERRED VERSION" column.\n'
    )
    say("API GROUP                 CURRENT VERSION   PREFERRED VERSION   MANUAL UPGRADE REQUIRED")
    for group, version in (("kubeproxy.config.k8s.io", "v1alpha1"), ("kubelet.config.k8s.io", "v1beta1")):
        say(f"{group:<26}{version:<18}{version:<20}no")
    say(LINE + "\n")


def _table(rows: list[tuple[str, str, str, str]], *, with_nodes: bool) -> None:
    header = ("COMPONENT", "NODE", "CURRENT", "TARGET")
    shown = [tuple(cell for index, cell in enumerate(row) if with_nodes or index != 1) for row in (header, *rows)]
    widths = [max(len(row[index]) for row in shown) + 3 for index in range(len(shown[0]))]
    for row in shown:
        say("".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    say("")


def reached(lab: Simulation) -> World:
    """The API's objects. Raises Failure as kubeadm does when no API server answers."""
    if lab.world is None:
        settings = lab.settings
        address = settings.endpoint or settings.addresses[settings.control_planes[0]]
        server = at(address, settings.ports.api_server)
        raise Failure(
            "[upgrade/config] FATAL: failed to get config map: Get "
            f'"https://{server}/api/v1/namespaces/kube-system/configmaps/kubeadm-config?timeout=10s": '
            f"dial tcp {server}: connect: connection refused\n{STACK}"
        )
    return lab.world


def cluster_version(world: World) -> str:
    """What kubeadm-config says. Raises Failure when it is not there."""
    config = world.get("configmaps", "kube-system", "kubeadm-config")
    lines = config["data"]["ClusterConfiguration"].splitlines() if config else []
    for line in lines:
        if line.startswith("kubernetesVersion: "):
            return str(line.removeprefix("kubernetesVersion: ").strip())
    raise Failure(f'[upgrade/config] FATAL: the ConfigMap "kubeadm-config" was not found\n{STACK}')


def healthy(world: World, ignored: frozenset[str]) -> None:
    """kubeadm's own health checks: the control planes are ready, and a Job can run."""
    nodes = list(world.kind("nodes"))
    planes = [node for node in nodes if objects.CONTROL_PLANE in node["metadata"]["labels"]]
    bad = [node["metadata"]["name"] for node in planes if not objects.is_ready(node)]
    if bad:
        refuse(
            "ControlPlaneNodesReady", f"there are NotReady control-planes in the cluster: [{' '.join(bad)}]", ignored
        )


def refuse(check: str, message: str, ignored: frozenset[str]) -> None:
    """A preflight error, unless it is ignored."""
    if check.lower() in ignored or "all" in ignored:
        say(f"\t[WARNING {check}]: {message}")
        return
    raise Failure(
        f"[upgrade/health] FATAL: [preflight] Some fatal errors occurred:\n\t[ERROR {check}]: {message}\n[preflight] "
        "If you know what you are doing, you can make a check non-fatal with `--ignore-preflight-errors=...`\n" + STACK
    )


def enforce_skew(world: World, current: str, target: str, own: str) -> None:
    """Raises Failure with every reason why kubeadm refuses the version."""
    now, wanted, mine = releases.numbers(current), releases.numbers(target), releases.numbers(own)
    reasons = []
    if wanted[1] > now[1] + 1:
        reasons.append(
            f'Specified version to upgrade to "{target}" is too high; '
            "kubeadm can upgrade only 1 minor version at a time"
        )
    if wanted[1] < now[1]:
        reasons.append(
            f'Specified version to upgrade to "{target}" is too low; '
            "kubeadm can downgrade only 1 minor version at a time"
        )
    if wanted[1] > mine[1]:
        reasons.append(
            f'Specified version to upgrade to "{target}" is at least one minor release higher than the kubeadm minor '
            f"release ({wanted[1]} > {mine[1]}). Such an upgrade is not supported"
        )
    elif wanted > mine:
        reasons.append(
            f'Specified version to upgrade to "{target}" is higher than the kubeadm version "{own}". Upgrade kubeadm '
            "first using the tool you used to install kubeadm"
        )
    if mine[1] > wanted[1]:
        reasons.append(f"Kubeadm version {own} can only be used to upgrade to Kubernetes version {mine[0]}.{mine[1]}")
    kubelets = sorted({node["status"]["nodeInfo"]["kubeletVersion"] for node in world.kind("nodes")})
    skew = 3 if wanted[1] >= 28 else 2
    too_old = [version for version in kubelets if releases.minor(version) < wanted[1] - skew]
    if too_old:
        reasons.append(f"There are kubelets in this cluster that are too old that have these versions {too_old}")
    if reasons:
        listed = "\n".join(f"\t- {reason}" for reason in reasons)
        raise Failure(
            "[upgrade/version] FATAL: the --version argument is invalid due to these fatal errors:\n\n"
            f"{listed}\n\nPlease fix the misalignments highlighted above and try upgrading again\n{STACK}"
        )


def tag_of(lab: Simulation, name: str, component: str) -> str:
    """The image tag of a control plane's component."""
    container = lab.records[name].static(component)
    return container.image.rsplit(":", 1)[1] if container else ""
