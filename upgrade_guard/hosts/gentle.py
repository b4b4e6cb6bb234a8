"""Commands that may wait: what is heavy and in no hurry leaves processor and disk to the etcd that serves."""

from __future__ import annotations

from dataclasses import replace

from upgrade_guard.hosts.base import Host
from upgrade_guard.model.command import Command, Result

GENTLY = ("nice", "-n", "19", "ionice", "-c", "3")
"""Lowest priority for the processor, and the disk only when nobody else wants it (nice(1), ionice(1))."""


class GentleHost:
    """The same host, whose commands all run with the lowest priority."""

    def __init__(self, host: Host) -> None:
        self._host = host

    @property
    def name(self) -> str:
        """That of the host."""
        return self._host.name

    def run(self, command: Command) -> Result:
        """As the host runs it, gently."""
        return self._host.run(replace(command, argv=(*GENTLY, *command.argv)))
