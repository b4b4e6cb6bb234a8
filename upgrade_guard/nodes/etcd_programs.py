"""The cluster's own etcd programs, kept on its control planes and on this machine.

At restore time etcd is stopped and its image may have been removed, and a proof must run the very version that wrote
the data: so they are taken out of the image beforehand.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from upgrade_guard.errors import Refused, UsageProblem
from upgrade_guard.hosts.base import Host
from upgrade_guard.tools.etcd_tools import EtcdTools
from upgrade_guard.tools.etcdctl import Etcdctl
from upgrade_guard.tools.files import Files
from upgrade_guard.vault.disk import measure, private_directories, sync_directory
from upgrade_guard.vault.proof import LocalEtcdTools

Digests = Mapping[str, str]
"""SHA-256 in hex, by the name of the program."""

Recorded = Callable[[], Mapping[str, Digests]]
"""What the journal has of the programs that were taken out of an image: by `place`."""

HERE = "here"

PROGRAMS = "inspect/etcd-tools"
"""The step that takes etcd's programs out of its image; its results are what is recorded of them."""


def nothing_recorded() -> Mapping[str, Digests]:
    """There is no journal."""
    return {}


def place(host: str, directory: str | Path) -> str:
    """The name under which the programs of a directory are recorded; `host` is a node, or HERE for this machine."""
    return f"{host}:{directory}"


def recorded_in(results: Iterable[Mapping[str, Any]]) -> Mapping[str, Digests]:
    """By `place`, from what `inspect/etcd-tools` left in the journal, oldest first. An earlier version kept none."""
    found: dict[str, Digests] = {}
    for result in results:
        found.update(result.get("sha256", {}))
    return found


def digests_here(directory: Path) -> dict[str, str]:
    """Of the programs in a directory of this machine; those that are there."""
    paths = (directory / name for name in ("etcd", "etcdctl", "etcdutl"))
    return {path.name: measure(path).sha256 for path in paths if path.is_file()}


def refuse_exchanged(where: str, directory: str | Path, now: Digests, known: Digests) -> None:
    """Raise Refused for programs that are not those on record; with none on record nothing is refused."""
    if not known or now == known:
        return
    if gone := sorted(set(known) - set(now)):
        raise Refused(
            f"{directory}/{gone[0]} {where}, which was taken out of etcd's image, is gone",
            hint="have it fetched again: upgrade-guard check",
        )
    name = min(name for name in now if known.get(name) != now[name])
    raise Refused(
        f"{directory}/{name} {where} is not the program that was taken out of etcd's image: its SHA-256 is not the one "
        "in the journal; it was not run",
        hint=f"find out who changed it; then, {where}: rm -r {directory}; "
        "and have it fetched again: upgrade-guard check",
    )


def image_tag(image: str) -> str:
    """The tag of an image, or its digest, as a name for a directory: `registry.k8s.io/etcd:3.5.24-0` → `3.5.24-0`."""
    name, _, digest = image.partition("@")
    _, colon, tag = name.rpartition("/")[2].partition(":")
    return re.sub(r"[^A-Za-z0-9._-]", "-", tag if colon else digest).lstrip(".") or "untagged"


def local_programs(directory: Path) -> LocalEtcdTools:
    """Paths on this machine, as `fetch_programs` left them. Raises Refused when they are not there."""
    if not (directory / "etcd").is_file() or not (directory / "etcdctl").is_file():
        raise Refused(
            f"the etcd programs are missing from {directory}",
            hint="upgrade-guard check fetches them again from a control plane",
        )
    etcdutl = directory / "etcdutl"
    return LocalEtcdTools(directory / "etcd", directory / "etcdctl", etcdutl if etcdutl.is_file() else None)


def kept_programs(kept: Path, version: str, host: Host, recorded: Recorded = nothing_recorded) -> LocalEtcdTools:
    """The programs of that etcd version among those that were ever kept beneath `kept`; no cluster is asked.

    `host` is this machine. What differs from what is recorded is not run. Raises Refused for such programs, and with
    where to put them when there are none.
    """
    exchanged: list[Refused] = []
    for directory in sorted(kept.iterdir()) if kept.is_dir() else ():
        if not directory.name.startswith(".") and (directory / "etcd").is_file():
            known = recorded().get(place(HERE, directory), {})
            try:
                refuse_exchanged("on this machine", directory, digests_here(directory) if known else {}, known)
            except Refused as problem:
                exchanged.append(problem)  # perhaps of another version
                continue
            programs = local_programs(directory)
            if Etcdctl(host, str(programs.etcdctl), "").version() == version:
                return programs
    if exchanged:
        raise exchanged[0]
    target = kept / version
    raise Refused(
        f"the programs of etcd {version} are not on this machine",
        hint=f"put etcd, etcdctl and etcdutl of etcd {version} into {target} (mode 0700), "
        "or have them fetched from a control plane that still runs it: upgrade-guard check",
    )


def fetch_programs(files: Files, tools: EtcdTools, directory: Path) -> LocalEtcdTools:
    """Copy the programs that were extracted on a node to this machine, whole or not at all, executable for us only."""
    _remove_remains(directory)
    part = directory.with_name(f".{directory.name}.part-{os.getpid()}")
    own_directory(part)
    try:
        for path in (tools.etcd, tools.etcdctl, tools.etcdutl):
            if path is not None:
                local = part / Path(path).name
                files.fetch(path, local)
                local.chmod(0o700)
        if directory.exists():  # an incomplete set from an earlier day: the new one takes its place
            shutil.rmtree(directory)
        sync_directory(part)
        part.rename(directory)
        sync_directory(directory.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return local_programs(directory)


def _remove_remains(directory: Path) -> None:
    """What fetches left behind that were killed; that of a process which lives is its own."""
    for part in directory.parent.glob(f".{directory.name}.part-*"):
        process = part.name.rpartition("-")[2]
        if process.isdigit() and not Path(f"/proc/{process}").exists():
            shutil.rmtree(part, ignore_errors=True)


def send_programs(files: Files, tools: LocalEtcdTools, directory: str) -> None:
    """Copy the programs that are kept here to a node, whole or not at all, in the place of what is there."""
    parent, _, name = directory.rpartition("/")
    files.make_dir(parent)
    for beside in files.list_dir(parent):  # an attempt that was killed left half a set
        if beside.startswith(f"{name}.part-"):
            files.remove_own(f"{parent}/{beside}")
    part = f"{directory}.part-{secrets.token_hex(4)}"
    files.make_dir(part)
    for path in (tools.etcd, tools.etcdctl, tools.etcdutl):
        if path is not None:
            files.send(path, f"{part}/{path.name}", mode=0o755)
    if files.exists(directory):
        files.remove_own(directory)
    files.move(part, directory)


def own_directory(path: Path) -> Path:
    """Make it (0700) with its parents. Raises UsageProblem when this machine does not let us."""
    try:
        private_directories(path)
    except OSError as problem:
        raise UsageProblem(
            f"{path} cannot be made: {problem.strerror}",
            hint="name a directory that can be written: upgrade-guard --state-dir DIR ...",
        ) from None
    return path
