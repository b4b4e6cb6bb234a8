"""A program that runs beside us for a while: the scratch etcd of a proof."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from upgrade_guard.errors import StepFailed

_POLL = 0.02


class Background:
    """A program in a session of its own. It may be our child, or one that an earlier process of ours left behind."""

    def __init__(self, pid: int, child: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self._child = child
        self._started = _started_at(pid)

    def alive(self) -> bool:
        """Does it still run? A process that got the same number later is another one."""
        if self._child is not None:
            return self._child.poll() is None
        started = _started_at(self.pid)
        return started is not None and started == self._started

    def exit_status(self) -> int | None:
        """How it ended; None while it runs, and for one that is not our child."""
        return None if self._child is None else self._child.poll()

    def stop(self, grace: float = 10.0) -> None:
        """Ask it to end (SIGTERM); after `grace` seconds, end it (SIGKILL). Returns when it is gone."""
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
            if not self.alive():
                return
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return
            until = time.monotonic() + patience
            while self.alive() and time.monotonic() < until:
                time.sleep(_POLL)
        if self.alive():
            raise StepFailed(
                f"process {self.pid} does not end", hint=f"Look at it: ps -o pid,stat,wchan,args {self.pid}"
            )


def start_background(argv: tuple[str, ...], log_path: Path, cwd: Path) -> Background:
    """Start a program; what it prints goes to the end of `log_path` (0600).

    Only PATH and HOME (its `cwd`) are in its environment. Raises StepFailed when it cannot be started.
    """
    handle = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            cwd=cwd,
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(cwd)},  # ETCD_* would act as flags
            start_new_session=True,
        )
    except OSError as error:
        raise StepFailed(
            f"{argv[0]} cannot be started: {error.strerror}", hint=f"Look at it: ls -l '{argv[0]}'"
        ) from error
    finally:
        os.close(handle)
    return Background(child.pid, child)


def running_with(word: str) -> tuple[Background, ...]:
    """This user's processes that have exactly this word on their command line, such as `--data-dir=/a/path`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if entry.stat().st_uid == os.geteuid() and os.fsencode(word) in (entry / "cmdline").read_bytes().split(
                b"\0"
            ):
                found.append(Background(int(entry.name)))
        except OSError:
            continue  # it ended meanwhile
    return tuple(found)


def _started_at(pid: int) -> str | None:
    """Field 22 of /proc/PID/stat, the start time in clock ticks since boot; None when gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
