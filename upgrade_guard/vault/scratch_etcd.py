"""A real etcd for nobody else, in a directory that is removed afterwards.

What it serves is every secret of the cluster, without a password. So it listens on sockets in its own 0700 directory
(etcd 3.4 and 3.5 were seen to), and only where that does not work on loopback ports.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from upgrade_guard.errors import CommandFailed, LockHeld, StepFailed
from upgrade_guard.hosts.background import Background, running_with, start_background
from upgrade_guard.hosts.base import Host
from upgrade_guard.hosts.process import GENTLY
from upgrade_guard.model.clock import Clock
from upgrade_guard.tools.etcdctl import Etcdctl
from upgrade_guard.vault.disk import private_directories, storage, sync_directory

MEMBER = "proof"
PEER_URL = "http://127.0.0.1:2380"  # what the restore writes down; a member that is alone never connects to it
_PREFIX = "proof-"
_PORT_ATTEMPTS = 3  # another program may take the port between our choice and etcd's start
_LONGEST_SOCKET_PATH = 107  # bytes, sun_path of unix(7)
_PAUSE = 0.1


@contextlib.contextmanager
def scratch_directory(scratch: Path) -> Iterator[Path]:
    """A new 0700 directory beneath `scratch`, removed at the end. Only one at a time: raises LockHeld.

    What a killed process left there (its directory, its etcd) is ended and removed first.
    """
    with storage("Preparing the scratch directory", scratch):
        private_directories(scratch)
        lock = os.open(scratch / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockHeld(
                f"another proof uses {scratch}", hint=f"Wait for it to end; see who it is: fuser '{scratch / 'lock'}'"
            ) from error
        for leftover in scratch.glob(f"{_PREFIX}*"):
            _remove(leftover)
        with storage("Preparing the scratch directory", scratch):
            directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=scratch))
        try:
            yield directory
        finally:
            _remove(directory)
    finally:
        os.close(lock)


def data_directory(directory: Path) -> Path:
    """Where the scratch etcd keeps its data."""
    return directory / "data"


def _remove(directory: Path) -> None:
    for process in running_with(_data_flag(directory)):
        process.stop(grace=2.0)
    with storage("Removing the scratch directory", directory):
        shutil.rmtree(directory)
        sync_directory(directory.parent)  # or a power cut brings it back, and perhaps no other proof comes


def _data_flag(directory: Path) -> str:
    return f"--data-dir={data_directory(directory)}"


@dataclass
class ScratchEtcd:
    """A running scratch etcd: `etcdctl` talks to it."""

    process: Background
    etcdctl: Etcdctl
    log: Path


@contextlib.contextmanager
def scratch_etcd(
    directory: Path, *, etcd: Path, etcdctl: Path, host: Host, clock: Clock, patience: float
) -> Iterator[ScratchEtcd]:
    """Start etcd on the restored data of `directory`, wait until it answers linearizable reads, and stop it at the end.

    `patience` in seconds. Raises StepFailed with etcd's own last words when it does not come up.
    """
    log = directory / "etcd.log"
    until = clock.monotonic() + patience
    process: Background | None = None
    try:
        doors = _doors(directory)
        for left, door in zip(range(len(doors) - 1, -1, -1), doors, strict=True):
            process = start_background((*GENTLY, *_etcd_argv(etcd, directory, door)), log, directory)
            running = ScratchEtcd(process, Etcdctl(host, str(etcdctl), door.endpoint), log)
            try:
                _await_answer(running, door, clock, until)
                break
            except StepFailed:
                process.stop(grace=2.0)
                if not left or not _is_about_listening(last_words(log)):
                    raise
        yield running
    finally:
        if process is not None:
            process.stop(grace=5.0)


@dataclass(frozen=True)
class _Door:
    """Where etcd listens, and how etcdctl gets there."""

    client: str
    peer: str
    endpoint: str

    def open(self, directory: Path) -> bool:
        """Does something listen there? Cheaper to ask than by etcdctl."""
        if self.client.startswith("unix:"):
            return (directory / _CLIENT_SOCKET).exists()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", int(self.client.rpartition(":")[2])), timeout=1.0).close()
            return True
        return False


_CLIENT_SOCKET, _PEER_SOCKET = "client:1", "peer:1"  # etcd wants the form host:port; relative to where it is started


def _doors(directory: Path) -> tuple[_Door, ...]:
    sockets = _Door(f"unix://{_CLIENT_SOCKET}", f"unix://{_PEER_SOCKET}", f"unix://{directory / _CLIENT_SOCKET}")
    ports = []
    for _ in range(_PORT_ATTEMPTS):
        client, peer = (f"http://127.0.0.1:{port}" for port in _free_ports())
        ports.append(_Door(client, peer, client))
    fits = len(os.fsencode(directory / _CLIENT_SOCKET)) <= _LONGEST_SOCKET_PATH
    return (sockets, *ports) if fits else tuple(ports)


def _is_about_listening(words: str) -> bool:
    return any(word in words for word in ("address already in use", "listen", "unix:"))


def _etcd_argv(etcd: Path, directory: Path, door: _Door) -> tuple[str, ...]:
    return (
        str(etcd),
        f"--name={MEMBER}",
        _data_flag(directory),
        f"--listen-client-urls={door.client}",
        f"--advertise-client-urls={door.client}",
        f"--listen-peer-urls={door.peer}",
        f"--initial-advertise-peer-urls={PEER_URL}",
        f"--initial-cluster={MEMBER}={PEER_URL}",
        "--logger=zap",
        # A member that is alone has nobody to wait for: elect at once.
        "--heartbeat-interval=10",
        "--election-timeout=100",
    )


def _await_answer(running: ScratchEtcd, door: _Door, clock: Clock, until: float) -> None:
    while True:
        if not running.process.alive():
            raise StepFailed(f"etcd ended with status {running.process.exit_status()}: {last_words(running.log)}")
        why = "it does not listen yet"
        if door.open(running.log.parent):
            try:
                running.etcdctl.revision()
            except CommandFailed as failed:
                why = failed.message
            else:
                return
        if clock.monotonic() >= until:
            raise StepFailed(f"etcd did not answer in time ({why}): {last_words(running.log)}")
        clock.pause(_PAUSE)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def last_words(log: Path) -> str:
    """The last thing an etcd log says that is worse than a warning, else its last line."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.exists() else []
    for line in reversed(lines):
        try:
            entry = json.loads(line)
        except ValueError:
            if line.startswith(("panic:", "fatal error:", "unexpected fault")):
                return line
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal", "panic", "dpanic"):
            return ": ".join(str(entry[key]) for key in ("msg", "error") if entry.get(key))
    return lines[-1] if lines else "it printed nothing"
