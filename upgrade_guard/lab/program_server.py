"""The process that answers for the programs of a lab's nodes, so that not each of them has to start a Python.

A launcher writes its process id into the FIFO `requests` and waits at a FIFO of its own for the exit status. A worker,
forked from this process, takes the launcher's words, environment, directory and standard files, and is the program. It
then waits for the next launcher of the same node, because a new process is dear: whatever it did not end cleanly, it
ends with. Where a launcher is killed, its worker is killed too. A launcher that finds no server, or hears "no" from it,
starts a Python of its own: the server makes a lab faster and changes nothing else.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import stat
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from upgrade_guard.lab import processes
from upgrade_guard.lab.layout import LabSettings, Layout
from upgrade_guard.lab.programs import entry

MODULE = "upgrade_guard.lab.program_server"
# Some that programs import only when they need them.
PRELOADED = ("encodings.idna", "ssl", "tempfile")
LOOK_AFTER = 30.0  # seconds between two looks at whether the lab is still there
GRACE = 1.0
# Where a worker has its line to the server.
LINE = 3
# Where a launcher keeps its standard input, output and error while the shell uses theirs for asking us.
STANDARD_FILES = (7, 8, 9)


def start(settings: LabSettings) -> None:
    """Start a lab's server where none answers; it does when `ready` names it. A Python without pidfds has none."""
    layout = Layout.of(settings)
    if not hasattr(os, "pidfd_open") or answers(layout):
        return
    stop(layout)
    package = str(Path(__file__).resolve().parents[2])
    code = f"import sys; sys.path.insert(0, {package!r}); from {MODULE} import serve; serve(sys.argv[1])"
    processes.start((sys.executable, "-I", "-S", "-c", code, _word(layout)), layout.lab / "server.log")


def answers(layout: Layout) -> bool:
    """Has a process the FIFO of this lab open? Not of a copy of a lab, nor of one that was removed and made again."""
    try:
        pid, descriptor = (layout.server / "ready").read_text().split()
        return (layout.server / "requests").samefile(f"/proc/{pid}/fd/{descriptor}")
    except (OSError, ValueError):
        return False


def stop(layout: Layout) -> None:
    """End a lab's server and everything that runs in it."""
    for server in processes.running_with(_word(layout)):
        processes.stop(*server, GRACE)
    for worker in _workers(layout):
        processes.kill(*worker)


def kill_programs(layout: Layout, name: str) -> None:
    """End at once what the server runs for a node, except the program that asks for it."""
    for worker in _workers(layout, name):
        processes.kill(*worker)


def _word(layout: Layout) -> str:
    """The word of its command line by which a lab's server is known."""
    return f"--lab={layout.directory}"


def _workers(layout: Layout, name: str = "") -> list[tuple[int, int]]:
    """Pid and start time of the workers that run, of one node or of all."""
    found = []
    for path in layout.workers.glob(f"*-{name or '*'}"):
        pid = int(path.name.partition("-")[0])
        if pid != os.getpid():
            found.append((pid, processes.begun(pid)))
    return found


class Refused(Exception):
    """The launcher has to start a Python of its own."""


@dataclass(eq=False)
class Worker:
    """A process that is one program of its node after the other; `line` leads to it."""

    pid: int
    line: socket.socket
    node: str
    launcher: Launcher | None = None


@dataclass(eq=False)
class Launcher:
    """One that waits for a worker. `pidfd` tells of its death, `reply` is its FIFO."""

    pid: int
    pidfd: int
    reply: int
    worker: Worker | None = None


