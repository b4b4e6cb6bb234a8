"""Was the cluster changed by somebody else while a run is open? Seen before each step that changes a node."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from upgrade_guard.errors import DecisionNeeded, GuardError
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.step import Facts, Step
from upgrade_guard.model.step_results import KUBEADM_WORK, PUT_BACK, StepName, of_node
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.kubeadm import VERSIONED, manifest_images
from upgrade_guard.steps.packages import installed_version
from upgrade_guard.steps.rollback_choice import control_plane_touched
from upgrade_guard.steps.staging import PACKAGES

_FORWARD = ("plan", "control-plane", "nodes")


class ByHand:
    """Compares what is on the nodes with what the run recorded and with what the run itself does.

    Only on the way up: a way back brings everything to what was recorded, whoever changed it.
    """

    def __init__(self, site: Site, target: Version) -> None:
        self._site = site
        self._target = target
        self._seen_all = False
        self._looking = threading.Lock()

    def refuse(self, cluster: Cluster, facts: Facts, step: Step) -> None:
        """Raise DecisionNeeded with every difference: of all nodes once in a process, then of the step's own node."""
        name = StepName.of(step.name)
        if name.stage not in _FORWARD or name.within == PUT_BACK:
            return
        with self._looking:
            own = [node for node in cluster.nodes if node.name == name.node]
            nodes = own if self._seen_all else list(cluster.nodes)
            found = tuple(reason for node in nodes for reason in self._differences(node, facts))
            self._seen_all = not found
        if found:
            back = "rollback" if control_plane_touched(cluster, facts) else "abort"
            raise DecisionNeeded(
                "somebody else has changed the cluster since this run looked at it",
                hint=f"put that back and type `upgrade-guard resume`, or close this run: `upgrade-guard {back}`",
                reasons=found,
            )

    def _differences(self, node: Node, facts: Facts) -> Iterator[str]:
        """What is neither as recorded nor as this run makes it. A node that cannot be asked is the step's matter."""
        try:
            yield from self._packages(node, facts)
            if node.is_control_plane:
                yield from self._manifests(node, facts)
        except GuardError:
            return

    def _packages(self, node: Node, facts: Facts) -> Iterator[str]:
        for name, version in self._site.on(node).apt.installed(PACKAGES).items():
            recorded = node.packages.get(name, "")
            work = "kubeadm" if name == "kubeadm" else "kubelet-packages"
            ours = self._touched(node, facts, work) and installed_version(version) == self._target
            if version != recorded and not ours:
                yield self._sentence(f"{node.name}: the package {name} is {version}", recorded or "not there")

    def _manifests(self, node: Node, facts: Facts) -> Iterator[str]:
        images = manifest_images(self._site.on(node))
        upgraded = any(self._touched(node, facts, work) for work in KUBEADM_WORK)
        for component in VERSIONED:
            image, recorded = images.get(component), node.manifests.get(component)
            if image is None or recorded is None or image == recorded:
                continue
            if not (upgraded and image.endswith(f":{self._target}")):
                yield self._sentence(f"{node.name}: the manifest of {component} names {image}", recorded)

    def _sentence(self, now: str, recorded: str) -> str:
        return f"{now}; it was {recorded} when this run looked, and this run goes to {self._target}"

    def _touched(self, node: Node, facts: Facts, work: str) -> bool:
        return any(facts.touched(of_node(stage, node.name, work)) for stage in _FORWARD)
