"""One run at a time: a lock that the kernel lets go when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from upgrade_guard.errors import LockHeld
from upgrade_guard.journal.problems import unwritable
from upgrade_guard.journal.storage import private_directory

# A look at the lock (`RunLock.holder`) takes it for a moment; whoever wants to keep it tries again over this long.
_PATIENCE_SECONDS = 0.5
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class Holder:
    """Who holds the lock. `started_at` is ISO 8601 in UTC; all empty when the file could not be read."""

    pid: int = 0
    host: str = ""
    started_at: str = ""
    command: str = ""


class RunLock:
    """Held for a whole run: `flock` on `path` (a file beside the journal, 0600), with the holder's names inside.

    The file stays when the lock is let go: removing it would let two processes lock two files of one name.
    Raises LockHeld, which names the holder, when another process has it.
    """

    def __init__(self, path: Path, *, command: str = "", now: Callable[[], datetime] | None = None) -> None:
        self._path = path
        self._command = command
        self._now = now or (lambda: datetime.now(UTC))
        self._file = -1

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock or raise LockHeld; JournalProblem when the place cannot be written."""
        private_directory(self._path.parent)
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise unwritable(self._path, error) from error
        try:
            _take(file, self._path)
            self._sign(file)
        except BaseException:
            os.close(file)
            raise
        self._file = file

    def release(self) -> None:
        """Let it go; harmless when it is not held."""
        if self._file < 0:
            return
        # A full disk must not hide what happened inside the lock: the name inside is a courtesy, the lock is the truth.
        with suppress(OSError):
            os.ftruncate(self._file, 0)
        os.close(self._file)
        self._file = -1

    @staticmethod
    def holder(path: Path) -> Holder | None:
        """The living process that holds the lock, or None. Creates nothing."""
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unwritable(path, error) from error
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(file)
        else:
            return None
        finally:
            os.close(file)

    def _sign(self, file: int) -> None:
        holder = Holder(
            pid=os.getpid(),
            host=socket.gethostname(),
            started_at=self._now().astimezone(UTC).isoformat(timespec="seconds"),
            command=self._command,
        )
        try:
            os.fchmod(file, 0o600)
            os.ftruncate(file, 0)
            os.pwrite(file, json.dumps(asdict(holder)).encode(), 0)
        except OSError as error:
            raise unwritable(self._path, error) from error


def _take(file: int, path: Path) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= until:
                raise _held(_read(file), path) from error
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def _read(file: int) -> Holder:
    try:
        written = json.loads(os.pread(file, 65536, 0))
        return Holder(
            pid=int(written["pid"]),
            host=str(written["host"]),
            started_at=str(written["started_at"]),
            command=str(written["command"]),
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return Holder()


def _held(holder: Holder, path: Path) -> LockHeld:
    who = "another process"
    if holder.pid:
        who = f"process {holder.pid} on {holder.host}, since {holder.started_at}"
        who += f" (`{holder.command}`)" if holder.command else ""
    return LockHeld(
        f"{path} is held by {who}",
        hint="wait for it, or see where it stands: `upgrade-guard status`",
    )
