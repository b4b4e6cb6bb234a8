"""The program: its commands and the options that all of them share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from upgrade_guard import __version__
from upgrade_guard.cli import config_commands, lab, look, upgrade
from upgrade_guard.cli.door import Door
from upgrade_guard.cli.front import Front

app = typer.Typer(
    cls=Door,
    name="upgrade-guard",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help starts in half the time, and can be copied
    help="Take a kubeadm cluster through an upgrade behind a gate that only a proven etcd snapshot opens, and bring it "
    "back if the upgrade fails.",
    epilog="The options above may stand before or after the command.",
)


def _version(context: typer.Context, wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        Front.of(context).answer({"version": __version__}, lambda: f"upgrade-guard {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            help="The configuration file. [default: $UPGRADE_GUARD_CONFIG, /etc/upgrade-guard/config.toml, "
            "~/.config/upgrade-guard/config.toml]",
            show_default=False,
        ),
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            help="Journal, logs and lock. [default: $UPGRADE_GUARD_STATE_DIR, the configuration, "
            "/var/lib/upgrade-guard as root, the XDG state directory]",
            show_default=False,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, and nothing else there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only answers and problems.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every command and its output.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colors; NO_COLOR is honoured too.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Note the options that all commands share."""
    del version
    front = Front.of(context)
    front.config_path, front.state_dir = config, state_dir
    front.json, front.quiet, front.verbose, front.color = json, quiet, verbose, not no_color


upgrade.register(app)
look.register(app)
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
