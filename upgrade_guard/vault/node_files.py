"""The files that a rollback puts back beside etcd: captured, compared, put back (DOMAIN: kubeadm leaves them new)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from upgrade_guard.model.cluster import Node
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.vault.manifest import NodeFile, NodeFiles

if TYPE_CHECKING:
    from upgrade_guard.tools.files import Files

__all__ = ["Difference", "NodeFile", "NodeFiles", "PutBack", "capture", "differences", "put_back"]


@dataclass(frozen=True)
class Difference:
    """One path that is not as it was. `kind`: "missing", "added", "changed" (content) or "attributes" (mode, owner)."""

    path: str
    kind: str


@dataclass(frozen=True)
class PutBack:
    """What was done: `moved_aside` maps each path to where it is now, `restored` are the paths extracted."""

    moved_aside: dict[str, str]
    restored: tuple[str, ...]


def capture(files: Files, node: Node, settings: NodeSettings, local: Path) -> NodeFiles:
    """Pack what the upgrade can change on a node into the local archive `local`, and list it."""
    raise NotImplementedError


def differences(files: Files, listing: NodeFiles, *, manifests: bool | None = None) -> tuple[Difference, ...]:
    """What is not as it was captured. `manifests`: only static pods (True), everything else (False), both (None)."""
    raise NotImplementedError


def put_back(files: Files, listing: NodeFiles, local: Path, aside_dir: str, *, manifests: bool) -> PutBack:
    """Make a node's files as they were captured: static pods only (`manifests=True`), or everything but them.

    Nothing is deleted: what was added or changed is moved beneath `aside_dir` on the node. Acting twice is harmless.
    Raises Refused, before anything is touched, for an archive that is not the one that was captured.
    """
    raise NotImplementedError
