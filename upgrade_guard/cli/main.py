"""The program: its commands and the options that all of them share."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from upgrade_guard import __version__
from upgrade_guard.cli import audit, backup, config_commands, lab, look, report, restore, upgrade
from upgrade_guard.cli.door import Door
from upgrade_guard.cli.front import Front

app = typer.Typer(
    cls=Door,
    name="upgrade-guard",
    no_args_is_help=True,
    add_completion=False,  # its options alone would make every start twice as slow
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help starts in half the time, and can be copied
    help="Take a kubeadm cluster through an upgrade behind a gate that only a proven etcd snapshot opens, and bring it "
    "back if the upgrade fails.",
)


def _version(context: typer.Context, wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        Front.of(context).answer({"version": __version__}, lambda: f"upgrade-guard {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Only --version is typer's own here; the other global options are the door's."""


upgrade.register(app)
look.register(app)
backup.register(app)
report.register(app)
audit.register(app)
restore.register(app)
config_commands.register(app)
lab.register(app)


def main() -> None:
    """Run the program on this process's own arguments and exit."""
    for stream in (sys.stdout, sys.stderr):
        # What the world says may not fit the terminal's encoding; an answer must not end in a traceback for that.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app(prog_name="upgrade-guard")


if __name__ == "__main__":
    main()
