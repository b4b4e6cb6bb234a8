"""The control planes, one after the other; the first by `apply`, the others by `kubeadm upgrade node`.

What is done to one has two lanes: the control plane itself, and its kubelet. Each of them goes back alone, as long as
the other control planes serve; the first one's own way back is that of the whole run.
"""

from __future__ import annotations

from dataclasses import replace

from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.run import Event
from upgrade_guard.model.step import Phase, Step
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps import control_plane_back, kubeadm, kubelet, packages


def control_plane(site: Site, cluster: Cluster, target: Version) -> Phase:
    """From planned to control-plane-upgraded. kubeadm's package is already new on the first control plane."""
    old = Version.parse(cluster.version)
    steps: list[Step] = []
    ways_back: dict[str, tuple[Step, ...]] = {}
    for number, node in enumerate(cluster.control_planes):
        prefix = f"control-plane/{node.name}"
        own: list[Step] = []
        if number == 0:
            own.append(kubeadm.apply(site, cluster, node, target, f"{prefix}/apply"))
        else:
            ways_back[node.name] = control_plane_back.back(site, cluster, node, f"{prefix}/put-back")
            own += [
                packages.point_source(site, node, f"{prefix}/package-source", old, target),
                packages.install(site, node, f"{prefix}/kubeadm", target, ("kubeadm",)),
                kubeadm.upgrade_control_plane_node(site, cluster, node, target, f"{prefix}/upgrade-node"),
            ]
        own.append(kubelet.settled(site, cluster, node, target, f"{prefix}/settled"))
        *renewal, uncordon = kubelet.renew_kubelet(site, cluster, node, target, prefix, lane="")
        renewal += [kubelet.settled(site, cluster, node, target, f"{prefix}/settled-again"), uncordon]
        kubelet_lane = control_plane_back.kubelet_lane(node)
        ways_back[kubelet_lane] = control_plane_back.kubelet_back(site, cluster, node, f"{prefix}/kubelet-back")
        steps += [replace(step, lane=node.name) for step in own]
        steps += [replace(step, lane=kubelet_lane) for step in renewal]
    return Phase(
        "control-plane",
        "Control plane",
        tuple(steps),
        event=Event.CONTROL_PLANE_CHANGED,
        amends=lambda lane: ways_back.get(lane, ()),
        weighs=True,
    )