class Server:
    """The loop: requests, answers and ends of workers, deaths of launchers."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        layout.workers.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (*layout.workers.iterdir(), *layout.server.glob("[0-9r]*")):
            path.unlink()
        self._path = layout.server / "requests"
        os.mkfifo(self._path, 0o600)
        # For reading and writing, so that it never ends and nobody waits to open it.
        self._requests = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
        self._inode = os.fstat(self._requests).st_ino
        self._rest = b""
        self._idle: dict[str, list[Worker]] = {}
        self._polled: dict[int, Launcher | Worker] = {}  # by pidfd and by line
        self._poll = select.poll()
        self._poll.register(self._requests, select.POLLIN)

    def tell(self) -> None:
        """From now on, launchers find this process: it has the FIFO open as this descriptor."""
        beside = self._layout.server / "ready.new"
        beside.write_text(f"{os.getpid()} {self._requests}\n")
        beside.replace(self._layout.server / "ready")

    def run(self) -> None:
        """Until the lab is gone."""
        while self._is_there():
            for descriptor, _ in self._poll.poll(LOOK_AFTER * 1000):
                if descriptor == self._requests:
                    *lines, self._rest = (self._rest + os.read(self._requests, 65536)).split(b"\n")
                    for line in lines:
                        self._begin(line.decode())
                    continue
                match self._polled.get(descriptor):
                    case Worker() as worker:
                        self._hear(worker)
                    case Launcher() as launcher:
                        self._forget(launcher)

    def _is_there(self) -> bool:
        with suppress(OSError):
            return self._path.stat().st_ino == self._inode
        return False

    def _begin(self, line: str) -> None:
        number, count, node, program = line.split()
        # For reading and writing here too: the launcher may not have come to open it.
        reply = os.open(self._layout.server / number, os.O_RDWR | os.O_NONBLOCK)
        try:
            launcher = Launcher(int(number), os.pidfd_open(int(number)), reply)
        except ProcessLookupError:
            os.close(reply)
            (self._layout.server / number).unlink()
            return
        idle = self._idle.setdefault(node, [])
        launcher.worker = idle.pop() if idle else self._fork(node)
        launcher.worker.launcher = launcher
        self._watch(launcher.pidfd, launcher)
        with suppress(OSError):  # it died; its line tells that as well
            launcher.worker.line.sendall(f"{number} {count} {program}\n".encode())

    def _fork(self, node: str) -> Worker:
        ours, its = socket.socketpair()
        pid = os.fork()
        if not pid:
            os.setsid()
            os.dup2(its.fileno(), LINE)  # inherited: a program that a worker becomes ends when that has ended
            os.closerange(LINE + 1, os.sysconf("SC_OPEN_MAX"))
            serve_launchers(self._layout, node)
        its.close()
        worker = Worker(pid, ours, node)
        self._watch(ours.fileno(), worker)
        return worker

    def _hear(self, worker: Worker) -> None:
        """A worker tells the status of its program, or has ended with it."""
        said = b""
        with suppress(ConnectionResetError):
            said = worker.line.recv(64)
        launcher, worker.launcher = worker.launcher, None
        if said:
            self._idle[worker.node].append(worker)
        else:
            status = self._bury(worker)
            said = b"%d\n" % (status if status >= 0 else 128 - status)
        if launcher is not None:
            launcher.worker = None
            os.write(launcher.reply, said)  # open until the launcher has ended, and so has read it

    def _forget(self, launcher: Launcher) -> None:
        """The launcher has ended, or was killed: then its worker has to die as well."""
        if launcher.worker is not None:
            with suppress(ProcessLookupError):
                os.killpg(launcher.worker.pid, signal.SIGKILL)
            self._bury(launcher.worker)
        self._unwatch(launcher.pidfd)
        os.close(launcher.pidfd)
        os.close(launcher.reply)
        (self._layout.server / str(launcher.pid)).unlink(missing_ok=True)

    def _bury(self, worker: Worker) -> int:
        status = os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1])
        self._unwatch(worker.line.fileno())
        worker.line.close()
        mark(self._layout, worker.pid, worker.node).unlink(missing_ok=True)
        with suppress(ValueError):
            self._idle[worker.node].remove(worker)
        return status

    def _watch(self, descriptor: int, known: Launcher | Worker) -> None:
        self._polled[descriptor] = known
        self._poll.register(descriptor, select.POLLIN)

    def _unwatch(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        del self._polled[descriptor]


def mark(layout: Layout, pid: int, node: str) -> Path:
    """There while that worker is a program of that node."""
    return layout.workers / f"{pid}-{node}"


def serve_launchers(layout: Layout, node: str) -> NoReturn:
    """The worker: one program after the other, until the server is gone or one did not end cleanly."""
    from upgrade_guard.lab import simulation  # late: it starts us
    from upgrade_guard.lab.gateway import Connections

    simulation.kept.set(Connections())
    own = mark(layout, os.getpid(), node)
    nothing = os.open(os.devnull, os.O_RDWR)
    before = (os.getpriority(os.PRIO_PROCESS, 0), tuple(sys.path))
    while line := os.read(LINE, 4096):
        number, count, program = line.decode().split()
        try:
            request = Request.of(int(number), int(count))
        except (OSError, Refused):
            os.write(LINE, b"no\n")
            continue
        # Before it looks whether its machine has power: who takes the power away kills those that are marked.
        own.touch()
        status = request.work(layout, node, program)
        if (os.getpriority(os.PRIO_PROCESS, 0), tuple(sys.path)) != before:
            os._exit(status)  # neither can be taken back for sure
        own.unlink(missing_ok=True)
        os.chdir("/")
        for file in range(3):
            os.dup2(nothing, file)
        os.write(LINE, b"%d\n" % status)
    os._exit(0)


@dataclass(frozen=True)
class Request:
    """What a launcher was started with."""

    pid: int
    words: list[str]
    environment: dict[bytes, bytes]
    umask: int
    files: tuple[int, ...]

    @classmethod
    def of(cls, pid: int, count: int) -> Request:
        """Read it from /proc. Raises Refused, and OSError when the launcher is gone."""
        of_launcher = Path(f"/proc/{pid}")
        environment = dict(
            entry.split(b"=", 1) for entry in (of_launcher / "environ").read_bytes().split(b"\0") if b"=" in entry
        )
        if b"LD_PRELOAD" in environment:
            raise Refused  # this process has not loaded that
        words = [os.fsdecode(word) for word in (of_launcher / "cmdline").read_bytes().split(b"\0")[:-1]]
        status = (of_launcher / "status").read_text().splitlines()
        umask = next(int(line.split()[1], 8) for line in status if line.startswith("Umask:"))
        files: list[int] = []
        try:
            for number in STANDARD_FILES:
                files.append(opened_again(pid, number))  # noqa: PERF401 - closed one by one when there is no next
        except BaseException:
            for file in files:
                os.close(file)
            raise
        return cls(pid, words[len(words) - count :], environment, umask, tuple(files))

    def work(self, layout: Layout, node: str, program: str) -> int:
        """Be that program and return its exit status; ends the process where the program did not end by itself."""
        status = 0
        try:
            os.umask(self.umask)
            os.chdir(f"/proc/{self.pid}/cwd")
            os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, self.pid))
            for number, file in enumerate(self.files):
                os.dup2(file, number)
                os.close(file)
            os.environb.clear()
            os.environb.update(self.environment)
            sys.argv = ["-c", *self.words]
            entry.run(program, node, str(layout.directory))
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException:  # noqa: BLE001 - as Python itself ends a program
            traceback.print_exc()
            os._exit(1)
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:  # what is left must not come out of the next program
            os._exit(status)
        return status


def opened_again(pid: int, number: int) -> int:
    """A standard file of another process, with a position of its own. Raises Refused where that would be noticed.

    It is not noticed with a pipe, a terminal and /dev/null, nor with a file that is only read, or always written at its
    end. What is open for reading and writing is what its maker reads back (a memfd, for one): that is written at its
    end too. A shell's `> file` is none of these; the next program would write over what this one wrote.
    """
    path = f"/proc/{pid}/fd/{number}"
    try:
        kind = Path(path).stat().st_mode
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/fdinfo/{number}").read_text().splitlines())
    except FileNotFoundError as problem:
        if Path(f"/proc/{pid}").exists():
            raise Refused from problem  # it is closed
        raise
    flags = int(fields["flags"], 8)
    access = flags & os.O_ACCMODE
    if stat.S_ISREG(kind):
        if access == os.O_WRONLY and not flags & os.O_APPEND:
            raise Refused
        file = os.open(path, access | (0 if access == os.O_RDONLY else os.O_APPEND))
        os.lseek(file, int(fields["pos"]), os.SEEK_SET)
        return file
    if not (stat.S_ISFIFO(kind) or stat.S_ISCHR(kind)):
        raise Refused
    try:
        # Not blocking: the other end of a pipe may be closed by now.
        file = os.open(path, access | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as problem:
        raise Refused from problem  # nobody reads that pipe; the launcher's own Python will find that out
    os.set_blocking(file, True)
    return file


def serve(word: str) -> None:
    """The process itself. Raises OSError where it cannot be; then every launcher starts a Python of its own."""
    layout = Layout(Path(word.partition("=")[2]))
    os.umask(0o077)
    os.chdir("/")
    from upgrade_guard.lab.launchers import HOOKED, PROGRAMS  # late: it starts us

    for name in (*PRELOADED, *(f"{entry.PROGRAMS}.{name.replace('-', '_')}" for name in (*PROGRAMS, *HOOKED))):
        importlib.import_module(name)
    os.close(os.pidfd_open(os.getpid()))  # an old kernel has none
    gc.collect()
    gc.freeze()  # what is here now is shared with every worker
    server = Server(layout)
    server.tell()
    server.run()
