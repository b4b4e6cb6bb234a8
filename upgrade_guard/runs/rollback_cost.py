"""What going back would cost now: one source for the card, `status`, `rollback` and `abort`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from upgrade_guard.errors import GuardError
from upgrade_guard.model.step_results import CLUSTER

if TYPE_CHECKING:
    from upgrade_guard.journal import Journal
    from upgrade_guard.nodes.site import Site
    from upgrade_guard.runs.preview import GoingBack


def going_back(site: Site, journal: Journal, run_id: str, *, ask: bool = True) -> GoingBack:
    """By the record, and with `ask` by the cluster; before anything can have changed it is not asked in any case."""
    from upgrade_guard.model.cluster import Cluster
    from upgrade_guard.model.codec import from_json
    from upgrade_guard.runs.preview import going_back as cost

    facts = journal.facts(run_id)
    known = from_json(Cluster, facts.of(CLUSTER)) if facts.has(CLUSTER) else None
    return cost(site, journal.run(run_id).state, facts, known, ask=ask)


class CostShown:
    """The same in words for a display, which must not hold an upgrade up: the cluster is asked before a phase, and
    before a step only the record is, for what has become true since.
    """

    def __init__(self, site: Callable[[], Site], journal: Journal, run_id: str) -> None:
        self._site = site
        self._journal = journal
        self._run_id = run_id
        self._last: GoingBack | None = None

    def asked(self) -> str:
        """By the record and the cluster. One that does not answer costs it nothing but the number."""
        return self._text(ask=True)

    def on_record(self) -> str:
        """By the record; what the cluster said last stays while it is still true."""
        return self._text(ask=False)

    def _text(self, *, ask: bool) -> str:
        try:
            found = going_back(self._site(), self._journal, self._run_id, ask=ask)
        except GuardError as problem:
            return f"not known: {problem.message}"
        if ask or self._last is None or found.changed is not self._last.changed:
            self._last = found
        return self._last.text
