"""The journal, the cluster and this machine, opened for one command. Everything heavy is imported when it is needed."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from upgrade_guard.model.run import Run

if TYPE_CHECKING:
    from upgrade_guard.config import Config
    from upgrade_guard.hosts.base import Host
    from upgrade_guard.journal import Journal
    from upgrade_guard.model.clock import Clock
    from upgrade_guard.nodes.site import Site


def now() -> datetime:
    """Aware UTC, as this machine tells it."""
    return datetime.now(UTC)


def operator() -> str:
    """Who started this process."""
    from upgrade_guard.ui.prompts import operator as who

    return who()


@contextmanager
def writing(config: Config) -> Iterator[Journal]:
    """The journal for a command that goes on with a run: locked, migrated. Raises LockHeld and JournalProblem."""
    from upgrade_guard.journal import Journal, RunLock

    command = shlex.join(["upgrade-guard", *sys.argv[1:]])
    with RunLock(config.lock_path, command=command), Journal.open(config.journal_path, now) as journal:
        yield journal


@contextmanager
def reading(config: Config) -> Iterator[Journal | None]:
    """The journal for a command that only looks: nothing is created or migrated. None when there is none."""
    from upgrade_guard.journal import Journal

    journal = Journal.read(config.journal_path)
    with nullcontext(None) if journal is None else journal as opened:
        yield opened


def open_run(config: Config) -> Run | None:
    """The run that is open, seen without touching anything: a refusal must not leave a journal behind."""
    with reading(config) as journal:
        return journal.open_run() if journal is not None else None


@contextmanager
def looking(config: Config) -> Iterator[Site]:
    """The cluster for a command that looks at it outside of a run: nothing is recorded."""
    from upgrade_guard.engine.interruption import Interruption, SystemClock
    from upgrade_guard.hosts.transcript import SilentTranscript
    from upgrade_guard.nodes.site import Site

    interruption = Interruption()
    with interruption.install():
        yield Site.build(
            config, transcript=SilentTranscript(), clock=SystemClock(interruption), recorded=lambda: _recorded(config)
        )


def _recorded(config: Config) -> Mapping[str, Mapping[str, str]]:
    from upgrade_guard.nodes.etcd_programs import PROGRAMS, recorded_in

    with reading(config) as journal:
        return {} if journal is None else recorded_in(journal.results_of(PROGRAMS))


@contextmanager
def this_machine() -> Iterator[tuple[Host, Clock]]:
    """Where timers are installed, and what time it is here."""
    from upgrade_guard.engine.interruption import Interruption, SystemClock
    from upgrade_guard.hosts.local import LocalHost

    interruption = Interruption()
    with interruption.install():
        yield LocalHost("here"), SystemClock(interruption)
