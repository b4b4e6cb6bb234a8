"""The bundle that a restore is about: found here or brought from a target; and the cluster as it describes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from upgrade_guard.errors import Refused, UnexpectedOutput, UsageProblem
from upgrade_guard.model.cluster import COMPONENTS, Cluster, Node
from upgrade_guard.model.codec import to_json
from upgrade_guard.model.etcd import EtcdManifest
from upgrade_guard.model.run import SnapshotRecord
from upgrade_guard.model.step import Done, Facts, NotDone, Seen, Step
from upgrade_guard.model.step_results import CLUSTER, GIVEN_BUNDLE
from upgrade_guard.nodes.site import Site, etcd_of
from upgrade_guard.steps.copies import target
from upgrade_guard.steps.inspect import node_records
from upgrade_guard.steps.packages import installed_version
from upgrade_guard.steps.snapshot import bundle_of
from upgrade_guard.steps.step_helpers import observation
from upgrade_guard.tools.api_server import own_url
from upgrade_guard.tools.etcd_manifest import parse_etcd_manifest
from upgrade_guard.tools.static_pod import image_of
from upgrade_guard.vault.bundle import SNAPSHOT, Bundle, NodeFiles, checked_name, examine
from upgrade_guard.vault.node_files import read_one

Recorded = Callable[[Bundle], str]
"""The SHA-256 that the journal has for the manifest of a bundle; "" when this journal does not know it."""


@dataclass(frozen=True)
class WantedBundle:
    """Which bundle: its name, and the URL of the target that has it ("" for the vault on this machine)."""

    name: str
    source: str = ""

    @property
    def text(self) -> str:
        """The way it is written down: `wanted` reads it back."""
        return f"{self.source}/{self.name}" if self.source else self.name


def wanted(text: str, vault: Path) -> WantedBundle:
    """A bundle's name, the path of its directory, or a target's URL with the name behind it. Raises UsageProblem."""
    source, slash, name = text.rstrip("/").rpartition("/")
    if not slash:
        return WantedBundle(checked_name(name))
    if "://" not in text:
        directory = Path(text).expanduser().absolute()
        if not (directory / "manifest.json").is_file():
            raise UsageProblem(
                f"{directory} is not the directory of a bundle: there is no manifest.json in it",
                hint="upgrade-guard restore NAME, PATH/NAME or URL/NAME; upgrade-guard backup list shows the names",
            )
        if directory.parent == vault.absolute():
            return WantedBundle(checked_name(directory.name))
        source = f"file://{quote(str(directory.parent))}"
        name = directory.name
    elif not urlsplit(source).path.strip("/") and not urlsplit(source).netloc:
        raise UsageProblem(f"{text} names no target", hint="upgrade-guard restore ssh://backup@HOST/srv/etcd/NAME")
    return WantedBundle(checked_name(name), source)


def find_bundle(site: Site, what: WantedBundle, recorded: Recorded) -> Step:
    """It is in the vault of this machine, whole, and the one that was published. From a target it is brought first.

    A bundle of that name that is here, and that the journal does not know, is compared with the target's: it was named.
    """
    brought: list[str] = []  # by this process

    def vouched_for(bundle: Bundle, facts: Facts) -> bool:
        """Does the journal, or the target that was asked a moment ago, say that it is this one?"""
        digests = [recorded(bundle), *brought]
        if facts.has(GIVEN_BUNDLE):
            digests.append(facts.of(GIVEN_BUNDLE).get("manifest_sha256", ""))
        return not what.source or bundle.manifest_sha256 in digests

    def probe(facts: Facts) -> Seen:
        try:
            bundle = site.vault.bundle(what.name)
        except Refused as problem:
            if what.source:
                return NotDone(f"{what.name} is not here yet")
            problem.reasons = (*problem.reasons, *_other_places(site, what.name))
            raise
        if not vouched_for(bundle, facts):
            return NotDone(f"{what.name} is here and was not compared with {what.source} yet")
        if problems := (*examine(bundle), *_exchanged(bundle, recorded)):
            raise Refused(
                f"the bundle {bundle.name} cannot be used; nothing was touched",
                hint=f"move it away and name a copy: mv {bundle.path} {bundle.path}.damaged; "
                f"upgrade-guard restore {_copy_of(site, what)}",
                reasons=problems,
            )
        return Done(_described(bundle), records=(_record(bundle),))

    def act(_: Facts) -> None:
        progress = lambda text: site.transcript.output("here", f"fetch: {text}\n")  # noqa: E731 - one expression
        brought.append(target(site, what.source).fetch(what.name, site.vault, progress).manifest_sha256)

    return Step(GIVEN_BUNDLE, f"read the bundle {what.name}", probe, act, lasting=False)


def see_cluster(site: Site) -> Step:
    """The cluster as the bundle describes it: the API that could be asked is down, or must not be believed."""

    def look(facts: Facts) -> Seen:
        found = cluster_of(site, bundle_of(site, facts))
        return Done(to_json(found), records=node_records(site, found))

    return observation(CLUSTER, "read the cluster out of the bundle", look)


def cluster_of(site: Site, bundle: Bundle) -> Cluster:
    """Its control planes, the one that the configuration names first. Raises Refused where it lacks files of them."""
    manifest = bundle.manifest
    nodes = tuple(_node(bundle, listing) for listing in manifest.node_files.values())
    members = {member.name for member in manifest.members}
    if lacking := sorted(members - {etcd_of(node).name for node in nodes}):
        raise Refused(
            f"the bundle {bundle.name} has no files of {', '.join(lacking)}; nothing was touched",
            hint="name another bundle: upgrade-guard backup list",
            reasons=tuple(
                f"{name} is a member of etcd in the snapshot, and its node files are missing." for name in lacking
            ),
        )
    entrance = [node for node in nodes if site.is_entrance(node)]
    if not entrance:
        where = site.config.cluster.node or site.config.cluster.control_plane
        names = ", ".join(node.name for node in nodes) or "no control plane"
        raise Refused(
            f"the bundle {bundle.name} has no files of the control plane that the configuration names ({where}); "
            "nothing was touched",
            hint='name the node in the configuration, [cluster] node = "NAME", or another bundle: '
            "upgrade-guard backup list",
            reasons=(f"It has the files of {names}.",),
        )
    return Cluster(
        name=manifest.cluster,
        version=manifest.kubernetes_version,
        nodes=tuple(sorted(nodes, key=lambda node: (node not in entrance, node.name))),
        etcd_cluster_id=manifest.cluster_id,
        etcd_version=manifest.etcd_version,
        etcd_db_size=manifest.files[SNAPSHOT].size,
    )


def _node(bundle: Bundle, listing: NodeFiles) -> Node:
    images = {}
    for component in COMPONENTS:
        text = _manifest_text(bundle, listing, component)
        if text is not None:
            images[component] = image_of(text, component)
    etcd = _etcd(bundle, listing)
    version = installed_version(listing.packages.get("kubelet", ""))
    internal_ip = urlsplit(etcd.initial_advertise_peer_urls.partition(",")[0]).hostname or ""
    return Node(
        name=listing.node,
        role="control-plane",
        internal_ip=internal_ip,
        kubelet_version=str(version) if version else bundle.manifest.kubernetes_version,
        packages=dict(listing.packages),
        holds=listing.holds,
        etcd=etcd,
        manifests=images,
        api_server=own_url(_manifest_text(bundle, listing, "kube-apiserver") or "", internal_ip),
    )


def _etcd(bundle: Bundle, listing: NodeFiles) -> EtcdManifest:
    text = _manifest_text(bundle, listing, "etcd")
    try:
        if text is None:
            raise UnexpectedOutput("there is no etcd.yaml among its manifests")
        return parse_etcd_manifest(text)
    except UnexpectedOutput as problem:
        raise Refused(
            f"the bundle {bundle.name} does not say how etcd runs on {listing.node}: {problem.message}; "
            "nothing was touched",
            hint="name another bundle: upgrade-guard backup list",
        ) from problem


def _manifest_text(bundle: Bundle, listing: NodeFiles, component: str) -> str | None:
    content = read_one(bundle.node_archive(listing.node), f"{listing.manifests_dir}/{component}.yaml")
    return None if content is None else content.decode(errors="replace")


def _exchanged(bundle: Bundle, recorded: Recorded) -> tuple[str, ...]:
    """Whoever can change the files can change the manifest with them; the journal knows which one was published."""
    known = recorded(bundle)
    if known and known != bundle.manifest_sha256:
        return (f"{bundle.name}: manifest.json is not the one that was published",)
    return ()


def _other_places(site: Site, name: str) -> tuple[str, ...]:
    return tuple(
        f"It may be at {url}: upgrade-guard restore {url.rstrip('/')}/{name}" for url in site.config.vault.offsite
    )


def _copy_of(site: Site, what: WantedBundle) -> str:
    if what.source:
        return what.text
    return (
        f"{site.config.vault.offsite[0].rstrip('/')}/{what.name}" if site.config.vault.offsite else f"URL/{what.name}"
    )


def _described(bundle: Bundle) -> dict[str, object]:
    return {
        "bundle": bundle.name,
        "path": str(bundle.path),
        "size": bundle.size,
        "revision": bundle.manifest.revision,
        "manifest_sha256": bundle.manifest_sha256,
        "taken_at": bundle.manifest.taken_at.isoformat(),
    }


def _record(bundle: Bundle) -> SnapshotRecord:
    return SnapshotRecord(
        bundle=bundle.name,
        path=str(bundle.path),
        snapshot_sha256=bundle.snapshot_sha256,
        manifest_sha256=bundle.manifest_sha256,
        size=bundle.manifest.files[SNAPSHOT].size,
        revision=bundle.manifest.revision,
        cluster_id=bundle.manifest.cluster_id,
        taken_at=bundle.manifest.taken_at,
    )
