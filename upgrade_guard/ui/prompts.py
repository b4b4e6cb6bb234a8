"""The only room that asks. It refuses without a terminal and names the flag that would have answered."""

from __future__ import annotations

import getpass
import os
import sys
import termios
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TextIO

from upgrade_guard.errors import DecisionNeeded
from upgrade_guard.model.run import ApprovalRecord
from upgrade_guard.ui.vocabulary import visible

YES = "yes"


def operator() -> str:
    """Who sits here: the person behind sudo when there is one."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


@dataclass(frozen=True)
class Prompts:
    """Questions to the person at the terminal.

    `interactive` says whether one is there (stdin and stderr are terminals: questionary itself would read a pipe),
    `to` is where questions are written, `aside` takes a live display away while one is asked.
    """

    interactive: bool
    to: TextIO
    now: Callable[[], datetime]
    by: str = field(default_factory=operator)
    aside: Callable[[], AbstractContextManager[None]] = nullcontext

    def approve(self, subject: str, shown: str, step: str, *, flag: str = "") -> ApprovalRecord:
        """A yes to `subject` after showing `shown`; `flag` is the one that said yes already ("" for none).

        Raises DecisionNeeded without a terminal, and when the answer is no.
        """
        if flag:
            return ApprovalRecord(subject, self.by, flag, "yes", self.now())
        self._must_be_there(subject, "upgrade-guard resume --yes")
        with self.aside():
            self._show(shown)
            said = self._typed(f"{visible(subject)} Type {YES} to go on:")
        if said.lower() != YES:
            raise DecisionNeeded(
                f"not approved: {subject}",
                hint="upgrade-guard resume asks again, upgrade-guard abort closes the run",
                reasons=(f"{self.by} answered no at {step}",),
            )
        return ApprovalRecord(subject, self.by, "prompt", "yes", self.now())

    def confirm(self, question: str, *, flag: str, hint: str) -> ApprovalRecord:
        """An ordinary yes; `flag` is the one that gave it already, `hint` the command with that flag.

        Raises DecisionNeeded without a terminal, and when the answer is no.
        """
        if flag:
            return ApprovalRecord(question, self.by, flag, "yes", self.now())
        self._must_be_there(question, hint)
        with self.aside():
            self._forget_what_was_typed()
            said = self._questionary().confirm(visible(question), default=False, **self._output()).unsafe_ask()
        if not said:
            raise DecisionNeeded(f"not confirmed: {question}", hint=hint)
        return ApprovalRecord(question, self.by, "prompt", "yes", self.now())

    def confirm_cluster(self, cluster: str, cost: str, *, given: str | None, hint: str) -> ApprovalRecord:
        """The cluster's name, typed by a person or given by --confirm-cluster: for what loses writes.

        Raises DecisionNeeded when it is missing or another name.
        """
        if given is not None:
            if given != cluster:
                raise DecisionNeeded(f"--confirm-cluster says {given!r}, but the cluster is {cluster!r}", hint=hint)
            return ApprovalRecord(cost, self.by, "--confirm-cluster", given, self.now())
        self._must_be_there(cost, hint)
        with self.aside():
            self._show(cost)
            said = self._typed(f"Type the name of the cluster ({visible(cluster)}) to go on:")
        if said != cluster:
            raise DecisionNeeded(f"{said!r} is not the cluster's name, {cluster!r}", hint=hint)
        return ApprovalRecord(cost, self.by, "prompt", said, self.now())

    def choose(self, question: str, choices: Sequence[tuple[str, str]], *, hint: str) -> str:
        """One of the (value, why) choices. Raises DecisionNeeded without a terminal, with the choices as reasons."""
        if not self.interactive:
            raise DecisionNeeded(question, hint=hint, reasons=tuple(f"{value}: {why}" for value, why in choices))
        questionary = self._questionary()
        offered = [questionary.Choice(title=f"{value}  {visible(why)}", value=value) for value, why in choices]
        with self.aside():
            self._forget_what_was_typed()
            said = questionary.select(visible(question), choices=offered, **self._output()).unsafe_ask()
        return str(said)

    def _typed(self, question: str) -> str:
        """A whole word for what cannot be taken back: one key is pressed too easily."""
        self._forget_what_was_typed()
        return str(self._questionary().text(question, **self._output()).unsafe_ask()).strip()

    def _forget_what_was_typed(self) -> None:
        """Keys that were typed before the question was there answer nothing."""
        from prompt_toolkit.application import get_app_session
        from prompt_toolkit.input.typeahead import clear_typeahead

        clear_typeahead(get_app_session().input)
        try:
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
        except (termios.error, OSError, ValueError):
            return  # no terminal: questionary reads from something else

    def _must_be_there(self, question: str, hint: str) -> None:
        if not self.interactive:
            raise DecisionNeeded(f"an answer is needed and there is no terminal to ask on: {question}", hint=hint)

    def _show(self, text: str) -> None:
        if text:
            self.to.write(visible(text.expandtabs()).rstrip("\n") + "\n")
            self.to.flush()

    def _output(self) -> dict[str, Any]:
        # prompt_toolkit writes to stdout by default, which belongs to the answer.
        from prompt_toolkit.output import create_output

        return {"output": create_output(stdout=self.to)}

    def _questionary(self) -> Any:
        import questionary

        return questionary
