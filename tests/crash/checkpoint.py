"""A lab as it stood at one moment, kept, and put back in its place as often as one likes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scenario.stage import Stage, until

from upgrade_guard.lab import fault_switch, processes, program_server
from upgrade_guard.lab.gateway import EtcdAway, Gateway
from upgrade_guard.lab.records import read_record, write_record
from upgrade_guard.lab.simulation import credentials


@dataclass(frozen=True)
class Checkpoint:
    """The directories of a lab and of its off-site copies. Its etcds are started anew on their data when put back."""

    stage: Stage
    kept: Path

    @classmethod
    def keep(cls, stage: Stage, place: Path) -> Checkpoint:
        """Copy everything, while no program of the lab runs and etcd holds still."""
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        with _still(stage):
            for number, directory in enumerate(_directories(stage)):
                _copy(directory, place / str(number))
        return cls(stage, place)

    def rest(self) -> None:
        """End everything that the lab runs."""
        fault_switch.stop_watchers(self.stage.lab.directory)
        program_server.stop(self.stage.lab.layout)
        for pid, _ in _etcds(self.stage):
            os.kill(pid, signal.SIGKILL)
        until(lambda: not _etcds(self.stage), what="the end of etcd")

    def put_back(self) -> None:
        """As it was."""
        self.rest()
        for number, directory in enumerate(_directories(self.stage)):
            shutil.rmtree(directory)
            _copy(self.kept / str(number), directory)
        program_server.start(self.stage.lab.settings)
        self._start_etcds()

    def _start_etcds(self) -> None:
        settings, layout = self.stage.lab.settings, self.stage.lab.layout
        started: list[str] = []
        for name in settings.control_planes:
            record = read_record(layout, name)
            etcd = record.static("etcd")
            if etcd is None or not etcd.runs:
                continue
            binary = str(Path(settings.etcd_binaries) / "etcd")
            log = layout.container_log(name, "etcd")
            etcd.pid, etcd.begun = processes.start((binary, *etcd.command[1:]), log)
            write_record(layout, record)
            started.append(name)
        for name in started:  # none of them answers before most of them run
            until(lambda name=name: self._answers(name), what=f"etcd on {name}")

    def _answers(self, name: str) -> bool:
        settings = self.stage.lab.settings
        context = credentials(self.stage.lab.layout).context()
        gateway = Gateway(settings.addresses[name], settings.ports.etcd_client, context)
        try:
            gateway.range("/")
        except EtcdAway:
            return False
        finally:
            gateway.close()
        return True


def _directories(stage: Stage) -> tuple[Path, Path]:
    return stage.lab.directory, stage.lab.offsite


def _copy(source: Path, target: Path) -> None:
    # etcd allocates its log in pieces of 64 MB, which are empty.
    argv = ("cp", "--archive", "--sparse=always", "--reflink=auto", "--no-target-directory", str(source), str(target))
    subprocess.run(argv, check=True, timeout=300)


def _etcds(stage: Stage) -> list[tuple[int, int]]:
    layout = stage.lab.layout
    return [
        found
        for name in stage.lab.settings.control_planes
        for found in processes.running_with(f"--data-dir={layout.etcd(name)}")
    ]


@contextmanager
def _still(stage: Stage) -> Iterator[None]:
    etcds = _etcds(stage)
    for pid, _ in etcds:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid, _ in etcds:
            os.kill(pid, signal.SIGCONT)
