"""The files that a rollback puts back beside etcd: captured, compared, put back.

kubeadm itself leaves them new after a failed upgrade: renewed certificates, kubeconfigs, kubelet files (kubeadm,
staticpods.go), and files and etcd must be from the same instant, because rights that a certificate needs live in etcd.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from upgrade_guard.errors import Refused, StepFailed
from upgrade_guard.model.cluster import Node
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.tools.commands import CHANGE_TIMEOUT, run_checked
from upgrade_guard.tools.files import Entry, Files
from upgrade_guard.vault.manifest import NodeFile, NodeFiles
from upgrade_guard.vault.node_archive import NodeArchive, archive_name, read_archive, read_one
from upgrade_guard.vault.node_watch import OURS, existing, look, real_directory, watch

__all__ = ["Difference", "NodeFile", "NodeFiles", "PutBack", "capture", "differences", "every", "put_back", "read_one"]

_AT_ONCE = 200  # paths on one command line; ssh hands a command over as one word of at most 128 KiB


@dataclass(frozen=True)
class Difference:
    """One path that is not as it was. `kind`: "missing", "added", "changed" (content) or "attributes" (mode, owner)."""

    path: str
    kind: str


@dataclass(frozen=True)
class PutBack:
    """What was done: `moved_aside` maps each path to where it is now, `restored` are the paths written."""

    moved_aside: dict[str, str]
    restored: tuple[str, ...]


def capture(files: Files, node: Node, settings: NodeSettings, local: Path) -> NodeFiles:
    """Pack what the upgrade can change on a node into the local archive `local` (0600), and list it.

    Sockets and devices are left out. Raises CommandFailed when a file changes while it is read.
    """
    watched = watch(files, node, settings)
    paths = tuple(entry.path for entry in watched.entries)
    files.pack(paths, local, recursive=False)
    archive = read_archive(local)
    if missing := sorted(set(paths) - set(archive.files)):
        raise StepFailed(
            f"the archive of {node.name} lacks {missing[0]} and {len(missing) - 1} more",
            hint="Take it again: upgrade-guard resume",
        )
    return NodeFiles(
        node=node.name,
        archive=local.name,
        manifests_dir=real_directory(settings.manifests_dir, watched.entries),
        present=tuple(archive.files[path] for path in sorted(archive.files)),
        absent=watched.absent,
        watched=watched.roots,
        left_out=watched.left_out,
        packages=dict(node.packages),
        holds=node.holds,
    )


def every(_: str) -> bool:
    """Whatever path it is, it is meant."""
    return True


def differences(
    files: Files, listing: NodeFiles, *, manifests: bool | None = None, which: Callable[[str], bool] = every
) -> tuple[Difference, ...]:
    """What is not as it was captured. `manifests`: only static pods (True), everything else (False), both (None).

    `which` says of a path whether it is looked at.
    """
    roots, _ = existing(files, (*listing.watched, *listing.absent))
    entries = {entry.path: entry for entry in look(files, roots, listing.left_out)}
    before = {file.path: file for file in listing.present}
    digests = _digests(
        files,
        (
            path
            for path, file in before.items()
            if file.kind == "file" and path in entries and entries[path].kind == "file"
        ),
    )
    found = [
        *(
            Difference(path, kind)
            for path, file in before.items()
            if (kind := _kind(file, entries.get(path), digests.get(path, "")))
        ),
        *(Difference(path, "added") for path in entries if path not in before),
    ]
    chosen = (
        one for one in found if which(one.path) and (manifests is None or _is_manifest(listing, one.path) is manifests)
    )
    return tuple(sorted(chosen, key=lambda one: one.path))


def put_back(
    files: Files,
    listing: NodeFiles,
    local: Path,
    aside_dir: str,
    *,
    manifests: bool,
    which: Callable[[str], bool] = every,
) -> PutBack:
    """Make a node's files as they were captured: static pods only (`manifests=True`), or everything but them.

    `which` says of a path whether it is meant. Nothing is deleted: what was added or changed is moved beneath
    `aside_dir` on the node. Acting twice is harmless.
    Raises Refused, before anything is touched, for an archive that is not the one that was captured.
    """
    archive = read_archive(local)
    _refuse_other_archive(archive, listing, local)
    found = differences(files, listing, manifests=manifests, which=which)
    # What kubelet reads: it passes over directories in there, and what is in them goes back as any other file.
    pods = frozenset(
        path
        for path, file in archive.files.items()
        if file.kind == "file" and posixpath.dirname(path) == listing.manifests_dir
    )
    leaving: list[str] = []
    for one in found:  # sorted: a directory comes before what is in it
        in_the_way = one.kind in ("added", "changed") or (one.kind == "attributes" and one.path in pods)
        if in_the_way and not any(one.path.startswith(f"{path}/") for path in leaving):
            leaving.append(one.path)
    moved = _move_aside(files, leaving, aside_dir)
    wanted = tuple(one.path for one in found if one.kind != "added")
    if manifests:
        _extract(files, archive, local, tuple(path for path in wanted if path not in pods), without=tuple(pods))
        _place_manifests(files, listing, archive, local, tuple(path for path in wanted if path in pods))
    else:
        _extract(files, archive, local, wanted, without=(listing.manifests_dir,))
    return PutBack(moved, wanted)


def _kind(before: NodeFile, now: Entry | None, sha256: str) -> str:
    if now is None:
        return "missing"
    if now.kind != before.kind or now.link != before.link_to or sha256 != before.sha256:
        return "changed"
    if before.kind != "link" and (now.mode, now.uid, now.gid) != (before.mode, before.uid, before.gid):
        return "attributes"
    return ""


def _digests(files: Files, paths: Iterable[str]) -> dict[str, str]:
    every = tuple(paths)
    found: dict[str, str] = {}
    for start in range(0, len(every), _AT_ONCE):
        found |= files.sha256(*every[start : start + _AT_ONCE])
    return found


def _is_manifest(listing: NodeFiles, path: str) -> bool:
    return path == listing.manifests_dir or path.startswith(f"{listing.manifests_dir}/")


def _refuse_other_archive(archive: NodeArchive, listing: NodeFiles, local: Path) -> None:
    before = {file.path: file for file in listing.present}
    wrong = sorted(path for path in before.keys() | archive.files.keys() if before.get(path) != archive.files.get(path))
    if wrong:
        raise Refused(
            f"{local} is not what was captured of {listing.node}: {wrong[0]} differs",
            hint="Use another copy of this bundle.",
            reasons=tuple(f"{path} differs from the listing" for path in wrong),
        )


def _move_aside(files: Files, paths: list[str], aside_dir: str) -> dict[str, str]:
    """Each path beneath `aside_dir` as it is beneath /, where an earlier attempt's name is taken with a number.

    All of one directory at once: the control plane is at rest while this is done, and every command takes its time.
    """
    targets = _free_names(files, paths, aside_dir)
    together: dict[str, list[str]] = {}
    for path, target in targets.items():
        if posixpath.basename(target) == posixpath.basename(path):
            together.setdefault(posixpath.dirname(target), []).append(path)
    if targets:
        files.make_dir(*sorted({posixpath.dirname(target) for target in targets.values()}))
    for parent, some in together.items():
        for start in range(0, len(some), _AT_ONCE):
            into = (f"--target-directory={parent}", "--", *some[start : start + _AT_ONCE])
            run_checked(files.host, ("mv", "--no-clobber", *into), timeout=CHANGE_TIMEOUT, changes=True)
    for path, target in targets.items():
        if path not in together.get(posixpath.dirname(target), ()):
            argv = ("mv", "--no-target-directory", "--no-clobber", "--", path, target)
            run_checked(files.host, argv, timeout=CHANGE_TIMEOUT, changes=True)
    if left := files.existing(*targets, follow=False):
        raise StepFailed(f"{min(left)} on {files.host.name} was not moved to {targets[min(left)]}")
    return targets


def _free_names(files: Files, paths: list[str], aside_dir: str) -> dict[str, str]:
    targets = {path: f"{aside_dir}{path}" for path in paths}
    number = 1
    while taken := files.existing(*targets.values(), follow=False):
        number += 1
        targets = {path: f"{aside_dir}{path}.{number}" if there in taken else there for path, there in targets.items()}
    return targets


def _extract(
    files: Files, archive: NodeArchive, local: Path, paths: tuple[str, ...], *, without: tuple[str, ...]
) -> None:
    # A hard link can only be extracted together with the name that carries the content.
    names = sorted({name for path in paths for name in (archive.hard_links.get(path, path), path)})
    # tar extracts a directory with all below it, and then misses the names below it that it was given as well.
    outermost: list[str] = []
    for name in names:
        if not any(name.startswith(f"{other}/") for other in outermost):
            outermost.append(name)
    excluded = tuple(archive_name(path) for path in without)
    for start in range(0, len(outermost), _AT_ONCE):
        some = tuple(archive_name(path) for path in outermost[start : start + _AT_ONCE])
        files.unpack(local, only=some, exclude=excluded)


def _place_manifests(
    files: Files, listing: NodeFiles, archive: NodeArchive, local: Path, paths: tuple[str, ...]
) -> None:
    """Each whole or not at all: kubelet reads everything in that directory whose name does not begin with a dot.

    So they are written beside it, which is the same file system, and renamed into it.
    """
    if not paths:
        return
    beside = posixpath.join(posixpath.dirname(listing.manifests_dir), f"{OURS}-placing")
    files.make_dir(beside)
    names = sorted({name for path in paths for name in (archive.hard_links.get(path, path), path)})
    files.unpack(local, directory=beside, only=tuple(archive_name(name) for name in names))
    ready = tuple(f"{beside}{path}" for path in paths)
    files.sync(*ready)
    files.move_into(listing.manifests_dir, *ready)
    files.remove_empty(posixpath.dirname(ready[0]))
