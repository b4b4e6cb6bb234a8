"""What the commands share: versions that are typed, questions on this terminal, a run that is driven and told of."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from upgrade_guard.cli.invocation import Front
from upgrade_guard.errors import GuardError, Refused, UsageProblem
from upgrade_guard.model.plain import run_answer
from upgrade_guard.model.run import Event, Kind, Move, Run, State
from upgrade_guard.model.version import Version
from upgrade_guard.runs import preflight, session
from upgrade_guard.runs.resources import now
from upgrade_guard.runs.session import Choices

if TYPE_CHECKING:
    from upgrade_guard.config import Config
    from upgrade_guard.engine.runner import Runner
    from upgrade_guard.journal import Journal
    from upgrade_guard.nodes.site import Site
    from upgrade_guard.ui.prompts import Prompts


def version_of(text: str) -> Version:
    """The version an operator typed. Raises UsageProblem."""
    try:
        return Version.parse(text)
    except ValueError as problem:
        raise UsageProblem(str(problem), hint="Give the whole version, such as v1.28.0.") from None


def prompts(front: Front, aside: Callable[[], Any] = nullcontext) -> Prompts:
    """Questions on this process's terminal."""
    from upgrade_guard.ui.prompts import Prompts

    return Prompts(front.stdin_is_terminal(), sys.stderr, now, aside=aside)


def aftermath(run: Run, log: str) -> str:
    """How the cluster stands after a command ended with a problem, from the record."""
    from upgrade_guard.ui import vocabulary

    return f"Run {run.id} stands at {run.state.value}. {vocabulary.standing(run.kind, run.state)}\nLog: {log}"


def drive(
    front: Front, journal: Journal, config: Config, run: Run, choices: Choices, act: Callable[[Runner], Run]
) -> Run:
    """Drive the run on this terminal; say how the cluster stands when it raises."""
    try:
        return session.drive(front.screen, lambda aside: prompts(front, aside), journal, config, run, choices, act)
    except GuardError:
        stands = session.identified(journal, config, run.id)
        front.answer(run_answer(stands))
        front.aftermath = aftermath(stands, str(config.log_path(run.id)))
        raise


def may(run: Run, event: Event) -> bool:
    """Is that event allowed where the run stands?"""
    from upgrade_guard.engine.states import allowed

    return event in allowed(run.kind, run.state)


def must_be_open(opened: Run | None, verb: str) -> Run:
    """That run. Raises Refused where none is open."""
    if opened is None:
        raise Refused(f"no run is open, so there is nothing to {verb}", hint="upgrade-guard history")
    return opened


def close(front: Front, journal: Journal, opened: Run, reason: str) -> None:
    """Close a run that has only looked, because another is asked for."""
    journal.move(opened.id, Move(Event.RUN_ABORTED, State.ABORTED, (reason,)))
    front.screen.tell(f"Run {opened.id} to {opened.target} had changed nothing and is closed.")


def close_what_was_killed(front: Front, journal: Journal, kind: Kind) -> None:
    """Close runs of that kind whose process was killed: they leave nothing that the next one does not finish."""
    while (killed := journal.open_run((kind,))) is not None:
        journal.move(killed.id, Move(Event.RUN_ABORTED, State.ABORTED, ("its process ended before it was finished",)))
        front.screen.tell(f"Run {killed.id} ({kind.value}) had not been finished and is closed.")


def target_of(site: Site, version: str | None) -> Version:
    """The version that was typed, else the next minor. Raises Refused where no upgrade leads there."""
    from upgrade_guard.runs.preview import refuse_no_way

    if version is None:
        return preflight.next_minor(site)
    target = version_of(version)
    refuse_no_way(site, target)
    return target


def took(run: Run) -> str:
    """How long the run took, in words."""
    from upgrade_guard.ui import vocabulary

    return vocabulary.duration(((run.finished_at or now()) - run.started_at).total_seconds())
