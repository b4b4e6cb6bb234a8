"""What can go wrong with the journal's file, in words: what, where, and what to type next."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from upgrade_guard.errors import GuardError, JournalProblem, Refused, UsageProblem

GATE = "gate: "
APPEND_ONLY = "append-only: "


def newer(path: Path, what: str) -> JournalProblem:
    """The journal holds something that this version does not know."""
    return JournalProblem(
        f"{path} was written by a newer version of upgrade-guard: {what}",
        hint="install the version that wrote it; `upgrade-guard --version` shows the one that runs now",
    )


def edited(path: Path, what: str) -> JournalProblem:
    """The journal holds something that no version writes."""
    return JournalProblem(f"{path} was edited: {what}", hint="see which row it is: `upgrade-guard audit verify`")


def cured(error: sqlite3.Error, path: Path) -> GuardError:
    """The error of SQLite as one that names its cure. Result codes: https://sqlite.org/rescode.html."""
    name = getattr(error, "sqlite_errorname", "") or ""
    said = str(error)
    if said.startswith(GATE):
        return Refused(
            f"the journal refused: {said.removeprefix(GATE)}",
            hint="`upgrade-guard status` shows what the gate asks for; `upgrade-guard resume` gathers it again",
            reasons=(said.removeprefix(GATE),),
        )
    if said.startswith(APPEND_ONLY):
        return JournalProblem(
            f"{path}: {said.removeprefix(APPEND_ONLY)}", hint="check the journal: `upgrade-guard audit verify`"
        )
    for prefix, what, hint in _CAUSES:
        if name.startswith(prefix):
            return JournalProblem(f"{path}: {what} ({said})", hint=hint.format(path=path, directory=path.parent))
    return JournalProblem(
        f"{path}: the journal could not be used ({said})", hint="check the journal: `upgrade-guard audit verify`"
    )


_LOOK = "check owner and mount: `ls -ld {directory} {path}; findmnt -T {path}`"
_CAUSES = (
    ("SQLITE_FULL", "the disk is full, nothing was recorded", "free space: `df -h {directory}`"),
    ("SQLITE_BUSY", "another process is writing to it", "see who: `fuser -v {path}`, then type the command again"),
    ("SQLITE_LOCKED", "another process is writing to it", "see who: `fuser -v {path}`, then type the command again"),
    (
        "SQLITE_READONLY",
        "it cannot be written",
        "check owner and mount: `ls -ld {directory} {path}; findmnt -T {path}`",
    ),
    ("SQLITE_PERM", "it cannot be written", _LOOK),
    ("SQLITE_CANTOPEN", "it cannot be opened", _LOOK),
    ("SQLITE_NOTADB", "it is not a journal", "move it aside: `mv {path} {path}.damaged`"),
    ("SQLITE_CORRUPT", "it is damaged", "keep it and look what is left: `sqlite3 {path} .recover`"),
    ("SQLITE_IOERR", "the disk reported an error", "look at the kernel's log: `dmesg | tail`"),
)


def no_such_run(run_id: str) -> UsageProblem:
    """Nothing in the journal has that name."""
    return UsageProblem(f"there is no run {run_id!r} in the journal", hint="list them: `upgrade-guard history`")


def unwritable(path: Path, error: OSError) -> JournalProblem:
    """The place itself cannot be used."""
    return JournalProblem(
        f"{path}: {error.strerror or error}",
        hint=f"check owner, mount and space: `ls -ld {path.parent}; findmnt -T {path.parent}; df -h {path.parent}`, "
        "or choose another place with --state-dir",
    )
