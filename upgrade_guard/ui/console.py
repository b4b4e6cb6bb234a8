"""Two consoles: stdout is the answer, stderr is the story, and a problem its last lines.

Markup in what the world says is not interpreted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from upgrade_guard.ui.nonblocking_stream import PatientStream, patient
from upgrade_guard.ui.vocabulary import one_line, visible

WIDTH_OF_A_PIPE = 160


class QuietPipeConsole(Console):
    """A console whose reader may leave: `upgrade-guard history | head` and a run whose terminal went away go on.

    What it prints cannot drive the terminal, whoever wrote it: node names and programs say what they like, and rich
    lets an escape sequence in a text through. Only rich's own styling is left alone.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Rich's segments, with control characters in their texts written out."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Nobody listens any more: say nothing from here on. The process keeps its own exit code."""
        self.quiet = True
        discard(self.file)


def discard(stream: object) -> None:
    """Point the stream's descriptor at nowhere, so that the interpreter's last flush does not complain either."""
    try:
        descriptor = stream.fileno()  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


@dataclass(frozen=True)
class Screen:
    """Where a command speaks. `quiet` keeps only errors and answers, `verbose` adds every command that is run."""

    answer: Console
    story: Console
    quiet: bool = False
    verbose: bool = False

    @property
    def live(self) -> bool:
        """Can the story be drawn in place? Only on a terminal that understands it."""
        return self.story.is_terminal and not self.story.is_dumb_terminal and not self.quiet

    def settle(self, seconds: float = 5.0) -> None:
        """Wait until the reader of the story has taken it all, but not for ever: before a question, and at the end."""
        if isinstance(self.story.file, PatientStream):
            self.story.file.settle(seconds)

    def tell(self, text: object = "", *, style: str | None = None) -> None:
        """A line of the story; nothing when quiet."""
        if not self.quiet:
            self.story.print(text, style=style)


def open_screen(
    *,
    quiet: bool = False,
    verbose: bool = False,
    color: bool = True,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> Screen:
    """The two consoles on the process's own streams, or on those given. NO_COLOR is honoured by rich itself."""
    story = patient(stderr or sys.stderr)
    return Screen(_console(stdout or sys.stdout, color=color), _console(story, color=color), quiet, verbose)


def _console(stream: TextIO | PatientStream, *, color: bool) -> Console:
    terminal = hasattr(stream, "isatty") and stream.isatty()
    return QuietPipeConsole(
        file=stream,  # type: ignore[arg-type]
        markup=False,
        highlight=False,
        emoji=False,
        no_color=None if color else True,
        # A pipe has no width: fold late, so that lines can be searched.
        width=None if terminal or os.environ.get("COLUMNS") else WIDTH_OF_A_PIPE,
    )


def told(
    story: Console,
    message: str,
    *,
    word: str,
    said: str = "",
    reasons: tuple[str, ...] = (),
    standing: str = "",
    hint: str = "",
) -> None:
    """Print them. `said` is a program's stderr, of which the last line is shown when the message lacks it."""
    shown = one_line(message)
    named = shown.lower().startswith(word.lower())
    lines = [Text.assemble(("" if named else f"{word}: ", "bold red"), shown)]
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "")
    if last and one_line(last) not in one_line(message):
        lines.append(Text(f"  it said: {one_line(last)}"))
    lines += [Text(f"  - {one_line(reason)}") for reason in reasons if one_line(reason) != one_line(message)]
    if standing:
        lines.append(Text(visible(standing)))
    if hint:
        lines.append(Text.assemble(("Next: ", "bold"), one_line(hint)))
    for line in lines:
        story.print(line, soft_wrap=True)
