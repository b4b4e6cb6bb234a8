"""The last lines of a command that failed: what, where, why, how the cluster stands, and what to type next."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from upgrade_guard.ui.vocabulary import one_line, visible


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
