"""One run as one HTML file: no scripts, nothing from elsewhere, and nothing from the world that is not escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from upgrade_guard.model.run import Kind, Outcome
from upgrade_guard.model.step_results import CHECKS
from upgrade_guard.ui import vocabulary
from upgrade_guard.ui.failure_story import Failure, WayBack, failures, last_lines, way_back
from upgrade_guard.ui.restore_guide import RestoreOption, ways
from upgrade_guard.ui.stages import Stage, stages
from upgrade_guard.ui.tables import Story, is_plumbing

_WIDTH = 1000.0
_NARROWEST = 4.0

# How a run ended, in a word, and the colour of its badge; what is not here has not ended.
_VERDICTS = {
    "completed": ("Completed", "good"),
    "restored": ("Restored", "good"),
    "rolled-back": ("Rolled back", "warn"),
    "aborted": ("Given up", "warn"),
    "failed": ("Failed", "bad"),
    "rollback-failed": ("Rollback failed", "bad"),
}


@dataclass(frozen=True)
class Report:
    """Everything that the page shows, gathered; the template only lays it out."""

    story: Story
    stages: tuple[Stage, ...]
    failures: tuple[Failure, ...]
    way_back: WayBack | None
    ways: tuple[RestoreOption, ...]
    findings: tuple[Mapping[str, Any], ...]
    asked: int
    at: datetime
    verify: str
    rollback: str
    version: str

    @property
    def title(self) -> str:
        """What the run was about."""
        run = self.story.run
        subject = vocabulary.subject(run)
        cluster = f" of cluster {run.cluster}" if run.cluster else ""
        if run.kind is Kind.UPGRADE:
            return f"Upgrade{cluster}: {subject}"
        return f"{subject.capitalize()}{cluster}"

    @property
    def verdict(self) -> tuple[str, str]:
        """How it ended, in a word, and its colour."""
        return _VERDICTS.get(self.story.run.outcome, ("Not finished", "open"))

    @property
    def seconds(self) -> float:
        """From its beginning to its end, or to now."""
        run = self.story.run
        return max(((run.finished_at or self.at) - run.started_at).total_seconds(), 0.0)

    @property
    def kept(self) -> int:
        """Copies that were read back equal."""
        return sum(1 for copy in self.story.copies if copy.read_back)


def report_of(
    story: Story,
    *,
    at: datetime,
    version: str,
    pasteable: Callable[[str], str] = str,
) -> Report:
    """Gather it. `pasteable` completes a command that the page shows."""
    went = stages(story.run, story.transitions, story.steps, at)
    checked: Mapping[str, Any] = {}
    for row in story.steps:
        if row.name == CHECKS and row.outcome is Outcome.SUCCEEDED:
            checked = row.result
    return Report(
        story,
        went,
        failures(story, went),
        way_back(story, went),
        ways(story, pasteable),
        tuple(checked.get("findings") or ()),
        int(checked.get("asked") or 0),
        at,
        pasteable(f"upgrade-guard audit verify --head {story.head}"),
        pasteable("upgrade-guard rollback"),
        version,
    )


def render(report: Report) -> str:
    """The file's text."""
    room = files("upgrade_guard.ui")
    style = room.joinpath("report.css").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True, lstrip_blocks=True
    )
    first = report.story.run.started_at
    environment.filters |= {
        "moment": vocabulary.moment,
        "clock": lambda at: vocabulary.moment(at)[11:],
        "duration": vocabulary.duration,
        "size": vocabulary.size,
        "line": vocabulary.one_line,
        "argv": _command_line,
        "last_lines": last_lines,
        "ended": vocabulary.ENDED.__getitem__,
        "bar": lambda one: _bar(first, report.seconds, one),
    }
    template = environment.from_string(room.joinpath("report.html.jinja").read_text(encoding="utf-8"))
    commands = report.story.commands
    changing = tuple(row for row in commands if row.changes and not is_plumbing(row))
    return template.render(
        report=report,
        story=report.story,
        run=report.story.run,
        standing=vocabulary.standing(report.story.run.kind, report.story.run.state),
        changing=changing,
        others=tuple(row for row in commands if not row.changes or is_plumbing(row)),
        # Both come with the program and hold nothing of the world.
        style=Markup(style),  # noqa: S704
        style_digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )


def _shown(value: Any) -> Any:
    """What a template puts out: everything that is not markup of the template itself, with nothing invisible in it."""
    return value if isinstance(value, Markup) else vocabulary.visible(str(value))


def _command_line(argv: tuple[str, ...]) -> str:
    import shlex

    return vocabulary.one_line(shlex.join(argv))


def _bar(first: datetime, seconds: float, one: Any) -> tuple[str, str]:
    """Where a bar begins and how wide it is, in thousandths of the run."""
    whole = seconds or 1.0
    start = min(max((one.began - first).total_seconds() / whole * _WIDTH, 0.0), _WIDTH - _NARROWEST)
    width = min(max((one.seconds or 0.0) / whole * _WIDTH, _NARROWEST), _WIDTH - start)
    return f"{start:.1f}", f"{width:.1f}"
