"""What a run keeps from its beginning, so that a changed configuration cannot move its evidence away under it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from upgrade_guard.config import Config
from upgrade_guard.model.plain import plain
from upgrade_guard.model.run import Run


def freeze(config: Config) -> dict[str, Any]:
    """The JSON that the journal keeps with a run: policy values, no credentials."""
    frozen: dict[str, Any] = plain(
        {"cluster": config.cluster, "vault": config.vault, "upgrade": config.upgrade, "rollback": config.rollback}
    )
    return frozen


def kept(config: Config, run: Run) -> Config:
    """Today's configuration with the run's own vault, off-site targets and gate limits.

    The rest (addresses, timeouts, answers to failures) is taken from today's file: an operator may correct it.
    """
    vault: Mapping[str, Any] = run.settings.get("vault", {})
    return replace(
        config,
        vault=replace(
            config.vault,
            path=Path(vault.get("path", config.vault.path)),
            offsite=tuple(vault.get("offsite", config.vault.offsite)),
            offsite_required=run.offsite_required,
        ),
        upgrade=replace(config.upgrade, snapshot_max_age=run.snapshot_max_age),
    )
