"""The commands that look at backups: list, verify."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upgrade_guard.cli import wiring
from upgrade_guard.cli.front import Front
from upgrade_guard.cli.quick import QuickCommand
from upgrade_guard.errors import Refused, UsageProblem

if TYPE_CHECKING:
    from rich.console import RenderableType

    from upgrade_guard.cli.stock import Known, Place
    from upgrade_guard.config import Config
    from upgrade_guard.phases.site import Site
    from upgrade_guard.phases.verification import Verification
    from upgrade_guard.vault.bundle import Bundle

Remote = Annotated[bool, typer.Option("--remote", help="Look at the off-site targets too.")]
Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        help="The bundle's name.",
        show_default=False,
    ),
]


def register(commands: typer.Typer) -> None:
    """Add the commands to the group."""
    commands.command("list", cls=QuickCommand)(list_)
    commands.command("verify", cls=QuickCommand)(verify)


def list_(context: typer.Context, *, remote: Remote = False) -> None:
    """List the bundles: when taken, proven or not, their copies, and what keeps them. Reads only."""
    from upgrade_guard.cli import stock

    front = Front.of(context)
    config = front.settings().config
    with wiring.reading(config) as journal:
        journaled = stock.known(journal)
    places = [stock.in_the_vault(config, journaled)]
    if remote:
        _must_have_targets(config)
        with wiring.looking(config) as site:
            places += [stock.at_the_target(config, site, url, journaled) for url in config.vault.offsite]
    front.answer(
        {"places": [_place_answer(config, place, journaled) for place in places]},
        lambda: _shown(config, places, journaled),
    )


def _place_answer(config: Config, place: Place, journaled: Known) -> dict[str, Any]:
    from upgrade_guard.cli.stock import HERE

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


def _shown(config: Config, places: list[Place], journaled: Known) -> RenderableType:
    from upgrade_guard.cli.stock import HERE
    from upgrade_guard.ui import backups, words

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
                    notes.append(f"restored and started in {words.duration(recorded.proof.restore_seconds)}")
            elif place.copies is not None:
                copy = place.copies[held.name]
                notes.append(f"cluster {copy.cluster}, revision {copy.revision}{', encrypted' * copy.encrypted}")
            lines.append(
                backups.BundleLine(held.name, held.taken_at, held.size, held.proven, tuple(notes), verdict.kept_because)
            )
        title = f"Here, in {config.vault.path}" if place.where == HERE else place.where
        told.append(backups.place(title, lines, place.problems, wiring.now()))
    return backups.together(told)


def verify(
    context: typer.Context,
    bundle: Name = None,
    *,
    all_bundles: Annotated[bool, typer.Option("--all", help="Every bundle.")] = False,
    remote: Remote = False,
    quick: Annotated[bool, typer.Option("--quick", help="Only read the files; restore nothing.")] = False,
) -> None:
    """Restore a bundle into scratch again and compare; exit code 3 when a level fails.

    With --remote every copy is read back in full: one that vanished or was changed is found.
    """
    from upgrade_guard.cli import stock

    front = Front.of(context)
    if (bundle is None) is not all_bundles:
        raise UsageProblem("name a bundle, or give --all", hint="upgrade-guard backup verify --all")
    config = front.settings().config
    with wiring.reading(config) as journal:
        journaled = stock.known(journal)
    with wiring.looking(config) as site:
        found = list(_verified_here(front, site, bundle, journaled, quick=quick))
        if remote:
            _must_have_targets(config)
            for url in config.vault.offsite:
                found += _verified_there(front, config, site, url, bundle, journaled)
    if not found:
        raise Refused(
            f"there is no bundle {bundle} in {config.vault.path}" if bundle else f"no bundle is in {config.vault.path}",
            hint="upgrade-guard backup list --remote" if config.vault.offsite else "upgrade-guard backup create",
        )
    front.answer(
        [{"bundle": one.bundle, "where": one.where, "ok": one.ok, "levels": one.levels} for one in found],
        lambda: _verdicts(found),
    )
    bad = [one for one in found if not one.ok]
    if bad:
        raise Refused(
            f"{len(bad)} of {len(found)} are not good",
            reasons=tuple(f"{one.bundle} ({one.where}): {one.problem}" for one in bad),
            hint="make a new backup now: upgrade-guard backup create",
        )


def _verified_here(front: Front, site: Site, name: str | None, journaled: Known, *, quick: bool) -> list[Verification]:
    from upgrade_guard.cli.stock import HERE, damage_of
    from upgrade_guard.phases.verification import FILES, Verification, verify_here
    from upgrade_guard.vault.bundle import checked_name
    from upgrade_guard.vault.proven import Level

    wanted = None if name is None else checked_name(name)
    found = []
    for one in site.vault.names():
        if wanted not in (None, one):
            continue
        front.screen.tell(f"{one}: reading every file")
        try:
            bundle = site.vault.bundle(one)
        except Refused as refused:
            found.append(Verification(one, HERE, (Level(FILES, ok=False, seconds=0.0, message=refused.message),)))
            continue
        damage = damage_of(bundle, journaled)
        found.append(verify_here(site, bundle, damage, quick=quick, progress=_teller(front, one)))
    return found


def _verified_there(
    front: Front, config: Config, site: Site, url: str, name: str | None, journaled: Known
) -> list[Verification]:
    """Every copy that is there, and every one that ought to be."""
    from upgrade_guard.cli.stock import at_the_target, damage_of, wanted_at
    from upgrade_guard.phases.copies import target
    from upgrade_guard.phases.verification import FILES, TRIAL, Verification, verify_copy
    from upgrade_guard.vault.proven import Level

    place = at_the_target(config, site, url, journaled)
    if place.copies is None:
        return [
            Verification(name or "every copy", url, (Level(TRIAL, ok=False, seconds=0.0, message=place.problems[0]),))
        ]
    local = {bundle.name: bundle for bundle in site.vault.bundles()}
    names = dict.fromkeys((*place.copies, *wanted_at(config, url, journaled)))
    there = target(site, url)
    found = []
    for one in names:
        if name in (None, one):
            front.screen.tell(f"{one}: reading the copy at {url}")
            known_here = local[one] if one in local and not damage_of(local[one], journaled) else None
            found.append(verify_copy(url, one, partial(there.check, one, site.vault, known_here)))
    found += [
        Verification("a copy", url, (Level(FILES, ok=False, seconds=0.0, message=problem),))
        for problem in place.problems
        if name is None or name in problem
    ]
    return found


def _teller(front: Front, name: str) -> Callable[[str], None]:
    return lambda text: front.screen.tell(f"{name}: {text}")


def _verdicts(found: list[Verification]) -> RenderableType:
    from upgrade_guard.ui import backups

    return backups.verified(
        [
            backups.VerifiedLine(
                one.bundle,
                one.where,
                tuple((level.name, level.ok, level.seconds) for level in one.levels),
                one.problem,
            )
            for one in found
        ]
    )


def _must_have_targets(config: Config) -> None:
    if not config.vault.offsite:
        raise UsageProblem("no off-site target is configured (vault.offsite)", hint="upgrade-guard config show")
