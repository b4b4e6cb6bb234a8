"""A file on a node that only one can make: its content says who did."""

from __future__ import annotations

import json
import posixpath
import re
import secrets
from contextlib import suppress
from dataclasses import asdict

from upgrade_guard.errors import GuardError, UnexpectedOutput
from upgrade_guard.model.lock import LockOwner
from upgrade_guard.tools.commands import CHANGE_TIMEOUT, failure, reads, run_checked
from upgrade_guard.tools.files import Files

_HEAD = re.compile("[0-9a-f]{64}")
_LONGEST = 200  # characters of each word that another machine wrote about itself


class LockFile:
    """`path` must be below the work directory of `files`. It survives the death of its owner, unlike a flock."""

    def __init__(self, files: Files, path: str) -> None:
        self._files = files
        self._path = path

    @property
    def where(self) -> str:
        """For messages: the path and the node."""
        return f"{self._path} on {self._files.host.name}"

    def beside(self, name: str) -> LockFile:
        """Another file in the same directory."""
        return LockFile(self._files, f"{posixpath.dirname(self._path)}/{name}")

    def owner(self) -> LockOwner | None:
        """Who made it; None when it is not there, an empty LockOwner when it cannot be read."""
        argv = ("cat", "--", self._path)
        result = run_checked(self._files.host, argv, accept=(0, 1))
        if result.exit_status == 1:
            if self._files.exists(self._path):
                raise failure(self._files.host, argv, result)
            return None
        try:
            return parse_owner(result.stdout)
        except UnexpectedOutput:
            return LockOwner()

    def make(self, owner: LockOwner) -> bool:
        """Make it whole or not at all; False when another one is there already. Raises CommandFailed."""
        beside = f"{self._path}.{secrets.token_hex(4)}"
        self._files.make_dir(posixpath.dirname(self._path))
        self._files.write(beside, _text(owner))
        try:
            # link(2) never replaces and shows the whole content at once; a rename would do only one of the two.
            argv = ("ln", "--no-target-directory", "--", beside, self._path)
            result = run_checked(self._files.host, argv, timeout=CHANGE_TIMEOUT, changes=True, accept=(0, 1))
            made = self.owner()
            if made is None:
                raise failure(self._files.host, argv, result, CHANGE_TIMEOUT)
            return made == owner
        finally:
            with suppress(GuardError):
                self._files.remove_own(beside)

    def replace(self, owner: LockOwner) -> None:
        """Put another owner in its place, whoever was there."""
        self._files.write(self._path, _text(owner))

    def remove(self) -> None:
        """Take it away."""
        self._files.remove_own(self._path)


@reads("the cluster's lock")
def parse_owner(text: str) -> LockOwner:
    """What `LockFile` writes. Raises UnexpectedOutput."""
    read = json.loads(text)
    words = {name: str(read[name])[:_LONGEST] for name in ("run", "operator", "host", "since", "doing")}
    if not words["run"]:
        raise ValueError("no run")
    head = str(read.get("head", ""))
    return LockOwner(pid=int(read["pid"]), head=head if _HEAD.fullmatch(head) else "", **words)


def _text(owner: LockOwner) -> bytes:
    return f"{json.dumps(asdict(owner))}\n".encode()
