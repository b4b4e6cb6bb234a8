"""The program: its commands and the options that all of them share."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, Any

import typer

from upgrade_guard import __version__
from upgrade_guard.cli import (
    abort,
    audit,
    backup,
    check,
    config_commands,
    history,
    lab,
    plan,
    report,
    restore,
    resume,
    rollback,
    run,
    show,
    status,
)
from upgrade_guard.cli.invocation import STANDARD_OUTPUT, Front
from upgrade_guard.cli.root_command import Door

app = typer.Typer(
    cls=Door,
    name="upgrade-guard",
    no_args_is_help=True,
    add_completion=False,  # its options alone would make every start twice as slow
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
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


# In the order in which `--help` lists them.
for verb in (
    run,
    resume,
    rollback,
    abort,
    status,
    plan,
    check,
    history,
    show,
    backup,
    report,
    audit,
    restore,
    config_commands,
    lab,
):
    verb.register(app)


def _open_streams() -> None:
    """Give a stream that the caller closed (`>&-`) to /dev/null: else a file of ours would get its number, and what is
    printed would land there."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free, which is the stream's own
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


class _StandardOutput(io.FileIO):
    """Says by its name that it is what could not be written: an error of a stream has no file name otherwise."""

    def write(self, content: Any, /) -> int:
        """The bytes that were taken. Raises OSError whose `filename` is STANDARD_OUTPUT."""
        try:
            return super().write(content)
        except OSError as problem:
            problem.filename = STANDARD_OUTPUT
            raise


def main() -> None:
    """Run the program on this process's own arguments and exit."""
    _open_streams()
    # What the world says may not fit the terminal's encoding; an answer must not end in a traceback for that.
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_StandardOutput(sys.stdout.fileno(), "w", closefd=False)),
        encoding=sys.stdout.encoding,
        errors="backslashreplace",
        line_buffering=sys.stdout.isatty(),
    )
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app(prog_name="upgrade-guard")


if __name__ == "__main__":
    main()
