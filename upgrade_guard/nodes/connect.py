"""How a node is reached: here, or over the operator's own ssh."""

from __future__ import annotations

from collections.abc import Callable

from upgrade_guard.config import Config
from upgrade_guard.hosts.base import Host, Transcript
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.hosts.ssh import SshHost
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.nodes.etcd_programs import own_directory
from upgrade_guard.tools.own_directory import OwnDirectoryHost

LOCAL = "local"

Reach = Callable[[str, NodeSettings], Host]
"""From a node's name and settings, with its address filled in, to its host."""


def reach_by(config: Config, transcript: Transcript) -> Reach:
    """Over ssh as `[ssh]` says, or on this machine where the address is "local".

    Nothing in the work directory of a node is read, run or written while it may be somebody else's.
    """

    def reach(name: str, settings: NodeSettings) -> Host:
        return OwnDirectoryHost(connect(name, settings), settings.work_dir)

    def connect(name: str, settings: NodeSettings) -> Host:
        spool = config.state_dir / "spool"
        if settings.address == LOCAL:
            return LocalHost(name, transcript, path=settings.path, spool_dir=spool)
        address, ssh = settings.address, config.ssh
        return SshHost(
            name,
            address if "@" in address or not ssh.user else f"{ssh.user}@{address}",
            ssh.options,
            ssh.identity_file or None,
            transcript,
            path=settings.path,
            control_dir=own_directory(config.state_dir) / "ssh",
            spool_dir=spool,
        )

    return reach


def host_part(address: str) -> str:
    """The host of `user@host` or `host`."""
    return address.rpartition("@")[2]
