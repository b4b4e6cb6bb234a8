"""Package steps: the package source, installing, and going back to what a node had.

Packages of pkgs.k8s.io live in one repository per minor, so that the source names the current minor only and has to be
switched (kubernetes.io: "Changing The Kubernetes Package Repository").
"""

from __future__ import annotations

from collections.abc import Mapping

from upgrade_guard.errors import StepFailed
from upgrade_guard.model.cluster import Node
from upgrade_guard.model.step import Done, Facts, NotDone, Seen, Step
from upgrade_guard.model.version import Version
from upgrade_guard.phases.site import Site
from upgrade_guard.tools.apt import package_version, point_source_at

PACKAGES = ("kubeadm", "kubelet", "kubectl")


def installed_version(package_text: str) -> Version | None:
    """The Kubernetes version inside a package version: `1.28.14-2.1` is v1.28.14."""
    try:
        return Version.parse(package_text.split("-", 1)[0])
    except ValueError:
        return None


def point_source(site: Site, node: Node, name: str, old: Version, new: Version, *, lane: str = "") -> Step:
    """Make the node's package source name the minor of `new`."""
    tools = site.on(node)
    path = tools.settings.package_source

    def wanted() -> tuple[str, str]:
        present = tools.files.read_text(path)
        return present, point_source_at(present, old, new)

    def probe(_: Facts) -> Seen:
        present, right = wanted()
        if present == right:
            return Done({"source": path, "series": new.series})
        return NotDone(f"{path} on {node.name} names {old.series}")

    def act(_: Facts) -> None:
        right = wanted()[1]
        tools.files.write(path, right.encode(), mode=0o644)

    return Step(
        name,
        f"point the package source of {node.name} at {new.series}",
        probe,
        act,
        changes_node=True,
        lane=lane,
    )


def install(site: Site, node: Node, name: str, target: Version, packages: tuple[str, ...], *, lane: str = "") -> Step:
    """Install `packages` at `target`, and keep the holds the node had."""
    tools = site.on(node)
    summary = f"install {', '.join(packages)} {target} on {node.name}"

    def probe(_: Facts) -> Seen:
        found = tools.apt.installed(packages)
        behind = [p for p in packages if installed_version(found.get(p, "")) != target]
        if behind:
            return NotDone(f"{', '.join(behind)} on {node.name}: not at {target}")
        unheld = set(node.holds).intersection(packages) - set(tools.apt.holds())
        if unheld:
            return NotDone(f"{', '.join(sorted(unheld))} on {node.name}: no longer held")
        return Done({"packages": dict(found)})

    def act(_: Facts) -> None:
        tools.apt.update()
        versions = {p: _available(site, node, p, target) for p in packages}
        tools.apt.install(versions)
        holds = [p for p in packages if p in node.holds]
        if holds:
            tools.apt.hold(tuple(holds))

    return Step(name, summary, probe, act, changes_node=True, lane=lane)


def _available(site: Site, node: Node, package: str, target: Version) -> str:
    found = package_version(site.on(node).apt.available(package), target)
    if found is None:
        raise StepFailed(
            f"{package} {target} is not in any package source of {node.name}",
            hint=f"put {package} {target} into the repository that {site.settings(node.name).package_source} names",
        )
    return found


def available(site: Site, node: Node, name: str, target: Version) -> Step:
    """See that every package of the target can be had on this node, before its control plane is changed."""

    def probe(_: Facts) -> Seen:
        return Done({"packages": {p: _available(site, node, p, target) for p in PACKAGES}})

    def act(_: Facts) -> None:
        """Nothing: the probe has told all."""

    return Step(name, f"find kubeadm, kubelet and kubectl {target} on {node.name}", probe, act)


def put_back(site: Site, node: Node, name: str, *, lane: str = "") -> Step:
    """The packages, holds and package source that the node had when it was inspected.

    Not what a bundle says: one that was taken again after the package source was switched has the new one.
    """
    tools = site.on(node)
    path = tools.settings.package_source
    before: Mapping[str, str] = {p: v for p, v in node.packages.items() if p in PACKAGES}

    def source_changed() -> bool:
        return node.package_source is not None and tools.files.read_text(path) != node.package_source

    def differing() -> dict[str, str]:
        found = tools.apt.installed(tuple(before))
        return {p: v for p, v in before.items() if found.get(p) != v}

    def probe(_: Facts) -> Seen:
        if source_changed():
            return NotDone(f"{path} on {node.name} is not what it was")
        changed = differing()
        if changed:
            return NotDone(f"{', '.join(changed)} on {node.name}: not back at the version it had")
        held = set(tools.apt.holds())
        if held.intersection(before) != set(node.holds).intersection(before):
            return NotDone(f"the holds on {node.name} are not what they were")
        return Done({"packages": dict(before)})

    def act(_: Facts) -> None:
        if node.package_source is not None and source_changed():
            tools.files.write(path, node.package_source.encode(), mode=0o644)
        changed = differing()
        if changed:
            tools.apt.update()
            tools.apt.install(changed)
        now_held = set(tools.apt.holds())
        again = [p for p in before if p in node.holds and p not in now_held]
        loose = [p for p in before if p not in node.holds and p in now_held]
        if again:
            tools.apt.hold(tuple(again))
        if loose:
            tools.apt.unhold(tuple(loose))

    return Step(name, f"put the packages of {node.name} back", probe, act, changes_node=True, lane=lane)
