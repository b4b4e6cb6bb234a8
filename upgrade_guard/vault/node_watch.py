"""Which paths of a node an upgrade can change, and so belong to its bundle."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from upgrade_guard.errors import GuardError, UnexpectedOutput
from upgrade_guard.model.cluster import Node
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.tools.files import Entry, Files, read_if_there

OURS = "upgrade-guard"  # what a name of ours begins with, directly in a watched directory
KUBELET_FILES = ("config.yaml", "kubeadm-flags.env", "instance-config.yaml")

# Mounted by control-plane manifests, but owned by the system and too large or too lively to be ours.
_SYSTEM = (
    "/dev",
    "/etc/ca-certificates",
    "/etc/localtime",
    "/etc/pki",
    "/etc/ssl",
    "/proc",
    "/run",
    "/sys",
    "/usr/lib/locale",
    "/usr/libexec",
    "/usr/local/share/ca-certificates",
    "/usr/share",
    "/var/lib/etcd",
    "/var/log",
    "/var/run",
)
_MANY = 500  # entries
_LARGE = 8 << 20  # bytes
_SHALLOW = 2  # a directory such as /etc or /var/lib is never taken as a whole
_ROUNDS = 4  # links to links


@dataclass(frozen=True)
class Watched:
    """`roots` exist, `absent` do not; what lies at or below `left_out` is not looked at. `entries` as they are now."""

    roots: tuple[str, ...]
    absent: tuple[str, ...]
    left_out: tuple[str, ...]
    entries: tuple[Entry, ...]


def watch(files: Files, node: Node, settings: NodeSettings) -> Watched:
    """Look at a node: kubernetes_dir without tmp/, kubelet's files, host files, the package source, and what
    control-plane manifests mount or symbolic links name outside of these (EncryptionConfiguration, audit policy)."""
    left_out = [f"{settings.kubernetes_dir}/tmp", settings.work_dir]  # noqa: S108 - kubeadm's own, never cleaned up
    if node.etcd:
        left_out.append(node.etcd.data_dir)
    wanted = [
        settings.kubernetes_dir,
        *(f"{settings.kubelet_dir}/{name}" for name in KUBELET_FILES),
        *settings.host_files,
        settings.package_source,
    ]
    roots, absent = existing(files, tuple(wanted))
    extra = _mounted(files, settings)
    entries: tuple[Entry, ...] = ()
    for _ in range(_ROUNDS):
        for path in extra:
            if _inside(path, (*roots, *left_out, *absent)) or _inside(path, _SYSTEM) or _contains(path, left_out):
                continue
            if not files.exists(path):
                absent += (path,)
            elif _small(files, path):
                roots += (path,)
            else:
                left_out.append(path)
        entries = look(files, _outermost(roots), tuple(left_out))
        extra = tuple(
            posixpath.normpath(posixpath.join(posixpath.dirname(entry.path), entry.link))
            for entry in entries
            if entry.kind == "link"
        )
        if all(_inside(path, (*roots, *left_out, *absent, *_SYSTEM)) for path in extra):
            break
    return Watched(_outermost(roots), tuple(dict.fromkeys(absent)), tuple(left_out), entries)


def existing(files: Files, paths: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that are there, and those that are not."""
    every = tuple(dict.fromkeys(paths))
    there = files.existing(*every)
    return tuple(path for path in every if path in there), tuple(path for path in every if path not in there)


def look(files: Files, roots: tuple[str, ...], left_out: tuple[str, ...]) -> tuple[Entry, ...]:
    """What lies at and below `roots`, without sockets and devices, and without what we keep there for a while."""
    ours = tuple(f"{root}/{OURS}" for root in roots)
    found = files.entries(*roots, prune=left_out)
    return tuple(entry for entry in found if entry.kind != "other" and not entry.path.startswith(ours))


def real_directory(path: str, entries: tuple[Entry, ...]) -> str:
    """`path` with the symbolic links among `entries` followed."""
    for _ in range(_ROUNDS):
        for entry in entries:
            if entry.kind == "link" and _inside(path, (entry.path,)):
                target = posixpath.normpath(posixpath.join(posixpath.dirname(entry.path), entry.link))
                path = target + path[len(entry.path) :]
                break
        else:
            return path
    return path


def _mounted(files: Files, settings: NodeSettings) -> tuple[str, ...]:
    from upgrade_guard.tools.static_pod import host_paths  # late: yaml is slow to import

    found: list[str] = []
    if files.is_dir(settings.manifests_dir):
        for name in files.list_dir(settings.manifests_dir):
            if name.startswith("."):
                continue
            text = read_if_there(files, f"{settings.manifests_dir}/{name}")  # kubelet passes over a directory too
            try:
                found += host_paths(text or "")
            except UnexpectedOutput:
                continue  # a stray file; the check of the manifests speaks about it
    return tuple(dict.fromkeys(posixpath.normpath(path) for path in found if path.startswith("/")))


def _small(files: Files, path: str) -> bool:
    """Small enough to be configuration: a regular file, or a directory with little in it."""
    if not files.is_dir(path):
        return _plain(files.entries(path)) and files.size(path) <= _LARGE
    if len(path.strip("/").split("/")) < _SHALLOW or path in ("/var/lib", "/usr/lib", "/usr/local"):
        return False
    try:
        if len(files.list_dir(path)) > _MANY:
            return False
        found = files.entries(path)
    except GuardError:
        return False
    return len(found) <= _MANY and sum(entry.size for entry in found if entry.kind == "file") <= _LARGE


def _plain(entries: tuple[Entry, ...]) -> bool:
    return all(entry.kind in ("file", "link") for entry in entries)


def _inside(path: str, roots: tuple[str, ...] | list[str]) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)


def _contains(path: str, others: list[str]) -> bool:
    return any(other.startswith(f"{path}/") for other in others)


def _outermost(roots: tuple[str, ...]) -> tuple[str, ...]:
    """Without those that lie inside of another, so that nothing is listed twice."""
    return tuple(root for root in dict.fromkeys(roots) if not any(root.startswith(f"{other}/") for other in roots))
