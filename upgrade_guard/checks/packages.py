"""Can the target version be installed, and the old one again if need be?"""

from __future__ import annotations

from upgrade_guard.checks.findings import blocking, listed, ok, warning
from upgrade_guard.checks.gathered import Gathered
from upgrade_guard.model.finding import Finding
from upgrade_guard.model.node import table_of
from upgrade_guard.model.version import Version
from upgrade_guard.tools.apt import package_version, point_source_at

PACKAGES = ("kubeadm", "kubelet", "kubectl")


def package_source_known(gathered: Gathered, target: Version) -> tuple[Finding, ...]:
    """apt manages the packages, and the source that names their repository is known and can be pointed elsewhere."""
    name = "package-source-known"
    findings = []
    now = Version.parse(gathered.cluster.version)
    for node in gathered.nodes:
        if node.installed is None or "kubeadm" not in node.installed or "kubelet" not in node.installed:
            findings.append(
                blocking(
                    name,
                    f"{node.name}: kubeadm and kubelet are not installed by apt",
                    "only apt is supported so far: dpkg-query -W kubeadm kubelet kubectl",
                    node.name,
                )
            )
        elif node.package_source_text is None:
            findings.append(
                blocking(
                    name,
                    f"{node.name}: there is no package source {node.package_source}",
                    f"find it and name it in the configuration: {table_of(node.name)} package_source = ... ; "
                    "grep -rl kubernetes /etc/apt/sources.list /etc/apt/sources.list.d",
                    node.name,
                )
            )
        elif target.series != now.series and not points_elsewhere(node.package_source_text, now, target):
            findings.append(
                warning(
                    name,
                    f"{node.name}: {node.package_source} names no repository of {now.series}, so it stays as it is",
                    f"make sure that this repository offers {target.series}: cat {node.package_source}",
                    node.name,
                )
            )
        else:
            findings.append(
                ok(name, f"{node.name}: {node.package_source} can be pointed at {target.series}", node.name)
            )
    return tuple(findings)


def packages_available(gathered: Gathered, target: Version) -> tuple[Finding, ...]:
    """The target version of kubeadm, kubelet and kubectl can be had, as far as the present package source shows."""
    name = "packages-available"
    findings = []
    now = Version.parse(gathered.cluster.version)
    for node in gathered.nodes:
        if node.installed is None or node.package_source_text is None:
            continue  # package-source-known says so
        wanted = [package for package in PACKAGES if package in node.installed]
        absent = [package for package in wanted if package_version(node.available.get(package, ()), target) is None]
        if points_elsewhere(node.package_source_text, now, target):
            # pkgs.k8s.io has one repository per minor: the new one cannot be seen before the source names it.
            findings.append(
                ok(name, f"{node.name}: will be fetched from {target.series} before anything is changed", node.name)
            )
        elif not absent:
            findings.append(ok(name, f"{node.name}: {target} can be had for {listed(wanted)}", node.name))
        else:
            findings.append(
                blocking(
                    name,
                    f"{node.name}: no package of {target} for {listed(absent)}",
                    f"see what there is on {node.name}: apt-get update; apt-cache madison {absent[0]}",
                    node.name,
                )
            )
    return tuple(findings)


def packages_whole(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """No package is only half installed: apt refuses to work until that is repaired."""
    name = "packages-whole"
    findings = [
        warning(
            name,
            f"{node.name}: {node.unfinished.splitlines()[0].rstrip(':')}",
            f"see and repair it on {node.name}: dpkg --audit; dpkg --configure -a",
            node.name,
        )
        for node in gathered.nodes
        if node.unfinished
    ]
    return tuple(findings) or (ok(name, "no package is half installed"),)


def packages_held(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """The packages are on hold, so that nothing but this upgrade moves them; the holds are put back at the end."""
    name = "packages-held"
    findings = []
    for node in gathered.nodes:
        if node.installed is None:
            continue
        free = [package for package in PACKAGES if package in node.installed and package not in node.holds]
        if free:
            findings.append(
                warning(
                    name,
                    f"{node.name}: not on hold: {listed(free)}",
                    f"hold them on {node.name}: apt-mark hold {' '.join(free)}",
                    node.name,
                )
            )
        else:
            findings.append(ok(name, f"{node.name}: kubeadm, kubelet and kubectl are on hold", node.name))
    return tuple(findings)


def packages_match_running(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """What is installed is what runs: otherwise a restart already brings another version."""
    name = "packages-match-running"
    findings = []
    for node in gathered.nodes:
        running = gathered.cluster.node(node.name).kubelet_version.lstrip("v")
        installed = (node.installed or {}).get("kubelet", "")
        if not installed:
            continue
        if installed.rpartition(":")[2].partition("-")[0] == running:
            findings.append(ok(name, f"{node.name}: kubelet {running} runs as installed", node.name))
        else:
            findings.append(
                warning(
                    name,
                    f"{node.name}: kubelet {running} runs, but the package is {installed}",
                    f"restart kubelet on {node.name}, or put its package back: apt-get install kubelet={running}-*",
                    node.name,
                )
            )
    return tuple(findings)


def points_elsewhere(source: str | None, now: Version, target: Version) -> bool:
    """Does the package source name the repository of `now`, so that it will be pointed at the one of `target`?"""
    return source is not None and point_source_at(source, now, target) != source
