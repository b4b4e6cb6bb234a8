"""`backup schedule`: a timer of this machine that makes backups."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upgrade_guard.cli.fast_commands import QuickCommand, QuickGroup
from upgrade_guard.cli.invocation import Front
from upgrade_guard.errors import GuardError, UsageProblem
from upgrade_guard.runs import resources
from upgrade_guard.vault.schedule import DAILY, UNIT

if TYPE_CHECKING:
    from upgrade_guard.config import Settings
    from upgrade_guard.vault.schedule import Schedule
    from upgrade_guard.vault.scheduling import TimerStanding

schedules = typer.Typer(
    cls=QuickGroup, no_args_is_help=True, rich_markup_mode=None, help="Let a timer of this machine make the backups."
)


def register(commands: typer.Typer) -> None:
    """Add the group to the group `backup`."""
    commands.add_typer(schedules, name="schedule")


@schedules.command("install", cls=QuickCommand)
def install(
    context: typer.Context,
    *,
    calendar: Annotated[
        str | None, typer.Option(metavar="TIMES", help=f"When, as in systemd.time(7). [default: {DAILY}]")
    ] = None,
    cron: Annotated[bool, typer.Option("--cron", help="Print a line for cron instead; nothing is installed.")] = False,
    unit: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"Another name: one for each configuration. [default: {UNIT}]")
    ] = None,
    unit_dir: Annotated[
        Path | None,
        typer.Option(
            help="Write the units there; for packages, where no systemd reads them. [default: /etc/systemd/system]"
        ),
    ] = None,
) -> None:
    """Install a systemd service and timer that run `backup create` with this configuration. Again replaces them."""
    from upgrade_guard.vault import schedule, scheduling

    front = Front.of(context)
    settings = front.settings()
    command = _command(front, settings)
    if cron:
        if calendar or unit or unit_dir:
            raise UsageProblem(
                "--cron prints a line with a time of its own, every day at two; the other options are systemd's",
                hint="upgrade-guard backup schedule install --cron",
            )
        line = schedule.cron_line(command)
        front.screen.tell("Add this line with crontab -e; its first five words say when.")
        front.screen.tell('So that a missed one is noticed, set in the configuration: [backup] max_age = "26h"')
        front.answer({"cron": line}, lambda: line)
        return
    directory = (unit_dir or scheduling.UNIT_DIR).absolute()
    user = pwd.getpwuid(os.geteuid()).pw_name
    with resources.this_machine() as (host, clock):
        wanted = scheduling.planned(
            calendar=calendar or DAILY,
            unit=schedule.unit_name(unit or UNIT),
            unit_dir=directory,
            host=host,
            clock=clock,
        )
        if str(directory) not in scheduling.READ_BY_SYSTEMD:
            scheduling.write_units(wanted, command, user)
            front.answer(_answer(wanted, None), lambda: _written(wanted))
            return
        scheduling.install(wanted, command, user=user, record=settings.config.schedule_path, host=host)
    timer, _ = _asked(wanted)
    front.answer(_answer(wanted, timer), lambda: _installed(front, wanted, timer))


def _command(front: Front, settings: Settings) -> tuple[str, ...]:
    """What the timer types: absolute paths, and the configuration in use."""
    if settings.path is None:
        raise UsageProblem(
            "a schedule needs a configuration file: nobody is there to type --offsite at night",
            hint="upgrade-guard config init",
        )
    script = Path(sys.executable).with_name("upgrade-guard")
    program = (str(script),) if script.exists() else (sys.executable, "-m", "upgrade_guard.cli.main")
    state_dir = (
        ("--state-dir", str(settings.config.state_dir)) if front.state_dir or _from_environment(settings) else ()
    )
    return (*program, "--config", str(settings.path.absolute()), *state_dir, "--quiet", "backup", "create")


def _from_environment(settings: Settings) -> bool:
    """A timer has not the environment of who installs it."""
    return settings.origins["state_dir"] == "UPGRADE_GUARD_STATE_DIR"


def _written(schedule: Schedule) -> str:
    return (
        f"Written: {schedule.service_path} and {schedule.timer_path.name}. No systemd reads them there.\n"
        f"Where they are installed: systemctl enable --now {schedule.timer_path.name}"
    )


def _installed(front: Front, schedule: Schedule, timer: TimerStanding | None) -> str:
    ahead = f" Next: {timer.next_at}." if timer and timer.next_at else ""
    return (
        f"Installed: {schedule.timer_path} ({schedule.calendar}).{ahead}\n"
        f"Try it now: systemctl start {schedule.service_path.name}; then: "
        f"{front.pasteable('upgrade-guard backup status')}"
    )


@schedules.command("show", cls=QuickCommand)
def show(context: typer.Context) -> None:
    """Show what is installed, when it starts next, and how the last start ended."""
    from upgrade_guard.vault.schedule import remembered

    front = Front.of(context)
    installed = remembered(front.settings().config.schedule_path)
    if installed is None:
        hint = front.pasteable("upgrade-guard backup schedule install")
        front.answer(None, lambda: f"No schedule is installed.\nNext: {hint}")
        return
    timer, trouble = _asked(installed)
    front.answer(_answer(installed, timer), lambda: _shown(installed, timer, trouble))


def _asked(schedule: Schedule) -> tuple[TimerStanding | None, str]:
    """What systemd says, or why it says nothing."""
    from upgrade_guard.vault.scheduling import look

    try:
        with resources.this_machine() as (host, clock):
            return look(schedule, host, clock), ""
    except GuardError as problem:
        return None, problem.message


def _shown(schedule: Schedule, timer: TimerStanding | None, trouble: str) -> str:
    lines = [f"Timer:   {schedule.timer_path}", f"Times:   {schedule.calendar}"]
    if not schedule.timer_path.exists():
        lines.append("State:   the timer's file is gone; install it again: upgrade-guard backup schedule install")
    elif timer is None:
        lines.append(f"State:   not known: {trouble}")
    else:
        lines += [f"State:   {timer.active}", f"Next:    {timer.next_at or 'never'}", f"Last:    {_last_words(timer)}"]
    lines.append(f"Output:  journalctl --unit {schedule.service_path.name}")
    return "\n".join(lines)


def _last_words(timer: TimerStanding) -> str:
    from upgrade_guard.ui import vocabulary

    if timer.last_ended_at is None:
        return "it never ran"
    return f"{vocabulary.moment(timer.last_ended_at)}, {timer.last_result}, exit {timer.last_exit_status}"


@schedules.command("remove", cls=QuickCommand)
def remove(context: typer.Context) -> None:
    """Stop the timer and remove its files. Backups that were made are kept."""
    from upgrade_guard.vault import scheduling
    from upgrade_guard.vault.schedule import remembered

    front = Front.of(context)
    record = front.settings().config.schedule_path
    installed = remembered(record)
    if installed is None:
        front.answer({"removed": []}, lambda: "No schedule is installed.")
        return
    with resources.this_machine() as (host, _clock):
        removed = scheduling.remove(installed, record=record, host=host)
    names = ", ".join(str(path) for path in removed) or "its files were gone already"
    front.answer({"removed": [str(path) for path in removed]}, lambda: f"Removed: {names}")


def _answer(schedule: Schedule, timer: TimerStanding | None) -> dict[str, Any]:
    return {"schedule": schedule, "timer_path": str(schedule.timer_path), "timer": timer}
