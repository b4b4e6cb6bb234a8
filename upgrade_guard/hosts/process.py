"""The one place that starts programs and waits for them: with a listed environment, gently where that is asked for.

What an operator's shell carries beyond the list stays here. A gentle command leaves processor and disk to the etcd that
serves.
"""

from __future__ import annotations

import codecs
import fcntl
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Self

from upgrade_guard.errors import OutputTooLarge, StepFailed
from upgrade_guard.hosts.base import Host
from upgrade_guard.model.command import Command, Result, Secret

# Where programs and their files are, who runs them, the time zone, and how the world is reached.
_OF_PROGRAMS = frozenset(
    """
    HOME LOGNAME PATH TERM TMPDIR TZ USER SSL_CERT_DIR SSL_CERT_FILE
    ALL_PROXY FTP_PROXY HTTPS_PROXY HTTP_PROXY NO_PROXY all_proxy ftp_proxy http_proxy https_proxy no_proxy
    """.split()  # noqa: SIM905 - a list of words
)
# ssh speaks to agents and to Kerberos, runs a ProxyCommand with the SHELL, and tells the other machine its language.
_OF_SSH = _OF_PROGRAMS | {"KRB5CCNAME", "KRB5_CONFIG", "LANG", "SHELL", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR"}


def of_programs(environ: Mapping[str, str], path: str = "") -> dict[str, str]:
    """For a program on this machine: it speaks English, as parsers expect. `path` replaces PATH when given."""
    found = {name: value for name, value in environ.items() if name in _OF_PROGRAMS}
    return found | {"LC_ALL": "C"} | ({"PATH": path} if path else {})


def of_ssh(environ: Mapping[str, str]) -> dict[str, str]:
    """For ssh itself, and the ProxyCommand that it may start."""
    return {name: value for name, value in environ.items() if name in _OF_SSH or name.startswith("LC_")}


GENTLY = ("nice", "-n", "19", "ionice", "-c", "3")
"""Lowest priority for the processor, and the disk only when nobody else wants it (nice(1), ionice(1))."""


class GentleHost:
    """The same host, whose commands all run with the lowest priority."""

    def __init__(self, host: Host) -> None:
        self._host = host

    @property
    def name(self) -> str:
        """That of the host."""
        return self._host.name

    def run(self, command: Command) -> Result:
        """As the host runs it, gently."""
        return self._host.run(replace(command, argv=(*GENTLY, *command.argv)))


OUTPUT_LIMIT = 64 * 1024 * 1024
ERROR_LIMIT = 256 * 1024
NOISE_LIMIT = 1024 * 1024  # bytes before the frame, in which it is sought
NOT_FOUND = 127
NOT_EXECUTABLE = 126
_TICK = 0.1  # seconds between two looks at the output of a running program
_SHORT_TICK = 0.002  # the same for one that prints much
_MUCH = 1024 * 1024
_PIECES = 16  # of that size before one looks at the clock again; a pipe holds less
_GRACE = 5.0  # seconds between SIGTERM and SIGKILL, and then until we stop waiting
_READ = 64 * 1024


def run_process(
    command: Command,
    argv: tuple[str, ...],
    *,
    environment: Mapping[str, str],
    timeout: float,
    spool_dir: Path | None = None,
    output: Callable[[str], None] = lambda _: None,
    frame: bytes = b"",
) -> Result:
    """Run `argv` for `command` in a session of its own and wait for it, at most `timeout` seconds.

    A program that is not there ends with 127, one that may not be executed with 126, as a shell would say. A timeout
    ends the whole process group and gives `exit_status` None. When waiting is cut short by an exception, a program that
    only reads is ended with it; one that changes its node is left to finish.

    With a `frame`, only what comes after it counts, on standard output and on standard error: what stands before was
    printed by whoever starts the program. When it never came on standard output, the result's `begun` is False, and its
    texts are everything that was printed.

    Raises OutputTooLarge for a reading program that prints more than 64 MiB, or more than `stdout_limit` into a file.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        stdin = _stdin(stack, command.stdin)
        stdout, stdout_path = _sink(stack, command, spool_dir, "out")
        stderr, stderr_path = _sink(stack, command, spool_dir, "err")
        poured = None
        if command.stdout_to:
            poured = stack.enter_context(_Poured(command.stdout_to, command.stdout_limit, frame))
        try:
            running = subprocess.Popen(
                [_revealed(word) for word in argv],
                stdin=stdin,
                stdout=poured.inlet if poured else stdout,
                stderr=stderr,
                env=dict(environment),
                start_new_session=True,
            )
        except FileNotFoundError:
            return _not_started(argv[0], NOT_FOUND, "not found", began, stdout_path, stderr_path)
        except OSError as problem:
            reason = problem.strerror or "cannot be executed"
            return _not_started(argv[0], NOT_EXECUTABLE, reason, began, stdout_path, stderr_path)
        if poured:
            poured.started()
        out, err = _Followed(stdout, output, frame), _Followed(stderr, output, frame)
        try:
            program = str(command.argv[0])
            status = _wait(running, program, (out, err), poured, began + timeout, limited=not command.changes)
        except BaseException:
            if not command.changes:
                _end_group(running)
            raise
        _remove(stdout_path, stderr_path)
        if poured:
            os.fsync(poured.file.fileno())
        return Result(
            exit_status=status,
            stdout=_text(stdout, out.begin, OUTPUT_LIMIT) if poured is None else poured.noise(),
            stderr=_text(stderr, err.begin, ERROR_LIMIT),
            duration=time.monotonic() - began,
            begun=(poured or out).framed,
        )


def _wait(
    running: subprocess.Popen[bytes],
    program: str,
    followed: tuple[_Followed, ...],
    poured: _Poured | None,
    deadline: float,
    *,
    limited: bool,
) -> int | None:
    """Follow the output until the program ends; None when it had to be ended at the deadline."""
    pause = _TICK
    with _ending(running, poured) as wait:
        while running.poll() is None:
            left = deadline - time.monotonic()
            if left <= 0:
                _end_group(running)
                for one in followed:
                    one.read(last=True)
                return None
            wait(min(left, pause))
            pause = _TICK
            if poured:
                poured.read()
            for one in followed:
                if one.read(limit=OUTPUT_LIMIT if limited else None) > _MUCH:
                    pause = _SHORT_TICK
                if limited and one.position > OUTPUT_LIMIT:
                    raise OutputTooLarge(f"{program} printed more than {OUTPUT_LIMIT >> 20} MiB")
    if poured:
        poured.read()
    for one in followed:
        one.read(last=True)
    return running.returncode if running.returncode >= 0 else 128 - running.returncode


@dataclass
class _ending:  # noqa: N801 - used as a context manager, like a function
    """Waits for the end of a process at once where the kernel can say it, else in small steps; or for its output."""

    running: subprocess.Popen[bytes]
    poured: _Poured | None
    descriptor: int = -1

    def __enter__(self) -> Callable[[float], None]:
        with suppress(AttributeError, OSError):
            self.descriptor = os.pidfd_open(self.running.pid)
        return self._until_ready if self.descriptor >= 0 or self.poured else self._step

    def _until_ready(self, seconds: float) -> None:
        poll = select.poll()
        if self.descriptor >= 0:
            poll.register(self.descriptor, select.POLLIN)
        if self.poured and not self.poured.ended:
            poll.register(self.poured.outlet, select.POLLIN)
        elif self.descriptor < 0:
            return self._step(seconds)
        poll.poll(seconds * 1000)
        return None

    def _step(self, seconds: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.running.wait(seconds)

    def __exit__(self, *_: object) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


class _Followed:
    """One output file, handed on while it grows: from the byte `begin` on, which is behind the frame once that came."""

    def __init__(self, file: BinaryIO, output: Callable[[str], None], frame: bytes) -> None:
        self._file = file
        self._output = output
        self._frame = frame
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.framed = not frame
        self.begin = self.position = 0

    def read(self, *, last: bool = False, limit: int | None = None) -> int:
        """Hand on what came since the last look, up to `limit`: a program may print faster than we read. How much."""
        if not self.framed:
            head = os.pread(self._file.fileno(), NOISE_LIMIT, 0)
            noise, self.framed, _ = _split(head, self._frame)
            if not self.framed:
                self.position = os.fstat(self._file.fileno()).st_size  # so that an endless one is ended too
                return 0
            self.begin = self.position = len(noise) + len(self._frame)
        before = self.position
        while piece := os.pread(self._file.fileno(), _READ, self.position):
            self.position += len(piece)
            if text := self._decoder.decode(piece):
                self._output(text)
            if limit is not None and self.position > limit:
                break
        if last and (text := self._decoder.decode(b"", final=True)):
            self._output(text)
        return self.position - before


def _split(content: bytes, frame: bytes) -> tuple[bytes, bool, bytes]:
    """What stands before the frame, whether it is there, and what comes after it."""
    before, found, after = content.partition(frame)
    return before, bool(found), after


class _Poured:
    """Standard output that goes into a file (0600) through our hands: what stands behind the frame, up to a limit.

    A pipe, unlike elsewhere: what prints into a file only reads its node, and may die when its reader did.
    """

    def __init__(self, path: Path, limit: int | None, frame: bytes) -> None:
        self._path = path
        self._limit = limit
        self._frame = frame
        self._head = b""
        self._size = 0
        self.framed = not frame
        self.ended = False
        self.file = _private(path)
        self.outlet, self.inlet = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.outlet, False)
        with suppress(OSError):  # a user may have no room for larger ones
            fcntl.fcntl(self.outlet, fcntl.F_SETPIPE_SZ, _MUCH)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.outlet)
        self.started()
        self.file.close()

    def started(self) -> None:
        """The program has its own end of the pipe now; without ours, its end is the end of what can be read."""
        if self.inlet >= 0:
            os.close(self.inlet)
            self.inlet = -1

    def read(self) -> None:
        """Take what is there, which is all of it once the program ended: a grandchild is not waited for.

        Raises OutputTooLarge, StepFailed.
        """
        for _ in range(_PIECES):
            try:
                piece = os.read(self.outlet, _MUCH)
            except BlockingIOError:
                return
            if not piece:
                self.ended = True
                return
            self._take(piece)

    def _take(self, piece: bytes) -> None:
        if not self.framed:
            whole = self._head + piece
            _, self.framed, piece = _split(whole, self._frame)
            self._head = b"" if self.framed else whole[:NOISE_LIMIT]
        if not self.framed:
            return
        self._size += len(piece)
        if self._limit is not None and self._size > self._limit:
            raise OutputTooLarge(f"more than {self._limit} bytes came for {self._path.name}")
        left = memoryview(piece)
        try:
            while left:
                left = left[self.file.write(left) :]
        except OSError as problem:
            raise StepFailed(
                f"{self._path} cannot be written: {problem.strerror}", hint=f"Look there: df -h {self._path.parent}"
            ) from problem

    def noise(self) -> str:
        """What came in place of the frame; nothing once that came."""
        return self._head.decode("utf-8", errors="replace")


def _end_group(running: subprocess.Popen[bytes]) -> None:
    """Ask the group to end, then make it. A process that the kernel does not let go is left behind."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(running.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            running.wait(_GRACE)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(running.pid, signal.SIGKILL)


def _memory() -> BinaryIO:
    """A file without a name, in memory where the kernel has that: a full disk must not fail a program's printing."""
    try:
        return os.fdopen(os.memfd_create("upgrade-guard", os.MFD_CLOEXEC), "w+b", buffering=0)
    except (AttributeError, OSError):
        return tempfile.TemporaryFile(buffering=0)


def _sink(stack: ExitStack, command: Command, spool_dir: Path | None, kind: str) -> tuple[BinaryIO, Path | None]:
    """Where output goes: to a file for a change, so that it can be read after our own death; else to memory."""
    if not (command.changes and spool_dir):
        return stack.enter_context(_memory()), None
    spool_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f"{Path(command.argv[0]).name}-", suffix=f".{kind}", dir=spool_dir)
    return stack.enter_context(os.fdopen(descriptor, "w+b", buffering=0)), Path(name)


