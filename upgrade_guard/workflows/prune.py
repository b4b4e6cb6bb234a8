"""Removing what is no longer kept, as a run: every removal is a step on the record, decided before it began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from upgrade_guard.model.cluster import Node
from upgrade_guard.model.codec import from_json
from upgrade_guard.model.run import Event, State
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.copies import target
from upgrade_guard.tools.files import STAGED
from upgrade_guard.workflows.ungated import Ungated

PRUNE = "prune"
"""In the settings of the run: the removals, in their order."""
HERE = "here"


@dataclass(frozen=True)
class Removal:
    """One thing that goes. `place` is "here", the URL of a target, or a node's name; `name` a bundle, or a path there.

    `node` is set for data that a rollback moved aside on that node. `size` in bytes, 0 where it is not known.
    """

    place: str
    name: str
    size: int = 0
    node: Node | None = None


class PruneWorkflow(Ungated):
    """The removals that were decided when the run began; nothing is decided anew."""

    def __init__(self, site: Site, settings: Mapping[str, Any]) -> None:
        self.site = site
        self.removals = tuple(from_json(Removal, one) for one in settings[PRUNE])

    def ahead(self, state: State, _facts: Facts) -> tuple[Phase, ...]:
        """Everything, from its beginning."""
        if state is not State.STARTED:
            return ()
        steps = tuple(remove(self.site, number, one) for number, one in enumerate(self.removals, start=1))
        return (Phase("prune", "Remove what is no longer kept", steps, event=Event.VAULT_PRUNED),)


def remove(site: Site, number: int, removal: Removal) -> Step:
    """One removal. The name goes first, in one rename where the place can do that, and then what it stood for."""

    def holds() -> bool:
        if removal.node is not None:
            return site.on(removal.node).files.exists(removal.name)
        if removal.place == HERE:
            return site.vault.holds(removal.name)
        return target(site, removal.place).holds(removal.name)

    def probe(_: Facts) -> Seen:
        if holds():
            return NotDone(f"{removal.name} is still there")
        return Done({"place": removal.place, "name": removal.name, "size": removal.size})

    def act(_: Facts) -> None:
        if removal.node is not None:
            files = site.on(removal.node).files
            ours = removal.name.startswith((f"{files.work_dir}/", f"{files.work_dir}{STAGED}/"))
            (files.remove_own if ours else files.remove_aside)(removal.name)
        elif removal.place == HERE:
            site.vault.remove(removal.name)
        else:
            target(site, removal.place).remove(removal.name)

    where = "this machine" if removal.place == HERE else removal.place
    return Step(f"prune/{number}", f"remove {removal.name} from {where}", probe, act)
