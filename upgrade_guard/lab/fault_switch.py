"""Switch faults on and off: some change the world at once, the others wait for their moment."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable
from pathlib import Path

from upgrade_guard.errors import StepFailed, UsageProblem
from upgrade_guard.lab import certificates, faults, kubeadm_files, launchers, power, processes
from upgrade_guard.lab.controllers import judge_budget
from upgrade_guard.lab.faults import Fault, named
from upgrade_guard.lab.gateway import EtcdAway, EtcdRefused
from upgrade_guard.lab.layout import Layout, NotALab, load_settings, write_json
from upgrade_guard.lab.simulation import Simulation, opened

__all__ = ["MACHINE_LOST", "Fault", "check", "named", "stop_watchers", "switch_off", "switch_on"]

EXPIRED = dt.timedelta(days=-1)
MACHINE_LOST = "machine-lost"
NEED_THREE = (MACHINE_LOST, "second-apiserver-never-ready")


def switch_on(directory: Path, name: str) -> None:
    """Switch a fault on; once more, as if it had never fired. Raises UsageProblem for an unknown name or no lab."""
    _change(directory, named(name), on=True)


def switch_off(directory: Path, name: str) -> None:
    """Switch a fault off, and take back what it changed at once. Raises UsageProblem."""
    _change(directory, named(name), on=False)


def check(fault: Fault, control_planes: int, *, over_ssh: bool) -> None:
    """Can such a lab have this fault? Raises UsageProblem."""
    if fault.name not in NEED_THREE:
        return
    new = f"--control-planes 3 --fault {fault.name}"
    if control_planes < 3:
        raise UsageProblem(f"{fault.name} needs three control planes, not {control_planes}", hint=new)
    if fault.name == MACHINE_LOST and not over_ssh:
        raise UsageProblem(
            f"{fault.name} needs a lab whose nodes are reached over ssh: a local one is never out of reach",
            hint=f"make a new lab with {new}",
        )


def _change(directory: Path, fault: Fault, *, on: bool) -> None:
    directory = directory.expanduser().resolve()
    try:
        settings = load_settings(directory)
    except NotALab as problem:
        raise UsageProblem(str(problem), hint=f"make one: upgrade-guard lab up --dir {directory}") from problem
    if on:
        check(fault, len(settings.control_planes), over_ssh=settings.over_ssh)
    with opened(directory) as lab:
        (faults.arm if on else faults.disarm)(directory, fault.name)
        change = AT_ONCE.get(fault.name)
        try:
            if change is not None:
                change(lab, on=on)
            launchers.put_hooks(lab.settings)
        except (EtcdAway, EtcdRefused) as problem:
            raise StepFailed(f"{fault.name} needs a cluster that answers: {problem}") from problem


def _alarm(lab: Simulation, *, on: bool) -> None:
    """Raise or disarm NOSPACE in the real etcd, for the member that is asked."""
    gateway = lab.gateway(lab.settings.control_planes[0])
    member = gateway.call("/v3/maintenance/status", {})["header"]["member_id"]
    action = "ACTIVATE" if on else "DEACTIVATE"
    gateway.call("/v3/maintenance/alarm", {"action": action, "memberID": member, "alarm": "NOSPACE"})


def _expire(lab: Simulation, *, on: bool) -> None:
    first = lab.settings.control_planes[0]
    certificates.issue(
        next(leaf for leaf in certificates.LEAVES if leaf.name == "apiserver"),
        lab.layout.kubernetes(first),
        node=first,
        address=lab.settings.addresses[first],
        server=kubeadm_files.server_url(lab.settings, first, "apiserver"),
        life=EXPIRED if on else certificates.LEAF_LIFE,
    )


def _block_drains(lab: Simulation, *, on: bool) -> None:
    if lab.world is None:
        raise EtcdAway("no API server answers")
    budget = lab.world.get("poddisruptionbudgets", "shop", "shop")
    if budget is not None:
        budget["spec"]["maxUnavailable"] = 0 if on else 1
        budget["metadata"]["generation"] += 1
        judge_budget(budget, lab.world)
        lab.settle()


def _bring_back(lab: Simulation, *, on: bool) -> None:
    """Switched on it waits for its moment; switched off, the machine has power again."""
    if not on:
        power.boot(lab, lab.settings.control_planes[-1])


def _watch_offsite(lab: Simulation, *, on: bool) -> None:
    """A process spoils what is written to the off-site directory: storage that hands back other bytes."""
    stop_watchers(Path(lab.settings.directory))
    if not on:
        return
    package = str(Path(__file__).resolve().parents[2])
    code = (
        f"import sys; sys.path.insert(0, {package!r}); from upgrade_guard.lab.rot import rot; "
        f"rot({lab.settings.offsite!r})"
    )
    log = lab.layout.lab / "rot.log"
    pid, begun = processes.start((sys.executable, "-I", "-S", "-c", code), log)
    write_json(_watchers(lab.layout), {"pid": pid, "begun": begun})


def stop_watchers(directory: Path) -> None:
    """End the process of that fault."""
    path = _watchers(Layout(directory))
    if path.exists():
        known = json.loads(path.read_text())
        processes.stop(known["pid"], known["begun"], 1.0)
        path.unlink()


def _watchers(layout: Layout) -> Path:
    return layout.lab / "rot.json"


AT_ONCE: dict[str, Callable[..., None]] = {
    "certificate-expired": _expire,
    "drain-blocked": _block_drains,
    "etcd-alarm": _alarm,
    MACHINE_LOST: _bring_back,
    "offsite-copy-differs": _watch_offsite,
}
