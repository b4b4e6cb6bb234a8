"""etcd's own programs, taken out of the cluster's etcd image so that versions match.

At restore time etcd is stopped, so nothing can be run in its container, and its image may have been removed since.
"""

from __future__ import annotations

import posixpath
import secrets
from dataclasses import dataclass

from upgrade_guard.errors import StepFailed
from upgrade_guard.tools.commands import run_checked, unexpected
from upgrade_guard.tools.containers import Containers
from upgrade_guard.tools.etcdctl import CLEAN_ENVIRONMENT, parse_version
from upgrade_guard.tools.files import Files

_DIRECTORY_IN_IMAGE = "/usr/local/bin"
_PROGRAMS = ("etcd", "etcdctl", "etcdutl")


@dataclass(frozen=True)
class EtcdTools:
    """Absolute paths of programs of one etcd version. `etcdutl` is None where the image has none (before 3.5)."""

    etcd: str
    etcdctl: str
    etcdutl: str | None
    version: str = ""


def extract_etcd_tools(
    files: Files, containers: Containers, image: str, directory: str, *, anew: bool = False
) -> EtcdTools:
    """The programs of `image` in `directory` on the node; extracted once, complete or not at all.

    `anew`: what is there already is not run, and is replaced. Raises StepFailed when the image lacks etcd or etcdctl,
    or when the two are not of one version.
    """
    there = files.is_dir(directory)
    if anew or not there:
        part = f"{directory}.part-{secrets.token_hex(4)}"
        files.make_dir(posixpath.dirname(directory))
        _remove_remains(files, containers, directory)
        files.make_dir(part)
        wanted = {f"{_DIRECTORY_IN_IMAGE}/{program}": f"{part}/{program}" for program in _PROGRAMS}
        # The mount directory gets a name of its own: the runtime remembers which image was mounted at a name.
        containers.extract(image, wanted, f"{directory}.mount-{secrets.token_hex(4)}")
        _look(files, part)
        if there:
            files.move(directory, f"{part}-before")
        files.move(part, directory)
        # Once more: a program of a process that was killed may have come to its end only now.
        _remove_remains(files, containers, directory)
    return _look(files, directory)


def _remove_remains(files: Files, containers: Containers, directory: str) -> None:
    """What attempts left behind that were killed: half a set of programs, or an image that is still mounted."""
    parent, name = posixpath.split(directory)
    for beside in files.list_dir(parent):
        if beside.startswith(f"{name}.mount-"):
            containers.unmount(f"{parent}/{beside}")
        elif beside.startswith(f"{name}.part-"):
            files.remove_own(f"{parent}/{beside}")


def _look(files: Files, directory: str) -> EtcdTools:
    there = set(files.list_dir(directory))
    if not {"etcd", "etcdctl"} <= there:
        raise StepFailed(
            f"etcd's image on {files.host.name} has no etcd and etcdctl in {_DIRECTORY_IN_IMAGE}",
            hint=f"Put etcd, etcdctl and etcdutl of the cluster's version into {directory} (mode 0755) and try again.",
        )
    etcd = f"{directory}/etcd"
    etcdctl = f"{directory}/etcdctl"
    server = _server_version(run_checked(files.host, (*CLEAN_ENVIRONMENT, etcd, "--version")).stdout)
    client = parse_version(run_checked(files.host, (*CLEAN_ENVIRONMENT, etcdctl, "version")).stdout)
    if server != client:
        raise StepFailed(
            f"etcd {server} and etcdctl {client} in {directory} on {files.host.name} are of different versions",
            hint=f"Move {directory} away on {files.host.name} and try again.",
        )
    etcdutl = f"{directory}/etcdutl" if "etcdutl" in there else None
    return EtcdTools(etcd=etcd, etcdctl=etcdctl, etcdutl=etcdutl, version=client)


def _server_version(text: str) -> str:
    """`etcd Version: 3.5.16` → `3.5.16`."""
    for line in text.splitlines():
        if line.startswith("etcd Version: "):
            return line.removeprefix("etcd Version: ").strip()
    raise unexpected("etcd --version", text)
