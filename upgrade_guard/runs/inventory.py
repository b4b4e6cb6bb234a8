"""What is kept where: the vault and the targets, held against the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upgrade_guard.errors import GuardError
from upgrade_guard.model.run import Kind, Recorded
from upgrade_guard.runs import resources
from upgrade_guard.steps.copies import target
from upgrade_guard.vault.bundle import Bundle, Vault, examine
from upgrade_guard.vault.retention import Held, Verdict, retained

if TYPE_CHECKING:
    from upgrade_guard.config import Config
    from upgrade_guard.journal import Journal
    from upgrade_guard.nodes.site import Site
    from upgrade_guard.vault.copy_info import StoredCopy

HERE = "here"
Damage = Callable[[str], tuple[str, ...]]


@dataclass(frozen=True)
class KnownBundles:
    """What the journal says of bundles, by name: what is on record, and which of them open runs need, with why.

    `removed` are the names that were removed by a pruning, by place.
    """

    recorded: Mapping[str, Recorded]
    needed: Mapping[str, str]
    removed: Mapping[str, frozenset[str]]

    def proven(self, name: str, manifest_sha256: str) -> bool:
        """Is it exactly the bundle that was recorded, and proven?"""
        found = self.recorded.get(name)
        return found is not None and found.proven and found.snapshot.manifest_sha256 == manifest_sha256

    def knows(self, name: str, manifest_sha256: str) -> bool:
        """Is it exactly the bundle that was recorded?"""
        found = self.recorded.get(name)
        return found is not None and found.snapshot.manifest_sha256 == manifest_sha256


@dataclass(frozen=True)
class StoragePlace:
    """One place and what is in it, newest first. `problems` are sentences about what cannot be read there."""

    where: str
    verdicts: tuple[Verdict, ...] = ()
    problems: tuple[str, ...] = ()
    copies: Mapping[str, StoredCopy] | None = None


def known(journal: Journal | None) -> KnownBundles:
    """Ask the journal; nothing is known where there is none."""
    if journal is None:
        return KnownBundles({}, {}, {})
    recorded = {one.snapshot.bundle: one for one in journal.recorded()}
    return KnownBundles(recorded, _needed(journal), _removed(journal))


def _needed(journal: Journal) -> dict[str, str]:
    needed: dict[str, str] = {}
    for outcome, standing in (("", "is open"), ("rollback-failed", "stopped half-way")):
        for run in journal.runs(kinds=tuple(Kind), outcome=outcome, limit=None):
            of = {run.target.rpartition("/")[2], *(snapshot.bundle for snapshot in journal.snapshots(run.id))}
            needed |= {name: f"{run.kind.value} {run.id} {standing} and needs it" for name in of if name}
    return needed


def _removed(journal: Journal) -> dict[str, frozenset[str]]:
    removed: dict[str, set[str]] = {}
    for run in journal.runs(kinds=(Kind.PRUNE,), limit=None):
        for result in journal.facts(run.id).results.values():
            if "place" in result and "name" in result:
                removed.setdefault(result["place"], set()).add(result["name"])
    return {place: frozenset(names) for place, names in removed.items()}


def in_the_vault(config: Config, journaled: KnownBundles) -> StoragePlace:
    """The bundles on this machine, judged by the rules of retention."""
    vault = Vault(config.vault.path)
    bundles = {bundle.name: bundle for bundle in vault.bundles()}
    held = [_held(bundle, journaled) for bundle in bundles.values()]

    def damage(name: str) -> tuple[str, ...]:
        return damage_of(bundles[name], journaled)

    return StoragePlace(HERE, _judged(config, journaled, held, damage), vault.unreadable())


def damage_of(bundle: Bundle, journaled: KnownBundles) -> tuple[str, ...]:
    """What is wrong with a bundle: its files against its manifest, and the manifest against the journal."""
    recorded = journaled.recorded.get(bundle.name)
    if recorded is not None and recorded.snapshot.manifest_sha256 != bundle.manifest_sha256:
        return (f"{bundle.name}: manifest.json is not the one that was published", *examine(bundle))
    return examine(bundle)


def at_the_target(config: Config, site: Site, url: str, journaled: KnownBundles) -> StoragePlace:
    """The copies at one target, judged alike. One that does not answer is a problem and no copies."""
    there = target(site, url)
    try:
        listing = there.listing()
    except GuardError as problem:
        return StoragePlace(url, problems=(f"{url} cannot be looked at: {problem.message}",))
    held = [
        Held(
            copy.name,
            copy.taken_at,
            copy.size,
            proven=journaled.proven(copy.name, copy.manifest_sha256),
            recorded=journaled.knows(copy.name, copy.manifest_sha256),
        )
        for copy in listing.copies
    ]
    verdicts = _judged(config, journaled, held, lambda name: there.check(name, site.vault))
    return StoragePlace(url, verdicts, listing.problems, {copy.name: copy for copy in listing.copies})


def wanted_at(config: Config, url: str, journaled: KnownBundles) -> tuple[str, ...]:
    """Names of the copies that must be there: what was copied, is still to be kept, and was not pruned."""
    held = [
        Held(name, one.snapshot.taken_at, one.snapshot.size, proven=one.proven)
        for name, one in journaled.recorded.items()
        if any(copy.target == url and copy.read_back for copy in one.copies)
        and name not in journaled.removed.get(url, ())
    ]
    return tuple(one.held.name for one in _judged(config, journaled, held, lambda _: ()) if one.kept_because)


def _held(bundle: Bundle, journaled: KnownBundles) -> Held:
    return Held(
        bundle.name,
        bundle.manifest.taken_at,
        bundle.size,
        proven=journaled.proven(bundle.name, bundle.manifest_sha256),
        recorded=journaled.knows(bundle.name, bundle.manifest_sha256),
    )


def _judged(config: Config, journaled: KnownBundles, held: list[Held], damage: Damage) -> tuple[Verdict, ...]:
    return retained(
        held,
        now=resources.now(),
        keep_days=config.vault.keep_days,
        keep_last=config.vault.keep_last,
        needed=journaled.needed,
        damage=damage,
    )


def published_manifest(journal: Journal, bundle: Bundle) -> str:
    """The SHA-256 of the manifest with which the bundle was published; "" where this journal did not see that.

    By its name, not by the run that its manifest names: that is what somebody who exchanges it would change. A restore
    has written down what it was given, which says nothing of who published it.
    """
    for one in reversed(journal.recorded()):
        if one.snapshot.bundle == bundle.name and journal.run(one.run_id).kind is not Kind.RESTORE:
            return one.snapshot.manifest_sha256
    return ""
