"""`backup list`: the bundles in the vault and at the targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from upgrade_guard.cli.arguments import (
    Remote,
)
from upgrade_guard.cli.fast_commands import QuickCommand
from upgrade_guard.cli.invocation import Front
from upgrade_guard.runs import resources
from upgrade_guard.runs.preflight import must_have_targets

if TYPE_CHECKING:
    from rich.console import RenderableType

    from upgrade_guard.config import Config
    from upgrade_guard.runs.inventory import KnownBundles, StoragePlace
    from upgrade_guard.vault.bundle import Bundle


def register(commands: typer.Typer) -> None:
    """Add the command to the group."""
    commands.command("list", cls=QuickCommand)(list_)


def list_(context: typer.Context, *, remote: Remote = False) -> None:
    """List the bundles: when taken, proven or not, their copies, and what keeps them. Reads only."""
    from upgrade_guard.runs import inventory

    front = Front.of(context)
    config = front.settings().config
    with resources.reading(config) as journal:
        journaled = inventory.known(journal)
    places = [inventory.in_the_vault(config, journaled)]
    if remote:
        must_have_targets(config)
        with resources.looking(config) as site:
            places += [inventory.at_the_target(config, site, url, journaled) for url in config.vault.offsite]
    front.answer(
        {"places": [_place_answer(config, place, journaled) for place in places]},
        lambda: _shown(config, places, journaled),
    )


def _place_answer(config: Config, place: StoragePlace, journaled: KnownBundles) -> dict[str, Any]:
    from upgrade_guard.runs.inventory import HERE

    rows = []
    for verdict in place.verdicts:
        held, recorded = verdict.held, journaled.recorded.get(verdict.held.name)
        row: dict[str, Any] = {
            "name": held.name,
            "taken_at": held.taken_at,
            "size": held.size,
            "proven": held.proven,
            "recorded": held.recorded,
            "kept_because": verdict.kept_because,
        }
        if place.where == HERE:
            row |= _described(_bundle(config, held.name))
            row["proof"] = recorded.proof if recorded else None
            row["copies"] = recorded.copies if recorded else ()
        elif place.copies is not None:
            copy = place.copies[held.name]
            row |= {"cluster": copy.cluster, "run": copy.run_id, "revision": copy.revision, "encrypted": copy.encrypted}
        rows.append(row)
    return {"where": place.where, "bundles": rows, "problems": place.problems}


def _described(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "path": bundle.path,
        "cluster": manifest.cluster,
        "run": manifest.run_id,
        "revision": manifest.revision,
        "etcd_version": manifest.etcd_version,
        "kubernetes_version": manifest.kubernetes_version,
    }


def _bundle(config: Config, name: str) -> Bundle:
    from upgrade_guard.vault.bundle import Vault

    return Vault(config.vault.path).bundle(name)


def _shown(config: Config, places: list[StoragePlace], journaled: KnownBundles) -> RenderableType:
    from upgrade_guard.runs.inventory import HERE
    from upgrade_guard.ui import backups, vocabulary

    told = []
    for place in places:
        lines = []
        for verdict in place.verdicts:
            held, recorded = verdict.held, journaled.recorded.get(verdict.held.name)
            notes = []
            if place.where == HERE:
                manifest = _bundle(config, held.name).manifest
                notes.append(
                    f"cluster {manifest.cluster}, revision {manifest.revision}, Kubernetes "
                    f"{manifest.kubernetes_version}, etcd {manifest.etcd_version}"
                )
                copies = [copy.target for copy in recorded.copies if copy.read_back] if recorded else []
                notes.append("copies: " + (", ".join(copies) or "none on record"))
                if recorded and recorded.proof and recorded.proven:
                    notes.append(f"restored and started in {vocabulary.duration(recorded.proof.restore_seconds)}")
            elif place.copies is not None:
                copy = place.copies[held.name]
                notes.append(f"cluster {copy.cluster}, revision {copy.revision}{', encrypted' * copy.encrypted}")
            lines.append(
                backups.BundleLine(held.name, held.taken_at, held.size, held.proven, tuple(notes), verdict.kept_because)
            )
        title = f"Here, in {config.vault.path}" if place.where == HERE else place.where
        told.append(backups.place(title, lines, place.problems, resources.now()))
    return backups.together(told)
