"""This machine as a host."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from upgrade_guard.hosts.base import Transcript, check_name
from upgrade_guard.hosts.process import of_programs, run_process
from upgrade_guard.hosts.transcript import SilentTranscript
from upgrade_guard.model.command import Command, Result


class LocalHost:
    """Runs commands here. `path` replaces PATH for them when given; of the rest of our environment they get a list.

    `spool_dir` (0700, made when needed) holds the output of a changing command while it runs, so that it is still
    there when our own process was killed; it is removed when the command ends.
    """

    def __init__(
        self, name: str, transcript: Transcript | None = None, *, path: str = "", spool_dir: Path | None = None
    ) -> None:
        self._name = check_name(name)
        self._transcript = transcript or SilentTranscript()
        self._path = path
        self._spool_dir = spool_dir

    @property
    def name(self) -> str:
        """What people call it."""
        return self._name

    def run(self, command: Command) -> Result:
        """Run it here and wait. A timeout gives `exit_status` None; a program that is not there 127."""
        started_at = datetime.now(UTC)
        self._transcript.started(self._name, command)
        result = run_process(
            command,
            command.argv,
            environment=of_programs(os.environ, self._path),
            timeout=command.timeout,
            spool_dir=self._spool_dir,
            output=lambda text: self._transcript.output(self._name, text),
        )
        self._transcript.finished(self._name, command, result, started_at)
        return result
