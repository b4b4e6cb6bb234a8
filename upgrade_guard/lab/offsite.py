"""A place for the off-site copies of a lab: another device than that of the etcd data, as the product demands."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from upgrade_guard.errors import UsageProblem

CANDIDATES = ("/dev/shm", "/run/user/{uid}", "/tmp", "/var/tmp")  # noqa: S108  (a private directory is made in it)


def choose_offsite(directory: Path, given: Path | None) -> tuple[Path, bool]:
    """The directory, and whether it is the lab's own to remove. Raises UsageProblem when no other device is found."""
    device = directory.stat().st_dev
    if given is not None:
        given = given.expanduser().resolve()
        if not given.parent.is_dir():
            raise UsageProblem(f"{given.parent} is not there", hint="create it, or choose another with --offsite")
        if (given if given.exists() else given.parent).stat().st_dev == device:
            raise UsageProblem(
                f"{given} is on the same device as {directory}, so a copy there is not off-site",
                hint="choose a directory on another file system with --offsite",
            )
        return given, not given.exists()
    digest = hashlib.sha256(str(directory).encode()).hexdigest()[:8]
    for candidate in CANDIDATES:
        parent = Path(candidate.format(uid=os.getuid()))
        if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK) and parent.stat().st_dev != device:
            return parent / f"upgrade-guard-lab-{directory.name}-{digest}", True
    raise UsageProblem(
        f"no directory on another device than that of {directory} was found for the off-site copies",
        hint="name one with --offsite",
    )
