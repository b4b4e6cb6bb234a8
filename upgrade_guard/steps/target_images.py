"""The target's images on every control plane before the gate: an image that cannot be had is found out in time.

The target's own kubeadm says which they are, out of the package that was staged.
"""

from __future__ import annotations

import json

from upgrade_guard.errors import CommandFailed, StepFailed
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import NodeTools, Site
from upgrade_guard.steps.staging import FETCHES_AT_ONCE, staged_directory, staged_kubeadm
from upgrade_guard.tools.kubeadm import Kubeadm

IMAGE_CHECKS = {"imagepull", "all"}
"""kubeadm's own check of its images, as `upgrade.ignore_preflight_errors` names it: then nobody insists on them."""


def images(site: Site, cluster: Cluster, target: Version) -> Phase:
    """On every control plane, all at once. Workers get theirs from kubelet, as ever."""
    steps = tuple(target_images(site, cluster, node, target) for node in cluster.control_planes)
    return Phase("images", "See that the target's images are there", steps, at_once=FETCHES_AT_ONCE)


def target_images(site: Site, cluster: Cluster, node: Node, target: Version) -> Step:
    """See that every image of the target is there; those that are not are pulled, where the configuration allows it."""
    tools = site.on(node)
    ignored = IMAGE_CHECKS & {name.lower() for name in site.config.upgrade.ignore_preflight_errors}

    def probe(facts: Facts) -> Seen:
        if ignored:
            return Done({"skipped": True})
        if not tools.files.exists(_configuration(tools, facts)):
            return NotDone(f"nobody has looked yet which images of {target} {node.name} has")
        lacking = _lacking(tools, facts)
        return NotDone(f"{node.name} lacks {', '.join(lacking)}") if lacking else Done()

    def act(facts: Facts) -> None:
        document = site.any_api(cluster).kubeadm_document() | {"kubernetesVersion": str(target)}
        tools.files.write(_configuration(tools, facts), json.dumps(document).encode())
        if not _lacking(tools, facts):
            return
        why: tuple[str, ...] = ()
        if site.config.upgrade.pull_images:
            try:
                _kubeadm(tools, facts).pull_images(_configuration(tools, facts))
            except CommandFailed as problem:
                why = (problem.message,)
        lacking = _lacking(tools, facts)
        if lacking:
            raise StepFailed(
                f"{node.name} lacks {', '.join(lacking)}; nothing was changed",
                hint=f"bring it there (on {node.name}: ctr -n k8s.io images import FILE.tar), then: "
                "upgrade-guard resume",
                reasons=why,
            )

    return Step(
        f"stage/{node.name}/images", f"see that {node.name} has the images of {target}", probe, act, lane=node.name
    )


def _lacking(tools: NodeTools, facts: Facts) -> list[str]:
    there = set(tools.containers.images())
    return [image for image in _kubeadm(tools, facts).images(_configuration(tools, facts)) if image not in there]


def _kubeadm(tools: NodeTools, facts: Facts) -> Kubeadm:
    return Kubeadm(tools.host, tools.settings, staged_kubeadm(tools, facts))


def _configuration(tools: NodeTools, facts: Facts) -> str:
    return f"{staged_directory(tools, facts)}/kubeadm-config.json"
