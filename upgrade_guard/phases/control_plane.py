"""The control planes, one after the other; the first by `apply`, the others by `kubeadm upgrade node`."""

from __future__ import annotations

from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.run import Event
from upgrade_guard.model.step import Phase, Step
from upgrade_guard.model.version import Version
from upgrade_guard.phases import kubeadm_work, node_work, packages
from upgrade_guard.phases.site import Site


def control_plane(site: Site, cluster: Cluster, target: Version) -> Phase:
    """From planned to control-plane-upgraded. kubeadm's package is already new on the first control plane."""
    old = Version.parse(cluster.version)
    steps: list[Step] = []
    for number, node in enumerate(cluster.control_planes):
        prefix = f"control-plane/{node.name}"
        if number == 0:
            steps.append(kubeadm_work.apply(site, cluster, node, target, f"{prefix}/apply"))
        else:
            steps += [
                packages.point_source(site, node, f"{prefix}/package-source", old, target),
                packages.install(site, node, f"{prefix}/kubeadm", target, ("kubeadm",)),
                kubeadm_work.upgrade_control_plane_node(site, cluster, node, target, f"{prefix}/upgrade-node"),
            ]
        steps.append(node_work.settled(site, cluster, node, target, f"{prefix}/settled"))
        *renewal, uncordon = node_work.renew_kubelet(site, cluster, node, target, prefix, lane="")
        steps += [*renewal, node_work.settled(site, cluster, node, target, f"{prefix}/settled-again"), uncordon]
    return Phase("control-plane", "Control plane", tuple(steps), event=Event.CONTROL_PLANE_CHANGED)
