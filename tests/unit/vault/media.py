"""Targets of every kind for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.hosts.transcript import SilentTranscript
from upgrade_guard.vault.addresses import parse_place
from upgrade_guard.vault.manifest import NodeFiles
from upgrade_guard.vault.medium_ssh import SshMedium
from upgrade_guard.vault.targets import Keys, Target, open_target

LISTING = NodeFiles("cp1", "files-cp1.tar.gz", "/etc/kubernetes/manifests", ())

CLEAR = Keys(unencrypted_allowed=True)


@dataclass
class Ssh:
    identity_file: str = ""
    options: Sequence[str] = field(default_factory=tuple)


def file_target(path: Path) -> Target:
    return open_target(f"file://{quote(str(path))}", ssh=Ssh(), transcript=SilentTranscript(), keys=CLEAR)


def ssh_target(path: Path) -> Target:
    """The other machine is this one: the same commands, without ssh around them."""
    return Target(
        SshMedium(parse_place(f"ssh://backup@nas{quote(str(path))}"), LocalHost("nas"), LocalHost("here")), CLEAR
    )


KINDS: dict[str, Callable[[Path], Target]] = {"file": file_target, "ssh": ssh_target}


def quiet(_: str) -> None:
    pass
