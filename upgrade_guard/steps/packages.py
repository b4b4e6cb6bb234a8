"""Package steps: the package source, installing, and going back to what a node had.

Packages of pkgs.k8s.io live in one repository per minor, so that the source names the current minor only and has to be
switched (kubernetes.io: "Changing The Kubernetes Package Repository").
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from upgrade_guard.errors import CommandFailed, HostUnreachable, StepFailed
from upgrade_guard.model.cluster import Node
from upgrade_guard.model.step import Done, Facts, NotDone, Seen, Step
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import NodeTools, Site
from upgrade_guard.steps.staging import PACKAGES, apt_for
from upgrade_guard.tools.apt import Apt, package_version, point_source_at


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

    def act(facts: Facts) -> None:
        apt, staged = apt_for(tools, facts, target)
        # The lists may have them already: they are fetched once for a node, and not for each of its steps.
        if not staged and any(package_version(apt.available(p), target) is None for p in packages):
            apt.update()
        versions = {p: _available(site, node, p, apt, target) for p in packages}
        apt.install(versions)
        holds = [p for p in packages if p in node.holds]
        if holds:
            tools.apt.hold(tuple(holds))

    return Step(name, summary, probe, act, changes_node=True, lane=lane)


def _available(site: Site, node: Node, package: str, apt: Apt, target: Version) -> str:
    found = package_version(apt.available(package), target)
    if found is None:
        raise StepFailed(
            f"{package} {target} is not in any package source of {node.name}",
            hint=f"put {package} {target} into the repository that {site.settings(node.name).package_source} names",
        )
    return found


def available(site: Site, node: Node, name: str, target: Version) -> Step:
    """See that every package of the target can be had on this node, before its control plane is changed."""

    def probe(facts: Facts) -> Seen:
        apt, _ = apt_for(site.on(node), facts, target)
        return Done({"packages": {p: _available(site, node, p, apt, target) for p in PACKAGES}})

    def act(_: Facts) -> None:
        """Nothing: the probe has told all."""

    return Step(name, f"find kubeadm, kubelet and kubectl {target} on {node.name}", probe, act)


def kept_name(node: Node) -> str:
    """The step that keeps the present packages of that node."""
    return f"keep/{node.name}/packages"


def keep(site: Site, node: Node) -> Step:
    """The package files that are installed now, into our own directory on the node: the way back needs no repository.

    Where they cannot be had any more the way back needs the repository, which is said before the yes.
    """
    tools = site.on(node)
    before = _before(node)
    tried: list[str] = []

    def directory(facts: Facts) -> str:
        return f"{tools.settings.work_dir}/packages-{facts.run_id}"

    def complete(facts: Facts) -> str:
        """Ours, made last: a download that was cut short leaves a file under its whole name."""
        return f"{directory(facts)}/complete"

    def probe(facts: Facts) -> Seen:
        if tools.files.exists(complete(facts)):
            names = tools.files.find_files(directory(facts))
            return Done({"files": tools.files.sha256(*(name for name in names if name.endswith(".deb"))), "why": ""})
        if tried:
            return Done({"files": {}, "why": tried[-1]})
        return NotDone(f"the packages of {node.name} are not kept yet")

    def act(facts: Facts) -> None:
        if not tools.files.exists(directory(facts)):
            tools.files.make_dir(directory(facts))
        for name in tools.files.list_dir(tools.settings.work_dir):
            if name.startswith("packages-") and name != posixpath.basename(directory(facts)):
                tools.files.remove_own(f"{tools.settings.work_dir}/{name}")  # an earlier run's: it has ended
        try:
            tools.apt.download(before, directory(facts))
            tools.files.sync()
        except HostUnreachable:
            raise
        except CommandFailed as problem:
            tried.append(problem.message)
            return
        tools.files.write(complete(facts), b"")

    return Step(kept_name(node), f"keep the present packages of {node.name}", probe, act, lane=node.name)


def kept_files(tools: NodeTools, node: Node, facts: Facts, wanted: Mapping[str, str]) -> tuple[str, ...]:
    """The kept files of these packages, if all of them are there and are what was kept; else none."""
    name = kept_name(node)
    if not facts.has(name) or not wanted:
        return ()
    digests: Mapping[str, str] = facts.of(name)["files"]
    chosen = tuple(
        path
        for path in sorted(digests)
        if any(posixpath.basename(path).startswith(f"{package}_{version}_") for package, version in wanted.items())
    )
    if len(chosen) != len(wanted) or tools.files.existing(*chosen) != frozenset(chosen):
        return ()
    now = tools.files.sha256(*chosen)
    return chosen if all(now.get(path) == digests[path] for path in chosen) else ()


def fetch_back(site: Site, node: Node, name: str) -> Step:
    """Point the package source back and fetch the packages that a rollback will need, before anything is stopped.

    Nothing is fetched where they were kept.
    """
    tools = site.on(node)
    before = _before(node)
    fetched: list[bool] = []

    def probe(facts: Facts) -> Seen:
        behind = differing(tools, before)
        if behind and not fetched and not kept_files(tools, node, facts, behind):
            return NotDone(f"{', '.join(behind)} of {node.name}: not fetched yet")
        return Done({"packages": behind})

    def act(_: Facts) -> None:
        _source_back(tools, node)
        tools.apt.update()
        tools.apt.install(differing(tools, before), download_only=True)
        fetched.append(True)

    return Step(name, f"fetch the old packages of {node.name}", probe, act, changes_node=True, lane=node.name)


def put_back(site: Site, node: Node, name: str, *, lane: str = "", fetched: str = "") -> Step:
    """The packages, holds and package source that the node had when it was inspected: from the files that were kept,
    else from the repository.

    `fetched` is the step that fetched them already, if there was one: package lists are then not asked for again.

    Not what a bundle says: one that was taken again after the package source was switched has the new one.
    """
    tools = site.on(node)
    path = tools.settings.package_source
    before = _before(node)

    def probe(_: Facts) -> Seen:
        if _source_changed(tools, node):
            return NotDone(f"{path} on {node.name} is not what it was")
        changed = differing(tools, before)
        if changed:
            return NotDone(f"{', '.join(changed)} on {node.name}: not back at the version it had")
        held = set(tools.apt.holds())
        if held.intersection(before) != set(node.holds).intersection(before):
            return NotDone(f"the holds on {node.name} are not what they were")
        return Done({"packages": dict(before)})

    def act(facts: Facts) -> None:
        _source_back(tools, node)
        changed = differing(tools, before)
        if changed and not _from_kept(facts, changed):
            if not facts.has(fetched):
                tools.apt.update()
            tools.apt.install(changed)
        now_held = set(tools.apt.holds())
        again = [p for p in before if p in node.holds and p not in now_held]
        loose = [p for p in before if p not in node.holds and p in now_held]
        if again:
            tools.apt.hold(tuple(again))
        if loose:
            tools.apt.unhold(tuple(loose))

    def _from_kept(facts: Facts, changed: Mapping[str, str]) -> bool:
        files = kept_files(tools, node, facts, changed)
        if not files:
            return False
        try:
            tools.apt.install_files(files)
        except CommandFailed as problem:
            if problem.exit_status is None:
                raise
            return False  # the repository may still have what they need
        return True

    return Step(name, f"put the packages of {node.name} back", probe, act, changes_node=True, lane=lane)


def _before(node: Node) -> Mapping[str, str]:
    return {package: version for package, version in node.packages.items() if package in PACKAGES}


def differing(tools: NodeTools, before: Mapping[str, str]) -> dict[str, str]:
    """Those of these packages that the node does not have at that version, with the version that is wanted."""
    found = tools.apt.installed(tuple(before))
    return {package: version for package, version in before.items() if found.get(package) != version}


def _source_changed(tools: NodeTools, node: Node) -> bool:
    return node.package_source is not None and tools.files.read_text(tools.apt.source) != node.package_source


def _source_back(tools: NodeTools, node: Node) -> None:
    if node.package_source is not None and _source_changed(tools, node):
        tools.files.write(tools.apt.source, node.package_source.encode(), mode=0o644)
