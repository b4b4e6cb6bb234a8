"""The target's packages on every node before anything is changed: what a repository lacks is found out in time.

apt works in a directory of ours, with sources, lists and archives of its own, so that the node's package source still
names the old minor. What was staged is installed from there: no repository is needed in the middle of an upgrade.
"""

from __future__ import annotations

import posixpath

from upgrade_guard.errors import StepFailed
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import NodeTools, Site
from upgrade_guard.tools.apt import Apt, package_version, point_source_at
from upgrade_guard.tools.files import STAGED
from upgrade_guard.tools.kubeadm import Kubeadm

PACKAGES = ("kubeadm", "kubelet", "kubectl")
FETCHES_AT_ONCE = 8
"""Nodes that fetch packages or images at the same time: a mirror of one's own, or a slow link, serves that many."""


def staging(site: Site, cluster: Cluster, target: Version) -> Phase:
    """On every node, several at once; nothing but our own directory is changed."""
    old = Version.parse(cluster.version)
    fetched = tuple(stage(site, node, old, target) for node in cluster.nodes)
    unpacked = tuple(unpack_kubeadm(site, node, target) for node in cluster.control_planes)
    return Phase("stage", "Fetch the target's packages", (*fetched, *unpacked), at_once=FETCHES_AT_ONCE)


def stage(site: Site, node: Node, old: Version, target: Version) -> Step:
    """Fetch kubeadm, kubelet and kubectl of the target, with what they need, and see that they can be installed."""
    tools = site.on(node)

    def probe(facts: Facts) -> Seen:
        if is_staged(tools, facts, target):
            return Done({"directory": staged_directory(tools, facts)})
        return NotDone(f"the packages of {target} are not on {node.name} yet")

    def act(facts: Facts) -> None:
        directory = staged_directory(tools, facts)
        if tools.files.exists(_place(tools)):
            tools.files.remove_own(_place(tools))  # an earlier run's, or one cut short
        source = tools.settings.package_source
        present = tools.files.read_text(source)
        apt = tools.apt.beside(directory)
        apt.prepare(posixpath.basename(source), point_source_at(present, old, target))
        apt.update()
        versions = {package: package_version(apt.available(package), target) for package in PACKAGES}
        lacking = [package for package, version in versions.items() if version is None]
        if lacking:
            raise StepFailed(
                f"{', '.join(lacking)} {target} cannot be had on {node.name}; nothing was changed",
                hint=f"put it into the repository that {source} on {node.name} will name for {target.series}, then: "
                "upgrade-guard resume",
            )
        apt.install({package: version for package, version in versions.items() if version}, download_only=True)
        tools.files.sync()
        tools.files.write(_complete(tools, facts), str(target).encode())

    name = f"stage/{node.name}/packages"
    return Step(name, f"fetch the packages of {target} on {node.name}", probe, act, lane=node.name)


def unpack_kubeadm(site: Site, node: Node, target: Version) -> Step:
    """The target's own kubeadm beside its package: it plans, and names its images, before anything is installed."""
    tools = site.on(node)

    def probe(facts: Facts) -> Seen:
        program = staged_kubeadm(tools, facts)
        if not tools.files.exists(program):
            return NotDone(f"the kubeadm of {target} is not unpacked on {node.name} yet")
        found = Kubeadm(tools.host, tools.settings, program).version()
        return Done({"program": program}) if found == target else NotDone(f"{program} is {found}")

    def act(facts: Facts) -> None:
        directory = _unpacked(tools, facts)
        if tools.files.exists(directory):
            tools.files.remove_own(directory)  # cut short
        apt = tools.apt.beside(staged_directory(tools, facts))
        version = package_version(apt.available("kubeadm"), target)
        if version is None:
            raise StepFailed(f"kubeadm {target} cannot be had on {node.name} any more; nothing was changed")
        apt.unpack("kubeadm", version, directory)

    name = f"stage/{node.name}/kubeadm"
    return Step(name, f"unpack the kubeadm of {target} on {node.name}", probe, act, lane=node.name)


def staged_kubeadm(tools: NodeTools, facts: Facts) -> str:
    """The target's kubeadm, which is not installed."""
    return f"{_unpacked(tools, facts)}/usr/bin/kubeadm"


def _unpacked(tools: NodeTools, facts: Facts) -> str:
    return f"{staged_directory(tools, facts)}/kubeadm"


def is_staged(tools: NodeTools, facts: Facts, target: Version) -> bool:
    """Are all of them there? Our mark is written last: a download that was cut short leaves whole names behind."""
    mark = _complete(tools, facts)
    return tools.files.exists(mark) and tools.files.read_text(mark) == str(target)


def apt_for(tools: NodeTools, facts: Facts, target: Version) -> tuple[Apt, bool]:
    """apt where the target's packages are, and whether they are there already: a run of an earlier version has none."""
    if is_staged(tools, facts, target):
        return tools.apt.beside(staged_directory(tools, facts)), True
    return tools.apt, False


def _place(tools: NodeTools) -> str:
    """Beside our work directory, which nobody else may enter: apt downloads as a user of its own, _apt."""
    return f"{tools.settings.work_dir}{STAGED}"


def staged_directory(tools: NodeTools, facts: Facts) -> str:
    """Where what was fetched for this run is on the node."""
    return f"{_place(tools)}/{facts.run_id}"


def _complete(tools: NodeTools, facts: Facts) -> str:
    return f"{staged_directory(tools, facts)}/complete"
