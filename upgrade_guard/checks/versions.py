"""Is this upgrade one that Kubernetes supports? The rules are those of its version skew policy."""

from __future__ import annotations

from upgrade_guard.checks.control_plane_files import program_of
from upgrade_guard.checks.findings import blocking, listed, ok, warning
from upgrade_guard.checks.gathered import Gathered
from upgrade_guard.model.finding import Finding
from upgrade_guard.model.version import Version


def version_path(gathered: Gathered, target: Version) -> tuple[Finding, ...]:
    """A patch upgrade, or the next minor: kubeadm knows nothing else, and there is no way down but a rollback."""
    name = "version-path"
    now = Version.parse(gathered.cluster.version)
    why, hint = no_way(now, target)
    if why:
        return (blocking(name, why, hint),)
    if target == now:
        return _already_there(gathered, target, name)
    step = "the next minor" if target.minor > now.minor else "a patch"
    return (ok(name, f"{now} to {target} is {step}"),)


def no_way(now: Version, target: Version) -> tuple[str, str]:
    """Why no upgrade leads from `now` to `target`, and what to do instead; two empty texts where one does."""
    if target.major != now.major:
        return f"there is no way from {now} to {target}", f"give a version of {now.major}.x"
    if target < now:
        return (
            f"{target} is older than the cluster ({now}); Kubernetes cannot be downgraded",
            "to go back to a bundle, which loses what was written since: upgrade-guard backup list",
        )
    if target.minor > now.minor + 1:
        between = f"v{now.major}.{now.minor + 1}"
        return (
            f"{target} skips {target.minor - now.minor - 1} minor(s) after {now}; kubeadm goes one at a time",
            f"go to the newest {between} first: upgrade-guard run {between}.0",
        )
    return "", ""


def _already_there(gathered: Gathered, target: Version, name: str) -> tuple[Finding, ...]:
    behind = [node.name for node in gathered.cluster.nodes if _version(node.kubelet_version) != target]
    if not behind:
        return (blocking(name, f"every node runs {target} already", "see what can be had: upgrade-guard run"),)
    return (
        warning(
            name,
            f"the control plane runs {target} already; still to be upgraded: {listed(behind)}",
            "go on if this completes an earlier upgrade: a rollback then leads back to this mixture",
        ),
    )


def version_skew(gathered: Gathered, target: Version) -> tuple[Finding, ...]:
    """API servers agree, and no kubelet is newer than they are or too old for the target."""
    name = "version-skew"
    findings = [*_api_servers_agree(gathered, name), *_kubelets_fit(gathered, target, name)]
    return tuple(findings) or (ok(name, f"API servers and kubelets are near enough to each other and to {target}"),)


def _api_servers_agree(gathered: Gathered, name: str) -> list[Finding]:
    found = {node: version for node, version in api_server_versions(gathered).items() if version is not None}
    series = {(version.major, version.minor) for version in found.values()}
    if len(set(found.values())) <= 1:
        return []
    seen = ", ".join(f"{node} {version}" for node, version in sorted(found.items()))
    if len(series) > 1:
        return [
            blocking(
                name,
                f"the API servers run different minor versions: {seen}",
                "finish that upgrade first, on the nodes left behind: kubeadm upgrade node",
            )
        ]
    return [
        warning(
            name,
            f"the API servers run different patches: {seen}",
            "go on: the upgrade makes them equal; a rollback leads back to this mixture",
        )
    ]


def _kubelets_fit(gathered: Gathered, target: Version, name: str) -> list[Finding]:
    findings = []
    servers = [version for version in api_server_versions(gathered).values() if version is not None]
    oldest = min(servers, default=Version.parse(gathered.cluster.version))
    for node in gathered.cluster.nodes:
        kubelet = _version(node.kubelet_version)
        if kubelet is None:
            findings.append(
                warning(
                    name,
                    f"{node.name}: the kubelet version {node.kubelet_version!r} is not a release",
                    f"look on the node: kubelet --version (on {node.name})",
                    node.name,
                )
            )
            continue
        allowed = 3 if kubelet >= Version(kubelet.major, 25, 0) else 2
        if (kubelet.major, kubelet.minor) > (oldest.major, oldest.minor):
            findings.append(
                blocking(
                    name,
                    f"{node.name}: kubelet {kubelet} is newer than the API server {oldest}",
                    f"take its kubelet back to {oldest.series}, or finish the control plane's upgrade first",
                    node.name,
                )
            )
        elif target.minor - kubelet.minor > allowed:
            findings.append(
                blocking(
                    name,
                    f"{node.name}: kubelet {kubelet} is more than {allowed} minor versions older than {target}",
                    f"upgrade the kubelet of {node.name} first: upgrade-guard run {oldest}",
                    node.name,
                )
            )
    return findings


def api_server_versions(gathered: Gathered) -> dict[str, Version | None]:
    """The API server's version on each control plane, by its image tag, as kubeadm itself reads it."""
    versions = {}
    for node, look in gathered.control_planes:
        for pod in look.static_pods:
            if pod.name == "kube-apiserver.yaml" and program_of(pod.image) == "kube-apiserver":
                versions[node] = _version(pod.image.partition("@")[0].rpartition(":")[2])
    return versions


def _version(text: str) -> Version | None:
    try:
        return Version.parse(text)
    except ValueError:
        return None
