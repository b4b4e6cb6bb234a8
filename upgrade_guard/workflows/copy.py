"""One more copy of a bundle that is in the vault, as a run: the cluster is not asked and need not be there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.codec import from_json
from upgrade_guard.model.run import Event, State
from upgrade_guard.model.step import Facts, Phase, Step
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.copies import copy, off_control_plane
from upgrade_guard.workflows.ungated import Ungated

CLUSTER = "bundle_cluster"
"""In the settings of the run: the cluster as it was when the bundle was made; missing where nobody knows."""


class CopyWorkflow(Ungated):
    """The bundle `name`, to every off-site target of the run's own settings."""

    def __init__(self, site: Site, name: str, settings: Mapping[str, Any]) -> None:
        self.site = site
        self.name = name
        self.cluster = from_json(Cluster, settings[CLUSTER]) if CLUSTER in settings else None

    def ahead(self, state: State, _facts: Facts) -> tuple[Phase, ...]:
        """Everything, from its beginning."""
        if state is not State.STARTED:
            return ()
        urls = self.site.config.vault.offsite
        steps = tuple(self._copy(number, url) for number, url in enumerate(urls, start=1))
        return (Phase("copy", "Copies", steps, event=Event.COPIES_READ_BACK),)

    def _copy(self, number: int, url: str) -> Step:
        return copy(
            self.site,
            number,
            url,
            bundle=lambda _: self.site.vault.bundle(self.name),
            off_site=lambda: self._off_site(url),
            must_be_off_site=False,
            may_fail=False,
        )

    def _off_site(self, url: str) -> tuple[bool, str]:
        if self.cluster is None:
            return False, "which machines were control planes when it was made is not on record"
        return off_control_plane(self.site, self.cluster, url)
