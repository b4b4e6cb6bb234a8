"""A node's machine loses its power, and gets it back: everything on it ends at once, its disk stays as it is."""

from __future__ import annotations

from pathlib import Path

from upgrade_guard.lab import containers, kubelet, launchers, processes, program_server
from upgrade_guard.lab.layout import Layout
from upgrade_guard.lab.simulation import Simulation, opened

KILLED = 137


def off(directory: Path, name: str) -> None:
    """Nothing runs there any more, and nobody gets there. A machine that is off stays off."""
    with opened(directory, reconcile=False) as lab:
        cut(lab, name)


def on(directory: Path, name: str) -> None:
    """It boots: systemd starts its kubelet, which starts what it finds in manifests/."""
    with opened(directory, reconcile=False) as lab:
        boot(lab, name)


def is_off(layout: Layout, name: str) -> bool:
    """Is the machine without power?"""
    return layout.off_mark(name).exists()


def cut(lab: Simulation, name: str) -> None:
    """The same as `off`, for a lab that is open."""
    layout, record = lab.layout, lab.records[name]
    # The mark first, so that nothing new begins; then the connections, which end as lost, not with their program.
    layout.off_mark(name).parent.mkdir(parents=True, exist_ok=True)
    layout.off_mark(name).touch()
    for connection in processes.running_with(str(layout.ssh), f"root@{name}"):
        processes.stop(*connection, containers.GRACE)
    for program in (*launchers.PROGRAMS, *launchers.ETCD_PROGRAMS):
        _kill(launchers.code(lab.settings, name, program))
    program_server.kill_programs(layout, name)
    _kill(f"--data-dir={layout.etcd(name)}")
    kubelet.stop(record)
    for container in record.containers:
        if container.runs:
            containers.end(container, KILLED)


def boot(lab: Simulation, name: str) -> None:
    """The same as `on`, for a lab that is open."""
    if not is_off(lab.layout, name):
        return
    lab.layout.off_mark(name).unlink()
    kubelet.start(lab.settings, lab.records[name])
    lab.reconcile()


def _kill(word: str) -> None:
    for process in processes.running_with(word):
        processes.kill(*process)
