"""`backup verify`: is every bundle and copy still what was made?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from upgrade_guard.cli.arguments import (
    BundleName,
    Remote,
)
from upgrade_guard.cli.fast_commands import QuickCommand
from upgrade_guard.cli.invocation import Front
from upgrade_guard.errors import Refused, UsageProblem
from upgrade_guard.runs import resources
from upgrade_guard.runs.preflight import must_have_targets

if TYPE_CHECKING:
    from rich.console import RenderableType

    from upgrade_guard.config import Config
    from upgrade_guard.nodes.site import Site
    from upgrade_guard.runs.bundle_verification import Verification
    from upgrade_guard.runs.inventory import KnownBundles


def register(commands: typer.Typer) -> None:
    """Add the command to the group."""
    commands.command("verify", cls=QuickCommand)(verify)


def verify(
    context: typer.Context,
    bundle: BundleName = None,
    *,
    all_bundles: Annotated[bool, typer.Option("--all", help="Every bundle.")] = False,
    remote: Remote = False,
    quick: Annotated[bool, typer.Option("--quick", help="Only read the files; restore nothing.")] = False,
) -> None:
    """Restore a bundle into scratch again and compare; exit code 3 when a level fails.

    With --remote every copy is read back in full: one that vanished or was changed is found.
    """
    from upgrade_guard.runs import inventory

    front = Front.of(context)
    if (bundle is None) is not all_bundles:
        raise UsageProblem("name a bundle, or give --all", hint="upgrade-guard backup verify --all")
    config = front.settings().config
    with resources.reading(config) as journal:
        journaled = inventory.known(journal)
    with resources.looking(config) as site:
        found = list(_verified_here(front, site, bundle, journaled, quick=quick))
        if remote:
            must_have_targets(config)
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


def _verified_here(
    front: Front, site: Site, name: str | None, journaled: KnownBundles, *, quick: bool
) -> list[Verification]:
    from upgrade_guard.runs.bundle_verification import FILES, Verification, verify_here
    from upgrade_guard.runs.inventory import HERE, damage_of
    from upgrade_guard.vault.bundle import checked_name
    from upgrade_guard.vault.proof_types import Level

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
    front: Front, config: Config, site: Site, url: str, name: str | None, journaled: KnownBundles
) -> list[Verification]:
    """Every copy that is there, and every one that ought to be."""
    from upgrade_guard.runs.bundle_verification import FILES, TRIAL, Verification, verify_copy
    from upgrade_guard.runs.inventory import at_the_target, damage_of, wanted_at
    from upgrade_guard.steps.copies import target
    from upgrade_guard.vault.proof_types import Level

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
