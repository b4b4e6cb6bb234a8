"""The one door of every command: global options anywhere, one place where errors become exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from upgrade_guard.cli.front import Front
from upgrade_guard.errors import DecisionNeeded, Interrupted

_FLAGS = {
    "--json": "json",
    "--quiet": "quiet",
    "-q": "quiet",
    "--verbose": "verbose",
    "-v": "verbose",
    "--no-color": "",
}
_VALUES = ("--config", "--state-dir")


def hoisted(words: Sequence[str]) -> list[str]:
    """The same words with the global options first: they may stand before or after the command, up to `--`."""
    first: list[str] = []
    rest: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            rest += [word, *left]
            break
        if word in _FLAGS or word.startswith(tuple(f"{name}=" for name in _VALUES)):
            first.append(word)
        elif word in _VALUES:
            first += [word, *left[:1]]
            del left[:1]
        else:
            rest.append(word)
    return first + rest


class Door(TyperGroup):
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
        words = hoisted(sys.argv[1:] if args is None else args)
        front = Front(command=self._command_in(words), json="--json" in words)
        front.quiet = "--quiet" in words or "-q" in words
        problem: Exception | None = None
        exit_code = 0
        try:
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
        try:
            exit_code = front.conclude(problem) or exit_code
            sys.stdout.flush()
        except BrokenPipeError:
            from upgrade_guard.ui.console import discard

            discard(sys.stdout)
        sys.exit(exit_code)

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
        skip = False
        for word in words:
            if skip or word.startswith("-"):
                skip = not skip and word in _VALUES
                continue
            found = getattr(group, "commands", {}).get(word)
            if found is None:
                break
            names.append(word)
            group = found
        return " ".join(names)
