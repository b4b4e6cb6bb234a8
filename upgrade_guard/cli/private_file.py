"""Files that an operator asks for: theirs alone (0600), whole or not there, never over another one unasked."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from upgrade_guard.errors import Refused, UsageProblem


def write_private(path: Path, chunks: Iterable[str], *, force: bool) -> None:
    """Write text to a new file. Raises Refused when it exists and not `force`, UsageProblem when it cannot be made."""
    if path.is_dir():
        raise UsageProblem(f"--output {path} is a directory", hint=f"give a file: --output {path}/NAME")
    if not force and os.path.lexists(path):
        raise _exists(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise _unwritable(path, problem) from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(descriptor)
        if force:
            part.replace(path)
        else:
            os.link(part, path)  # unlike a rename, it does not take another file's place
    except FileExistsError:
        raise _exists(path) from None
    except OSError as problem:
        raise _unwritable(path, problem) from None
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


def _exists(path: Path) -> Refused:
    return Refused(f"{path} exists and is left as it is", hint="name another file, or add --force to replace it")


def _unwritable(path: Path, problem: OSError) -> UsageProblem:
    return UsageProblem(
        f"{path}: cannot be written: {problem.strerror}",
        hint=f"look at the place: `ls -ld {path.parent}; df -h {path.parent}`",
    )