def _private(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "wb", buffering=0)


def _stdin(stack: ExitStack, source: bytes | Path | None) -> BinaryIO | int:
    if source is None:
        return subprocess.DEVNULL
    if isinstance(source, Path):
        return stack.enter_context(source.open("rb"))
    file = stack.enter_context(_memory())
    left = memoryview(source)
    while left:
        left = left[os.write(file.fileno(), left) :]
    file.seek(0)
    return file


def _text(file: BinaryIO, begin: int, limit: int) -> str:
    """The last `limit` bytes after `begin`: complete for anything that a parser reads."""
    size = os.fstat(file.fileno()).st_size
    position = max(begin, size - limit)
    pieces = []
    while piece := os.pread(file.fileno(), 1024 * 1024, position):
        position += len(piece)
        pieces.append(piece)
    return b"".join(pieces).decode("utf-8", errors="replace")


def _revealed(word: str) -> str:
    return word.reveal() if isinstance(word, Secret) else word


def _remove(*paths: Path | None) -> None:
    for path in paths:
        if path is not None:
            path.unlink(missing_ok=True)


def _not_started(program: str, status: int, reason: str, began: float, *paths: Path | None) -> Result:
    _remove(*paths)
    return Result(exit_status=status, stderr=f"{program}: {reason}\n", duration=time.monotonic() - began)
