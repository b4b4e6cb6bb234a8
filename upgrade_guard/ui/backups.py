"""Bundles and copies as people read them: what is kept where, why, and whether it is good."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from upgrade_guard.ui import vocabulary


@dataclass(frozen=True)
class BundleLine:
    """One bundle in one place. `kept_because` empty: it would go. `notes` are further lines."""

    name: str
    taken_at: datetime
    size: int
    proven: bool
    notes: tuple[str, ...] = ()
    kept_because: tuple[str, ...] = ()


def place(title: str, lines: Sequence[BundleLine], problems: Sequence[str], now: datetime) -> RenderableType:
    """One place, newest first: a line for each bundle and what is to be known of it below."""
    told: list[RenderableType] = [Text(vocabulary.one_line(title), style="bold")]
    for line in lines:
        verdict = ("proven", "green") if line.proven else ("not proven", "yellow")
        head = f"{vocabulary.one_line(line.name)}  {vocabulary.ago(line.taken_at, now)}  {vocabulary.size(line.size)}  "
        told.append(Text.assemble("  ", head, verdict))
        told += [_note(note) for note in line.notes]
        told.append(_note("kept: " + "; ".join(line.kept_because)) if line.kept_because else _goes())
    told += [Text(f"  ! {vocabulary.one_line(problem)}", style="red") for problem in problems]
    if not lines and not problems:
        told.append(Text("  nothing", style="dim"))
    return Group(*told)


def together(parts: Iterable[RenderableType]) -> RenderableType:
    """Places one below the other."""
    return Group(*parts)


def _note(text: str) -> Text:
    return Text(f"    {vocabulary.one_line(text)}", style="dim")


def _goes() -> Text:
    return Text("    no longer kept: the next `backup prune --yes` removes it", style="yellow")


@dataclass(frozen=True)
class VerifiedLine:
    """How one bundle or copy stood when it was looked at; `problem` is "" when it is good."""

    name: str
    where: str
    levels: tuple[tuple[str, bool, float], ...]
    problem: str


def verified(lines: Sequence[VerifiedLine]) -> RenderableType:
    """Each with its levels, and what a failure means."""
    told: list[RenderableType] = []
    for line in lines:
        word, style = ("good", "green") if not line.problem else ("NOT GOOD", "bold red")
        head = f"  {vocabulary.one_line(line.name)}  {vocabulary.one_line(line.where)}  "
        levels = ", ".join(name if ok else f"{name} FAILED" for name, ok, _ in line.levels)
        seconds = sum(seconds for _, _, seconds in line.levels)
        took = f" in {vocabulary.duration(seconds)}" if seconds else ""
        told.append(Text.assemble((f"{word:8}", style), head, (f"({levels}{took})", "dim")))
        if line.problem:
            told.append(Text(f"{'':8}  {vocabulary.one_line(line.problem)}", style="red"))
    good = sum(1 for line in lines if not line.problem)
    told.append(Text(f"{good} of {len(lines)} good."))
    return Group(*told)
