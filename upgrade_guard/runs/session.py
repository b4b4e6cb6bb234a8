"""One run from its beginning to where it stops: begun on the record, wired to its cluster, driven."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from upgrade_guard import __version__
from upgrade_guard.errors import GuardError
from upgrade_guard.model.run import ApprovalRecord, Kind, Run
from upgrade_guard.model.step_results import CLUSTER
from upgrade_guard.model.version import Version
from upgrade_guard.runs.approvals import given_up, wants_everything
from upgrade_guard.runs.frozen_settings import freeze, kept
from upgrade_guard.runs.resources import now, operator

if TYPE_CHECKING:
    from upgrade_guard.config import Config
    from upgrade_guard.engine.runner import Runner
    from upgrade_guard.engine.workflow import Workflow
    from upgrade_guard.journal import Journal
    from upgrade_guard.nodes.site import Site
    from upgrade_guard.steps.plan import Approve
    from upgrade_guard.ui.console import Screen
    from upgrade_guard.ui.prompts import Prompts
    from upgrade_guard.workflows.restore import ConfirmCluster


@dataclass(frozen=True)
class Choices:
    """The flags of the commands that move a run."""

    yes: bool = False
    auto_rollback: bool = True
    take_over: bool = False
    confirm_cluster: str | None = None
    without: tuple[str, ...] = ()
    everything: bool = False


NO_CHOICES = Choices()


def begin(
    journal: Journal,
    config: Config,
    target: str,
    kind: Kind = Kind.UPGRADE,
    asked: Mapping[str, Any] = MappingProxyType({}),
) -> Run:
    """A new run on the record. `target`: the version to reach, or the bundle that it is about, or nothing.

    `asked` is kept with its settings: what this run is to do, where its kind does not say it all.
    """
    import secrets
    import socket

    return journal.begin(
        run_id=f"{now():%Y%m%d}-{secrets.token_hex(3)}",
        cluster=config.cluster.name,
        from_version="",
        target=target,
        offsite_required=config.vault.offsite_required,
        snapshot_max_age=config.upgrade.snapshot_max_age,
        settings={**freeze(config), **asked},
        operator=operator(),
        host=socket.gethostname(),
        tool_version=__version__,
        kind=kind,
    )


def drive(
    screen: Screen,
    ask: Callable[[Callable[[], Any]], Prompts],
    journal: Journal,
    config: Config,
    run: Run,
    choices: Choices,
    act: Callable[[Runner], Run],
) -> Run:
    """Wire a runner for this run and let `act` use it; what went on is told at its end, however it ends.

    `ask` makes the questions, given what to do with the display while one is asked. A problem is raised with the ways
    on as its hint.
    """
    from upgrade_guard.engine.interruption import Interruption, SystemClock
    from upgrade_guard.engine.outcomes import choices as ways_on
    from upgrade_guard.engine.outcomes import in_words_of
    from upgrade_guard.engine.runner import Runner
    from upgrade_guard.hosts.transcript import RunTranscript, SharedTranscript
    from upgrade_guard.nodes.etcd_programs import PROGRAMS, recorded_in
    from upgrade_guard.nodes.site import Site
    from upgrade_guard.runs.cluster_hold import ClusterHold
    from upgrade_guard.runs.rollback_cost import CostShown
    from upgrade_guard.ui.progress import Progress
    from upgrade_guard.ui.run_card import Card

    config = kept(config, run)
    run = identified(journal, config, run.id)
    interruption = Interruption()
    clock = SystemClock(interruption)
    log = config.log_path(run.id)
    transcript = RunTranscript(journal.note, log, run.id)
    card = Card(run, journal.transitions(run.id))
    sites: list[Site] = []
    progress = Progress(
        screen,
        card,
        clock.monotonic,
        read_again=lambda: identified(journal, config, run.id),
        going_back=CostShown(lambda: sites[0], journal, run.id) if run.kind is Kind.UPGRADE else None,
    )
    asking = ask(progress.paused)

    def approve(subject: str, shown: str, step: str) -> ApprovalRecord:
        return asking.approve(subject, shown, step, flag="--yes" if choices.yes else "")

    def confirm(cluster: str, cost: str) -> ApprovalRecord:
        hint = f"upgrade-guard resume --confirm-cluster {shlex.quote(cluster)}"
        return asking.confirm_cluster(cluster, cost, given=choices.confirm_cluster, hint=hint)

    site = Site.build(
        config,
        transcript=SharedTranscript(transcript, progress),
        clock=clock,
        recorded=lambda: recorded_in(journal.results_of(PROGRAMS)),
        history_head=journal.head,
        ssh_agent=os.environ.get("SSH_AUTH_SOCK", ""),
    )
    sites.append(site)
    hold = ClusterHold(site, journal, run, operator())
    runner = Runner(
        journal,
        workflow_of(run, site, journal, approve, confirm, choices),
        progress,
        clock,
        interruption,
        transcript.attribution,
        hold.before_change,
        auto_rollback=choices.auto_rollback,
    )
    try:
        with interruption.install(), progress, hold.held(screen, take_over=choices.take_over):
            return act(runner)
    except GuardError as problem:
        run = identified(journal, config, run.id)
        problem.hint = in_words_of(run.kind, problem.hint or ways_on(run.kind, run.state))
        raise
    finally:
        transcript.close()
        _tell_what_was_taken_back(screen, journal, run)
        _tell_monitoring(screen, config, journal)
        _tell_system_log(journal, run)
        if transcript.log_problem:
            screen.tell(f"The run's log is incomplete: {transcript.log_problem}", style="yellow")


def _tell_what_was_taken_back(screen: Screen, journal: Journal, run: Run) -> None:
    from upgrade_guard.runs.losses import taken_back

    for line in taken_back(journal.facts(run.id)):
        screen.tell(line, style="yellow")


def _tell_monitoring(screen: Screen, config: Config, journal: Journal) -> None:
    """Every kind of run may have made, tried or removed a backup."""
    from upgrade_guard.runs.backup_status import tell_monitoring

    trouble = tell_monitoring(config, journal)
    if trouble:
        screen.tell(trouble, style="yellow")


def _tell_system_log(journal: Journal, run: Run) -> None:
    """A witness of history that may be kept on another machine; where there is no log nothing is told."""
    from upgrade_guard.hosts.system_log import tell_system_log

    with suppress(GuardError):
        now = journal.run(run.id)
        tell_system_log(
            f"history head {journal.head()}: {now.kind.value} {now.id} of {now.cluster!r} is {now.state.value}"
        )


def workflow_of(
    run: Run,
    site: Site,
    journal: Journal,
    approve: Approve,
    confirm: ConfirmCluster,
    choices: Choices = NO_CHOICES,
) -> Workflow:
    """What a run of this kind is made of; a process that takes a run up knows no more than its record."""
    match run.kind:
        case Kind.UPGRADE:
            from upgrade_guard.workflows.upgrade import UpgradeWorkflow

            everything = wants_everything(run.cluster) if choices.everything else None
            target = Version.parse(run.target)
            return UpgradeWorkflow(site, target, approve, given_up(choices.without), everything)
        case Kind.BACKUP:
            from upgrade_guard.workflows.backup import BackupWorkflow

            return BackupWorkflow(site)
        case Kind.RESTORE:
            from upgrade_guard.runs.inventory import published_manifest
            from upgrade_guard.steps.restore_bundle import wanted
            from upgrade_guard.workflows.restore import RestoreWorkflow

            return RestoreWorkflow(
                site, wanted(run.target, site.vault.path), lambda bundle: published_manifest(journal, bundle), confirm
            )
        case Kind.COPY:
            from upgrade_guard.workflows.copy import CopyWorkflow

            return CopyWorkflow(site, run.target, run.settings)
        case Kind.PRUNE:
            from upgrade_guard.workflows.prune import PruneWorkflow

            return PruneWorkflow(site, run.settings)
        case Kind.DRILL:
            from upgrade_guard.workflows.drill import DrillWorkflow

            return DrillWorkflow(site, run.target)
        case _:
            raise NotImplementedError(f"runs of kind {run.kind.value}")


def identified(journal: Journal, config: Config, run_id: str) -> Run:
    """The run as recorded, with the cluster's name and version once the inspection has found them."""
    run = journal.run(run_id)
    if run.from_version:
        return run
    facts = journal.facts(run_id)
    if not facts.has(CLUSTER):
        return run
    found = facts.of(CLUSTER)
    journal.identify(run_id, cluster=config.cluster.name or found["name"], from_version=found["version"])
    return journal.run(run_id)
