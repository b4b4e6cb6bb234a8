"""A lab whose nodes are reached over ssh, so that a machine can be lost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from scenario.stage import Going, Stage

from upgrade_guard.lab import power


@dataclass
class Machines:
    """The machines of a lab, each with a power switch where the lab was made `over_ssh`."""

    stage: Stage

    @property
    def environment(self) -> Mapping[str, str]:
        there = self.stage.lab.ssh_directory
        return {"PATH": f"{there}:{os.environ['PATH']}"} if there else {}

    def start(self, *words: str) -> Going:
        """A command of the product, on a bastion."""
        return self.stage.start(*words, environment=self.environment)

    def off(self, name: str) -> None:
        power.off(self.stage.lab.directory, name)

    def on(self, name: str) -> None:
        power.on(self.stage.lab.directory, name)
