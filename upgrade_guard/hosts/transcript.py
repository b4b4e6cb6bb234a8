"""What commands did, told to the journal and to the run's log."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from upgrade_guard.hosts.base import Transcript
from upgrade_guard.model.command import Command, Result
from upgrade_guard.model.run import CommandRow

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
TAIL = 4096  # bytes of output that the journal keeps of each stream


class SilentTranscript:
    """For reads outside a run: nobody listens."""

    def started(self, host: str, command: Command) -> None:
        """Nothing."""

    def output(self, host: str, text: str) -> None:
        """Nothing."""

    def finished(self, host: str, command: Command, result: Result, started_at: datetime) -> None:
        """Nothing."""


class SharedTranscript:
    """Several listeners as one, in order: the journal first, then the screen."""

    def __init__(self, *listeners: Transcript) -> None:
        self._listeners = listeners

    def started(self, host: str, command: Command) -> None:
        """Told to each."""
        for listener in self._listeners:
            listener.started(host, command)

    def output(self, host: str, text: str) -> None:
        """Told to each."""
        for listener in self._listeners:
            listener.output(host, text)

    def finished(self, host: str, command: Command, result: Result, started_at: datetime) -> None:
        """Told to each."""
        for listener in self._listeners:
            listener.finished(host, command, result, started_at)


@dataclass
class _Attempt:
    """The step's attempt for which commands run, and the reads that were noted in it."""

    run_id: str
    step: str = ""
    attempt: int = 0
    noted: set[str] = field(default_factory=set)
    asked: set[tuple[str, ...]] = field(default_factory=set)


class RunTranscript:
    """Writes the run's log while commands run, and hands each finished one to `note` as a CommandRow.

    The log (0600) is plain text with UTC times. A read that is repeated within one attempt with the same answer (a wait
    that polls) is noted and written once. A log that cannot be written does not stop a run: `log_problem` then says
    why.
    """

    def __init__(self, note: Callable[[CommandRow], None], log_path: Path, run_id: str) -> None:
        self._note = note
        self._log_path = log_path
        self._run_id = run_id
        self._lock = threading.Lock()
        self._thread = threading.local()  # a line that is not complete yet
        self._context: ContextVar[_Attempt | None] = ContextVar("attempt", default=None)
        self._descriptor: int | None = None
        self.log_problem = ""

    @contextmanager
    def attribution(self, run_id: str, step: str, attempt: int) -> Iterator[None]:
        """Commands belong to that attempt of that step until the block ends.

        So do those of a thread that runs in a copy of this context (`contextvars.copy_context`).
        """
        token = self._context.set(_Attempt(run_id, step, attempt))
        try:
            yield
        finally:
            self._context.reset(token)

    def started(self, host: str, command: Command) -> None:
        """One line with the argv, secrets masked."""
        self._thread.pending = ""
        attempt = self._attempt()
        question = (host, *command.shown)
        # Whether a question that is asked again is worth writing down, only its answer tells.
        self._thread.held = [] if not command.changes and question in attempt.asked else None
        attempt.asked.add(question)
        step = f"{attempt.step} " if attempt.step else ""
        self._tell(f"{_now()} {host} {step}$ {_printable(shlex.join(command.shown))}\n")

    def output(self, host: str, text: str) -> None:
        """Whole lines as they come; the rest of a line waits for its end."""
        *lines, pending = (getattr(self._thread, "pending", "") + text).split("\n")
        self._thread.pending = pending
        if lines:
            stamp = _now()
            self._tell("".join(f"{stamp} {host} | {_printable(line)}\n" for line in lines))

    def finished(self, host: str, command: Command, result: Result, started_at: datetime) -> None:
        """The last piece of output, how it ended, and a row for the journal."""
        if getattr(self._thread, "pending", ""):
            self.output(host, "\n")
        ended = "ran out of time" if result.exit_status is None else f"exit {result.exit_status}"
        self._tell(f"{_now()} {host} {ended} after {result.duration:.3f} s\n")
        held, self._thread.held = getattr(self._thread, "held", None), None
        attempt = self._attempt()
        if not command.changes:
            seen = _fingerprint(host, command, result)
            if seen in attempt.noted:
                return
            attempt.noted.add(seen)
        if held:
            self._write("".join(held))
        self._note(
            CommandRow(
                run_id=attempt.run_id,
                step=attempt.step,
                attempt=attempt.attempt,
                host=host,
                argv=command.shown,
                exit_status=result.exit_status,
                started_at=started_at,
                duration=result.duration,
                changes=command.changes,
                stdout=_tail(result.stdout),
                stderr=_tail(result.stderr),
            )
        )

    def _attempt(self) -> _Attempt:
        attempt = self._context.get()
        if attempt is None:
            attempt = _Attempt(self._run_id)
            self._context.set(attempt)
        return attempt

    def _tell(self, text: str) -> None:
        """Write it, or hold it until the answer is known."""
        held: list[str] | None = getattr(self._thread, "held", None)
        if held is None:
            self._write(text)
        else:
            held.append(text)

    def _write(self, text: str) -> None:
        with self._lock:
            try:
                if self._descriptor is None:
                    self._log_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
                    self._descriptor = os.open(self._log_path, flags, 0o600)
                os.write(self._descriptor, text.encode("utf-8", errors="replace"))
            except OSError as problem:
                self.log_problem = f"{self._log_path}: {problem.strerror}"

    def close(self) -> None:
        """Close the log."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _printable(line: str) -> str:
    """Control characters spelled out: whoever reads the log in a terminal sees text and nothing else."""
    return line if line.isprintable() else _CONTROL.sub(lambda found: repr(found[0])[1:-1], line)


def _tail(text: str) -> str:
    encoded = text.encode("utf-8", errors="replace")
    return encoded[-TAIL:].decode("utf-8", errors="ignore")


def _fingerprint(host: str, command: Command, result: Result) -> str:
    digest = hashlib.sha256()
    for word in (host, *command.shown, str(result.exit_status), result.stdout):
        digest.update(word.encode("utf-8", errors="replace") + b"\0")
    return digest.hexdigest()
