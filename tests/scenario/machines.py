"""A lab whose nodes are reached over ssh, so that a machine can be lost."""

from __future__ import annotations

from dataclasses import dataclass

from scenario.stage import Going, Stage

from upgrade_guard.lab import power


@dataclass
class Machines:
    """The machines of a lab, each with a power switch where the lab was made `over_ssh`."""

    stage: Stage

    def start(self, *words: str) -> Going:
        """A command of the product, on a bastion."""
        return self.stage.start(*words, environment=self.stage.of_a_bastion)

    def off(self, name: str) -> None:
        power.off(self.stage.lab.directory, name)

    def on(self, name: str) -> None:
        power.on(self.stage.lab.directory, name)
