"""Someone who types upgrade-guard: on a bastion over ssh, or on the control plane itself."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from proving.cluster import Cluster
from proving.kubeadm_files import IGNORED

PROGRAM = str(Path(sys.executable).parent / "upgrade-guard")
TIMEOUT = 3600.0
"""Seconds for one command: three control planes took a third of it on a machine with a load of twenty."""
PACE = 0.02
"""Seconds between two looks for a moment: some of what is waited for lives for a second."""


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said on its way."""

    status: int
    said: str
    answer: str

    @property
    def data(self) -> Any:
        """What `--json` answered."""
        told = json.loads(self.answer)
        assert told["schema"] == 1
        return told["data"]


@dataclass
class Operator:
    """`program` is typed, `state` is the state directory as this machine sees it, `mark` is in the process's argv."""

    cluster: Cluster
    program: tuple[str, ...]
    state: Path
    mark: str
    started: list[Started] = field(default_factory=list)

    def run(self, *argv: str) -> Ended:
        return self.start(*argv).wait()

    def start(self, *argv: str) -> Started:
        began = Started(self, argv)
        self.started.append(began)
        return began

    def stop_all(self) -> None:
        """Leave no process behind, whatever happened."""
        for one in self.started:
            one.end()

    def journal(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the newest run's journal; none before there is one."""
        path = self.state / "journal.sqlite"
        if not path.exists():
            return []
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return connection.execute(query, values).fetchall()
        except sqlite3.OperationalError:
            return []  # it is only being made
        finally:
            connection.close()

    def stands_at(self) -> str:
        """The state of the newest run."""
        rows = self.journal("SELECT state FROM runs ORDER BY seq DESC LIMIT 1")
        return str(rows[0][0]) if rows else ""

    def doing(self, step: str) -> bool:
        """Is the newest run at a step whose name ends like this?"""
        rows = self.journal("SELECT name, outcome FROM steps ORDER BY seq DESC LIMIT 1")
        return bool(rows) and str(rows[0][0]).endswith(step) and rows[0][1] == "started"

    def wrote_after_the_snapshot(self) -> bool:
        """A ConfigMap that is newer than the snapshot, written as soon as the run has one. False until then."""
        if self.stands_at() not in ("copied", "planned"):
            return False
        self.cluster.kubectl("create", "configmap", "after")
        return True

    def moments(self) -> list[tuple[datetime, str, str]]:
        """When the newest run moved: the time, from where, to where; its beginning first."""
        began = self.journal("SELECT started_at FROM runs ORDER BY seq DESC LIMIT 1")
        moves = self.journal(
            "SELECT at, from_state, to_state FROM transitions"
            " WHERE run_id = (SELECT id FROM runs ORDER BY seq DESC LIMIT 1) ORDER BY seq"
        )
        first = [(datetime.fromisoformat(row[0]), "", "started") for row in began]
        return first + [(datetime.fromisoformat(at), old, new) for at, old, new in moves]


class Started:
    """A command that is under way."""

    def __init__(self, operator: Operator, argv: tuple[str, ...]) -> None:
        self._operator = operator
        self._argv = argv
        self._said: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `end`
        self._answer: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `end`
        self._running = subprocess.Popen(
            (*operator.program, *argv), stdin=subprocess.DEVNULL, stdout=self._answer, stderr=self._said
        )

    def when(self, came: Callable[[], bool], timeout: float = TIMEOUT) -> Started:
        """Wait for a moment of this command. Fails when it ends before, or when the moment does not come."""
        deadline = time.monotonic() + timeout
        while not came():
            if self._running.poll() is not None:
                ended = self.wait()
                raise AssertionError(f"{self._argv} ended with {ended.status} before its moment came:\n{ended.said}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._argv}: the moment did not come")
            time.sleep(PACE)
        return self

    def kill(self) -> None:
        """SIGKILL to upgrade-guard alone: what it started goes on."""
        self.signal(signal.SIGKILL)
        self.wait()

    def signal(self, number: signal.Signals) -> None:
        """To the process itself, wherever it runs."""
        os.kill(self._process(), number)

    def wait(self) -> Ended:
        status = self._running.wait(timeout=TIMEOUT)
        for file in (self._said, self._answer):
            file.seek(0)
        return Ended(status, self._said.read(), self._answer.read())

    def end(self) -> None:
        if self._running.poll() is None:
            self.kill()
        self._said.close()
        self._answer.close()

    def _process(self) -> int:
        if self._operator.mark == PROGRAM:
            return self._running.pid
        for number, argv in self._operator.cluster.control_plane.processes().items():
            if self._operator.mark in argv and self._argv[0] in argv:
                return number
        raise AssertionError(f"no process of {self._argv} is on {self._operator.cluster.control_plane.name}")


def policy() -> str:
    """What an operator of such a cluster sets beside addresses: nothing in it exists only for tests."""
    ignored = ", ".join(f'"{one}"' for one in IGNORED)
    return f"[upgrade]\nignore_preflight_errors = [{ignored}]\n"


def outside(cluster: Cluster, name: str) -> Operator:
    """On this machine, as on a bastion: an empty state directory and an empty off-site target under `name`."""
    place = cluster.directory / name
    place.mkdir(mode=0o700)
    (place / "offsite").mkdir(mode=0o700)
    path = place / "config.toml"
    path.write_text(
        f'state_dir = "{place}/state"\n'
        f'[cluster]\nname = "{cluster.name}"\ncontrol_plane = "root@{cluster.control_plane.address}"\n'
        f'[ssh]\nuser = "root"\nidentity_file = "{cluster.directory}/id_ed25519"\n'
        f'options = ["UserKnownHostsFile={cluster.directory}/known_hosts", "StrictHostKeyChecking=yes"]\n'
        f'[vault]\noffsite = ["file://{place}/offsite"]\nallow_unencrypted_keys = true\n{policy()}'
    )
    return Operator(cluster, (PROGRAM, "--config", str(path)), place / "state", PROGRAM)
