"""The step that puts a node's files back as they were captured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from upgrade_guard.model.cluster import Node
from upgrade_guard.model.step import Done, Facts, NotDone, Seen, Step
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.kubeadm import refuse_unfinished
from upgrade_guard.steps.snapshot import bundle_of
from upgrade_guard.vault import node_files
from upgrade_guard.vault.bundle import NodeFiles

Captured = Callable[[Facts], tuple[NodeFiles, Path]]
"""What was captured of a node: the listing and the local archive."""


def captured_in_bundle(site: Site, node: Node) -> Captured:
    """A control plane's files are in the bundle of the run."""

    def captured(facts: Facts) -> tuple[NodeFiles, Path]:
        bundle = bundle_of(site, facts)
        return bundle.manifest.node_files[node.name], bundle.node_archive(node.name)

    return captured


def files_back(
    site: Site,
    node: Node,
    name: str,
    captured: Captured,
    *,
    manifests: tuple[bool, ...],
    which: Callable[[str], bool] = node_files.every,
) -> Step:
    """The files that were `captured`, what was added since moved aside; nothing is done under kubeadm's hands.

    `manifests`: static pods (True) and everything else (False), in that order; manifests last, because kubelet acts on
    them. `which` says of a path whether it is meant.
    """
    tools = site.on(node)
    what = "manifests" if manifests == (True,) else "files"

    def probe(facts: Facts) -> Seen:
        listing = captured(facts)[0]
        chosen = manifests[0] if len(manifests) == 1 else None
        left = node_files.differences(tools.files, listing, manifests=chosen, which=which)
        if left:
            return NotDone(f"{len(left)} files of {node.name} differ, first {left[0].path} ({left[0].kind})")
        return Done()

    def act(facts: Facts) -> None:
        refuse_unfinished(tools)
        listing, archive = captured(facts)
        aside = f"{tools.settings.work_dir}/aside-{facts.run_id}"
        for one in manifests:
            node_files.put_back(tools.files, listing, archive, aside, manifests=one, which=which)

    return Step(name, f"put the {what} of {node.name} back", probe, act, changes_node=True, lane=node.name)


def bundled_files_back(
    site: Site, node: Node, *, manifests: bool, which: Callable[[str], bool] = node_files.every, name: str = ""
) -> Step:
    """The node's files as in the bundle of the run: its static pods (`manifests`), or everything else."""
    what = "manifests" if manifests else "files"
    step = name or f"rollback/{node.name}/{what}"
    return files_back(site, node, step, captured_in_bundle(site, node), manifests=(manifests,), which=which)
