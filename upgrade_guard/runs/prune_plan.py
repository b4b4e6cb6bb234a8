"""What a pruning would remove, and why everything else stays: decided before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from upgrade_guard.errors import GuardError
from upgrade_guard.model.codec import from_json
from upgrade_guard.model.run import OF_THE_CLUSTER, Kind
from upgrade_guard.model.step_results import StepName, known_cluster, left_on_node
from upgrade_guard.runs import inventory, resources
from upgrade_guard.steps.copies import target
from upgrade_guard.vault.bundle import Vault
from upgrade_guard.vault.retention import DAY
from upgrade_guard.workflows.prune import HERE, PRUNE, Removal

if TYPE_CHECKING:
    from upgrade_guard.config import Config
    from upgrade_guard.journal import Journal
    from upgrade_guard.model.run import Run
    from upgrade_guard.nodes.site import Site

_PRUNINGS = 20  # newest prunings that are looked at for removals that were cut short


@dataclass(frozen=True)
class Aside:
    """What a rollback or a restore left on a node: etcd data, and snapshots; `how`, in words.

    `goes`: it was asked for, and `why` is empty.
    """

    node: str
    path: str
    run_id: str
    since: datetime | None
    why: str
    how: str = "moved aside"

    @property
    def goes(self) -> bool:
        """Is it among the removals?"""
        return not self.why


@dataclass(frozen=True)
class Plan:
    """`kept` has place, name and every reason. `problems` are places that could not be looked at."""

    cluster: str
    removals: tuple[Removal, ...]
    kept: tuple[tuple[str, str, tuple[str, ...]], ...]
    aside: tuple[Aside, ...]
    problems: tuple[str, ...]


def decide(
    config: Config, site: Site, journal: Journal | None, *, here: bool, urls: tuple[str, ...], aside: bool
) -> Plan:
    """Look at the vault (`here`), at the targets `urls` and at what was moved aside; remove nothing."""
    journaled = inventory.known(journal)
    removals: list[Removal] = []
    kept: list[tuple[str, str, tuple[str, ...]]] = []
    problems: list[str] = []
    places = [inventory.in_the_vault(config, journaled)] if here else []
    places += [inventory.at_the_target(config, site, url, journaled) for url in urls]
    for place in places:
        for verdict in place.verdicts:
            if verdict.kept_because:
                kept.append((place.where, verdict.held.name, verdict.kept_because))
            else:
                removals.append(Removal(place.where, verdict.held.name, verdict.held.size))
        problems += place.problems
    listed = {(one.place, one.name) for one in removals} | {(place, name) for place, name, _ in kept}
    removals += [
        one for one in _cut_short(config, site, journal, here=here, urls=urls) if (one.place, one.name) not in listed
    ]
    found, data, unseen = _moved_aside(config, site, journal, asked=aside)
    problems += unseen
    cluster = next((run.cluster for run in journal.runs(kinds=tuple(Kind), limit=1)), "") if journal else ""
    return Plan(cluster, (*removals, *data), tuple(kept), found, tuple(problems))


def _cut_short(
    config: Config, site: Site, journal: Journal | None, *, here: bool, urls: tuple[str, ...]
) -> list[Removal]:
    """What processes left behind that died while they made, fetched or removed something."""
    if journal is None:
        return []
    found = []
    if here:
        open_runs = [run.id for run in journal.runs(kinds=tuple(Kind), outcome="", limit=None)]
        vault = Vault(config.vault.path)
        published = set(vault.names())
        found += [
            Removal(HERE, name)
            for name in vault.unfinished()
            if name not in published and not any(run_id in name for run_id in open_runs)
        ]
    for run in journal.runs(kinds=(Kind.PRUNE,), limit=_PRUNINGS):
        for one in _not_removed(journal, run):
            if one.place in urls and _holds(site, one):
                found.append(one)
    return list({(one.place, one.name): one for one in found}.values())


def _not_removed(journal: Journal, run: Run) -> list[Removal]:
    facts = journal.facts(run.id)
    planned = [from_json(Removal, one) for one in run.settings.get(PRUNE, ())]
    return [
        one
        for number, one in enumerate(planned, start=1)
        if one.node is None and facts.touched(f"prune/{number}") and not facts.has(f"prune/{number}")
    ]


def _holds(site: Site, removal: Removal) -> bool:
    try:
        return target(site, removal.place).holds(removal.name)
    except GuardError:
        return False  # the place itself is told as a problem


def _moved_aside(
    config: Config, site: Site, journal: Journal | None, *, asked: bool
) -> tuple[tuple[Aside, ...], list[Removal], list[str]]:
    """What a finished run moved aside or left on nodes, and is still there: data, files, snapshots, packages.

    A node that does not answer is a problem only when its data was `asked` for: nodes come and go.
    """
    found: list[Aside] = []
    removals: list[Removal] = []
    problems: list[str] = []
    listed: set[tuple[str, str]] = set()
    for run in journal.runs(kinds=OF_THE_CLUSTER, limit=None) if journal else ():
        if run.finished_at is None or journal is None:
            continue
        facts = journal.facts(run.id)
        cluster = known_cluster(facts)
        if cluster is None:
            continue
        nodes = {node.name: node for node in cluster.nodes}
        for step, result in facts.results.items():
            name = StepName.of(step)
            node = nodes.get(name.node)
            left = None if node is None else left_on_node(name, result, site.settings(node.name), run.id)
            if node is None or left is None or (node.name, left[0]) in listed:
                continue
            path, how = left
            listed.add((node.name, path))
            try:
                if not site.on(node).files.exists(path):
                    continue
            except GuardError as problem:
                problems += [f"{node.name} cannot be looked at: {problem.message}"] if asked else []
                continue
            age = (resources.now() - run.finished_at).total_seconds()
            why = ""
            if not asked:
                why = "kept until it is asked for: --aside"
            elif age < config.vault.keep_days * DAY:
                why = f"younger than {config.vault.keep_days} days"
            found.append(Aside(node.name, path, run.id, run.finished_at, why, how))
            if not why:
                removals.append(Removal(node.name, path, node=node))
    return tuple(found), removals, problems
