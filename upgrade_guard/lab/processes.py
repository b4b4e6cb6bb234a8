"""The real processes of a lab: etcd, the server of its programs, and the watcher of one fault.

Each is started in a session of its own and known by its pid. Nobody waits for them, so a process is judged by /proc:
the same pid with another start time is somebody else's, and a zombie is dead.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


def start(argv: Sequence[str], log: Path) -> tuple[int, int]:
    """Start a program with an empty environment, its output appended to `log`. Its pid and start time."""
    log.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        argv[0],
        list(argv),
        {"PATH": "/usr/bin:/bin"},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in _inherited()),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM],
    )
    return pid, begun(pid)


def _inherited() -> list[int]:
    """What would live on in the child: a lock that flock(1) took for our caller must not be held by etcd for ever."""
    descriptors = [int(path.name) for path in Path("/proc/self/fd").iterdir()]
    found = []
    for descriptor in descriptors:
        try:
            if descriptor > 2 and os.get_inheritable(descriptor):
                found.append(descriptor)
        except OSError:
            pass  # the one that was open for reading the list
    return found


def running_with(*wanted: str) -> list[tuple[int, int]]:
    """Processes with these words in their command line: pid and start time."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        pid = int(path.parent.name)
        if all(os.fsencode(word) in words for word in wanted) and pid != os.getpid() and begun(pid):
            found.append((pid, begun(pid)))
    return found


def begun(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 when there is none, or only a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def alive(pid: int, since: int) -> bool:
    """Is it still the process that we started?"""
    if pid <= 0:
        return False
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # collects it when it is a child of ours that has ended
    return since != 0 and begun(pid) == since


def stop(pid: int, since: int, grace: float) -> None:
    """SIGTERM, and SIGKILL after `grace` seconds; returns when it is gone."""
    if not alive(pid, since):
        return
    send(pid, since, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while alive(pid, since):
        if time.monotonic() > deadline:
            send(pid, since, signal.SIGKILL)
        time.sleep(0.005)


def kill(pid: int, since: int) -> None:
    """SIGKILL; returns when it is gone."""
    send(pid, since, signal.SIGKILL)
    while alive(pid, since):
        time.sleep(0.005)


def send(pid: int, since: int, number: signal.Signals) -> None:
    """Send a signal to a process that is still ours."""
    if alive(pid, since):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
