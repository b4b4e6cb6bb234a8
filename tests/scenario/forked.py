"""The product's commands without the start of a Python: each is forked from one process that has imported everything.

Starting upgrade-guard takes half a second of processor time, nearly all of it for imports, and the scenarios do that a
thousand times. Here the script itself is run, with its words, environment, directory, files and process group, in a
process of its own that signals reach and that can be killed. Only what was imported before differs from a start. A
command that loads a library first (LD_PRELOAD) is started, as is each of a stage that `starts`: two long scenarios.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO

# Longer than any command line and environment of a test.
LONGEST_REQUEST = 1 << 18
# Imported late by the product, when a journal is made.
LATE = ("alembic.command", "alembic.config", "sqlalchemy.dialects.sqlite", "tomllib")


@dataclass
class Child:
    """One command that runs, or has ended; of a Popen what the scenarios use."""

    pid: int
    line: socket.socket = field(repr=False)
    returncode: int | None = None

    def poll(self) -> int | None:
        """Its status, if it has ended."""
        return self._heard(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Its status, once it has ended. Raises TimeoutExpired."""
        status = self._heard(timeout)
        if status is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return status

    def send_signal(self, number: signal.Signals) -> None:
        """A signal, unless it has ended: its number may be another's by then."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _heard(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self.line], [], [], seconds)[0]:
            said = self.line.recv(64)
            assert said, "the process that forks has died"
            self.returncode = int(said)
            self.line.close()
        return self.returncode


def start(words: Sequence[str], environment: Mapping[str, str], out: IO[str], err: IO[str]) -> Child:
    """Run a script of Python with these words, without input, in a process group of its own."""
    request = json.dumps({"words": words, "environment": dict(environment), "directory": str(Path.cwd())}).encode()
    assert len(request) < LONGEST_REQUEST
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        socket.send_fds(_forking()[1], [request], [out.fileno(), err.fileno(), its.fileno()])
    said = ours.recv(64)
    assert said, "the process that forks has died"
    return Child(int(said), ours)


def end() -> None:
    """Let the process that forks end, if there is one."""
    if _forking.cache_info().currsize:
        process, line = _forking()
        _forking.cache_clear()
        line.close()
        process.wait()


@cache
def _forking() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The process of this session, and the line to it; it ends when that is closed."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen(
            (sys.executable, __file__, str(its.fileno())),
            pass_fds=(its.fileno(),),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    return process, ours


# what follows runs in that process


def serve(control: socket.socket) -> tuple[list[str], dict[str, str], str]:
    """Fork for each request. Returns in the children alone, each with what it is to be."""
    ends: dict[int, tuple[int, socket.socket]] = {}  # by pidfd
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready in ends:
                pid, line = ends.pop(ready)
                poll.unregister(ready)
                os.close(ready)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with line, suppress(BrokenPipeError):  # nobody waits for it any more
                    line.send(b"%d" % status)
                continue
            request, files, _, _ = socket.recv_fds(control, LONGEST_REQUEST, 3)
            if not request:
                os._exit(0)
            out, err, number = files
            line = socket.socket(fileno=number)
            pid = os.fork()
            if not pid:
                os.setsid()
                os.dup2(out, 1)
                os.dup2(err, 2)
                for other in (control, line, *(one for _, one in ends.values())):
                    other.close()
                for descriptor in (out, err, *ends):
                    os.close(descriptor)
                asked = json.loads(request)
                return asked["words"], asked["environment"], asked["directory"]
            os.close(out)
            os.close(err)
            line.send(b"%d" % pid)
            pidfd = os.pidfd_open(pid)
            ends[pidfd] = (pid, line)
            poll.register(pidfd, select.POLLIN)


def import_everything() -> None:
    """All that a command may import, the lab's programs apart: those run elsewhere."""
    import upgrade_guard

    for found in pkgutil.walk_packages(upgrade_guard.__path__, "upgrade_guard."):
        if not found.name.startswith(("upgrade_guard.lab.programs", "upgrade_guard.__main__")):
            importlib.import_module(found.name)
    for name in LATE:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is here now is shared with every child


def main() -> None:
    """Serve, and in the children: become the command."""
    for number in (signal.SIGINT, signal.SIGHUP):  # whoever started the tests may ignore them
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    import_everything()
    words, environment, directory = serve(socket.socket(fileno=int(sys.argv[1])))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.argv = list(words)
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:1] = [str(Path(words[0]).parent), *paths]
    runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main()
