"""The one door of every command: global options anywhere, one place where errors become exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import typer

from upgrade_guard.cli.fast_commands import QuickGroup
from upgrade_guard.cli.invocation import Front
from upgrade_guard.errors import DecisionNeeded, Interrupted, UsageProblem

GLOBAL_OPTIONS: tuple[tuple[str, str, str], ...] = (
    (
        "--config PATH",
        "config_path",
        (
            "The configuration file. [default: $UPGRADE_GUARD_CONFIG, /etc/upgrade-guard/config.toml, "
            "~/.config/upgrade-guard/config.toml]"
        ),
    ),
    (
        "--state-dir PATH",
        "state_dir",
        (
            "Journal, logs and lock. [default: $UPGRADE_GUARD_STATE_DIR, the configuration, "
            "/var/lib/upgrade-guard as root, the XDG state directory]"
        ),
    ),
    ("--json", "json", "One JSON object on stdout, and nothing else there."),
    ("-q, --quiet", "quiet", "No progress, only answers and problems."),
    ("-v, --verbose", "verbose", "Show every command and its output."),
    ("--no-color", "no_color", "No colors; NO_COLOR is honoured too."),
)
_FLAGS = {
    spelling: name
    for spellings, name, _ in GLOBAL_OPTIONS
    if "PATH" not in spellings
    for spelling in spellings.split(", ")
}
_VALUES = {spelling.split()[0]: name for spelling, name, _ in GLOBAL_OPTIONS if "PATH" in spelling}


def without_global_options(words: Sequence[str], front: Front) -> list[str]:
    """Note the global options in `front` and return the other words. They may stand anywhere up to `--`.

    They are read here and not by typer because typer 0.29 imports pydantic for the first option with a value, which
    doubles the time that `status` takes to start. Raises UsageProblem when a path is missing.
    """
    rest: list[str] = []
    paths: dict[str, str] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if word == "--":
            rest += [word, *left]
            break
        if word in _FLAGS:
            front.note_flag(_FLAGS[word])
        elif name in _VALUES:
            paths[name] = value if equals else left.pop(0) if left else ""
        else:
            rest.append(word)
    for name, path in paths.items():
        if not path:
            raise UsageProblem(f"{name} needs a path", hint="upgrade-guard --help")
        setattr(front, _VALUES[name], Path(path))
    return rest


class Door(QuickGroup):
    """The root group. Whatever a command raises ends here, as text or as the JSON envelope, with its exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - the signature that typer calls
        windows_expand_args: bool = True,  # noqa: FBT001, FBT002
        **extra: Any,
    ) -> NoReturn:
        """Run one command and exit. Raises SystemExit, nothing else."""
        del standalone_mode
        front = Front()
        problem: Exception | None = None
        exit_code = 0
        try:
            words = without_global_options(sys.argv[1:] if args is None else args, front)
            front.command = self._command_in(words)
            outcome = super().main(
                args=words,
                prog_name=prog_name or "upgrade-guard",
                complete_var=complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                obj=front,
                **extra,
            )
            exit_code = outcome if isinstance(outcome, int) else 0
        except Exception as raised:  # noqa: BLE001 - this is the one place that turns every problem into an exit code
            problem = raised
        sys.exit(front.conclude(problem) or exit_code)

    def format_options(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """The global options first, then typer's own list and the commands."""
        with formatter.section("Options of every command, before or after it"):
            formatter.write_dl([(spelling, meaning) for spelling, _, meaning in GLOBAL_OPTIONS])
        super().format_options(ctx, formatter)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command; an interrupt while nothing is recorded, or a closed terminal, becomes a GuardError."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            message = str(interrupt) or "stopped on request; the journal is consistent"
            raise Interrupted(message, hint="upgrade-guard status") from None
        except EOFError:
            raise DecisionNeeded("the question was left without an answer", hint="upgrade-guard status") from None
        except typer.Abort:
            raise Interrupted("stopped on request", hint="upgrade-guard status") from None
        except BrokenPipeError:
            from upgrade_guard.ui.console import discard

            discard(sys.stdout)
            return None

    def _command_in(self, words: Sequence[str]) -> str:
        """The command's full name, as the envelope says it even when its options are wrong."""
        names: list[str] = []
        group: Any = self
        for word in words:
            found = getattr(group, "commands", {}).get(word)
            if found is None:
                break
            names.append(word)
            group = found
        return " ".join(names)
