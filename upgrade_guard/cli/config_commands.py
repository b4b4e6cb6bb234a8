"""`config init` and `config show`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from upgrade_guard.cli.fast_commands import QuickCommand, QuickGroup
from upgrade_guard.cli.invocation import Front
from upgrade_guard.errors import Refused, UsageProblem

commands = typer.Typer(
    cls=QuickGroup, no_args_is_help=True, rich_markup_mode=None, help="Write a configuration; see the effective one."
)


def register(app: typer.Typer) -> None:
    """Add the group to the program."""
    app.add_typer(commands, name="config")


@commands.command("init", cls=QuickCommand)
def init(
    context: typer.Context,
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="Where to write it. [default: --config, else where it is looked for]",
        ),
    ] = None,
) -> None:
    """Write a commented configuration file. An existing file is never overwritten."""
    from upgrade_guard import config
    from upgrade_guard.config.text import sample

    front = Front.of(context)
    system, own = config.candidate_paths(os.environ)
    named = (
        path or front.config_path or (Path(environ) if (environ := os.environ.get("UPGRADE_GUARD_CONFIG")) else None)
    )
    target = named or (system if os.geteuid() == 0 else own)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise Refused(
            f"{target} exists and is left as it is", hint=f"upgrade-guard --config {target} config show"
        ) from None
    except OSError as problem:
        raise UsageProblem(
            f"{target}: cannot be written: {problem.strerror}", hint="upgrade-guard config init ./upgrade-guard.toml"
        ) from None
    with os.fdopen(descriptor, "w") as file:
        file.write(sample())
    front.answer({"path": str(target)}, lambda: f"Written: {target}")


@commands.command("show", cls=QuickCommand)
def show(context: typer.Context) -> None:
    """Print the effective settings, and where each came from."""
    from upgrade_guard.config.text import effective

    front = Front.of(context)
    settings = front.settings_alone()
    values = effective(settings.config)

    def shown() -> object:
        from rich.console import Group

        from upgrade_guard.ui import tables

        where = f"File: {settings.path}" if settings.path else "No configuration file was found: these are defaults."
        return Group(where, tables.settings(values, settings.origins))

    answer = {
        "path": str(settings.path) if settings.path else None,
        "values": settings.config,
        "origins": dict(settings.origins),
    }
    front.answer(answer, shown)
