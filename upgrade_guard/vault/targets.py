"""Where copies of bundles go: URLs, and what every kind of target can do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from upgrade_guard.hosts.base import Transcript
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.hosts.ssh import SshHost
from upgrade_guard.vault.addresses import Place, parse_place
from upgrade_guard.vault.bundle import Bundle
from upgrade_guard.vault.copied import Copied


class SshSettings(Protocol):
    """What `[ssh]` of the configuration says."""

    @property
    def identity_file(self) -> str:
        """A private key, or ""."""

    @property
    def options(self) -> Sequence[str]:
        """OpenSSH options, `Name=value`."""


class Target(Protocol):
    """One off-site target."""

    @property
    def url(self) -> str:
        """As it was configured."""

    def describe(self) -> str:
        """For people, in a few words."""

    def usable(self, size: int = 0) -> tuple[str, ...]:
        """What would stand in the way of a copy of `size` bytes, a sentence each. Changes nothing."""

    def copy(self, bundle: Bundle, progress: Callable[[str], None]) -> Copied:
        """Copy under a temporary name, sync, publish by rename; an equal copy is left alone. Raises StepFailed."""

    def read_back(self, bundle: Bundle) -> tuple[str, ...]:
        """Read every file again from the target and compare; a sentence per difference, empty when equal."""

    def off_control_plane(
        self,
        control_plane_addresses: Sequence[str],
        *,
        local_is_control_plane: bool,
        etcd_data_devices: Sequence[int] = (),
        separate_storage: Sequence[str | Path] = (),
    ) -> tuple[bool, str]:
        """Does a copy there survive the loss of every control-plane node? With the reason, for people.

        `etcd_data_devices` are the `st_dev` of this machine's etcd data directories, `separate_storage` the local
        paths of which an operator says that they survive the loss of this machine.
        """


def open_target(url: str, *, ssh: SshSettings, transcript: Transcript, control_dir: Path | None = None) -> Target:
    """The target that a URL names: `file:///path` or `ssh://[user@]host[:port]/path`. Raises UsageProblem.

    Without a user in the URL, OpenSSH chooses one: `[ssh] user` of the configuration is for nodes. With `control_dir`
    one connection is shared by all commands.
    """
    from upgrade_guard.vault.target_file import FileTarget
    from upgrade_guard.vault.target_ssh import SshTarget

    place = parse_place(url)
    if place.scheme == "file":
        return FileTarget(place)
    host = SshHost(
        place.host,
        _destination(place),
        tuple(ssh.options),
        str(ssh.identity_file) if ssh.identity_file else None,
        transcript,
        control_dir=control_dir,
    )
    return SshTarget(place, host, LocalHost("here", transcript))


def _destination(place: Place) -> str:
    who = f"{place.user}@" if place.user else ""
    if place.port is None:
        return f"{who}{place.host}"
    host = f"[{place.host}]" if ":" in place.host else place.host
    return f"ssh://{who}{host}:{place.port}"
