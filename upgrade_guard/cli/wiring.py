"""Small functions that put rooms together for one command. Everything heavy is imported when it is needed."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from upgrade_guard import __version__
from upgrade_guard.cli.front import Front
from upgrade_guard.cli.policy import freeze, kept
from upgrade_guard.errors import GuardError, Refused, UsageProblem
from upgrade_guard.model.run import ApprovalRecord, Kind, Run
from upgrade_guard.model.version import Version

if TYPE_CHECKING:
    from upgrade_guard.config import Config
    from upgrade_guard.engine.runner import Runner
    from upgrade_guard.engine.workflow import Workflow
    from upgrade_guard.hosts.base import Host
    from upgrade_guard.journal import Journal
    from upgrade_guard.model.clock import Clock
    from upgrade_guard.phases.approval import Approve
    from upgrade_guard.phases.restore import ConfirmCluster
    from upgrade_guard.phases.site import Site
    from upgrade_guard.ui.prompts import Prompts


def now() -> datetime:
    """Aware UTC, as this machine tells it."""
    return datetime.now(UTC)


def version_of(text: str) -> Version:
    """The version an operator typed. Raises UsageProblem."""
    try:
        return Version.parse(text)
    except ValueError as problem:
        raise UsageProblem(str(problem), hint="Give the whole version, such as v1.28.0.") from None


def operator() -> str:
    """Who started this process."""
    from upgrade_guard.ui.prompts import operator as who

    return who()


@contextmanager
def writing(config: Config) -> Iterator[Journal]:
    """The journal for a command that goes on with a run: locked, migrated. Raises LockHeld and JournalProblem."""
    from upgrade_guard.journal import Journal, RunLock

    command = shlex.join(["upgrade-guard", *sys.argv[1:]])
    with RunLock(config.lock_path, command=command), Journal.open(config.journal_path, now) as journal:
        yield journal


@contextmanager
def reading(config: Config) -> Iterator[Journal | None]:
    """The journal for a command that only looks: nothing is created or migrated. None when there is none."""
    from upgrade_guard.journal import Journal

    journal = Journal.read(config.journal_path)
    with nullcontext(None) if journal is None else journal as opened:
        yield opened


def open_run(config: Config) -> Run | None:
    """The run that is open, seen without touching anything: a refusal must not leave a journal behind."""
    with reading(config) as journal:
        return journal.open_run() if journal is not None else None


def must_have_offsite(config: Config) -> None:
    """Raise UsageProblem when no copy could be made: better now than after the snapshot."""
    if not config.vault.offsite:
        raise UsageProblem(
            "no off-site target (vault.offsite): the gate opens only after a copy off the control plane was read back",
            hint="upgrade-guard run VERSION --offsite ssh://backup@HOST/srv/etcd",
        )
    must_not_leak(config)


def must_not_leak(config: Config) -> None:
    """Raise UsageProblem when copies would leave in the clear and nobody said so: now, not after the snapshot."""
    if config.vault.offsite and not config.vault.recipients and not config.vault.allow_unencrypted_keys:
        raise UsageProblem(
            "copies would carry the cluster's private keys and Secrets unencrypted, because vault.recipients is empty",
            hint="Name age public keys in vault.recipients (age-keygen makes them), or accept it in the configuration: "
            "vault.allow_unencrypted_keys = true",
        )


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


def drive(
    front: Front, journal: Journal, config: Config, run: Run, choices: Choices, act: Callable[[Runner], Run]
) -> Run:
    """Wire a runner for this run, let `act` use it, and say afterwards how the cluster stands when it raises."""
    from upgrade_guard.cli.cost import CostShown
    from upgrade_guard.cli.ground import Ground
    from upgrade_guard.engine.answers import choices as ways_on
    from upgrade_guard.engine.answers import in_words_of
    from upgrade_guard.engine.clock import SystemClock
    from upgrade_guard.engine.interruption import Interruption
    from upgrade_guard.engine.runner import Runner
    from upgrade_guard.hosts.transcript import RunTranscript, SharedTranscript
    from upgrade_guard.phases.etcd_programs import PROGRAMS, recorded_in
    from upgrade_guard.phases.site import Site
    from upgrade_guard.ui.card import Card
    from upgrade_guard.ui.progress import Progress

    config = kept(config, run)
    run = identified(journal, config, run.id)
    interruption = Interruption()
    clock = SystemClock(interruption)
    log = config.log_path(run.id)
    transcript = RunTranscript(journal.note, log, run.id)
    card = Card(run, journal.transitions(run.id))
    sites: list[Site] = []
    progress = Progress(
        front.screen,
        card,
        clock.monotonic,
        read_again=lambda: identified(journal, config, run.id),
        going_back=CostShown(lambda: sites[0], journal, run.id) if run.kind is Kind.UPGRADE else None,
    )
    asking = prompts(front, aside=progress.paused)

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
    ground = Ground(site, journal, run, operator())
    runner = Runner(
        journal,
        workflow_of(run, site, journal, approve, confirm, choices),
        progress,
        clock,
        interruption,
        transcript.attribution,
        ground.before_change,
        auto_rollback=choices.auto_rollback,
    )
    try:
        with interruption.install(), progress, ground.held(front, take_over=choices.take_over):
            return act(runner)
    except GuardError as problem:
        run = identified(journal, config, run.id)
        problem.hint = in_words_of(run.kind, problem.hint or ways_on(run.kind, run.state))
        front.answer(run_answer(run))
        front.aftermath = aftermath(run, str(log))
        raise
    finally:
        transcript.close()
        _tell_what_was_taken_back(front, journal, run)
        _tell_monitoring(front, config, journal)
        _tell_system_log(journal, run)
        if transcript.log_problem:
            front.screen.tell(f"The run's log is incomplete: {transcript.log_problem}", style="yellow")


def _tell_what_was_taken_back(front: Front, journal: Journal, run: Run) -> None:
    from upgrade_guard.cli.taken_back import taken_back

    for line in taken_back(journal.facts(run.id)):
        front.screen.tell(line, style="yellow")


def _tell_monitoring(front: Front, config: Config, journal: Journal) -> None:
    """Every kind of run may have made, tried or removed a backup."""
    from upgrade_guard.cli.backup_standing import tell_monitoring

    trouble = tell_monitoring(config, journal)
    if trouble:
        front.screen.tell(trouble, style="yellow")


def _tell_system_log(journal: Journal, run: Run) -> None:
    """A witness of history that may be kept on another machine; where there is no log nothing is told."""
    from upgrade_guard.hosts.system_log import tell_system_log

    with suppress(GuardError):
        now = journal.run(run.id)
        tell_system_log(
            f"history head {journal.head()}: {now.kind.value} {now.id} of {now.cluster!r} is {now.state.value}"
        )


def given_up(names: tuple[str, ...]) -> dict[str, ApprovalRecord]:
    """The approval for each node that the operator gave up by name."""
    return {
        name: ApprovalRecord(
            f"Give {name} up for good: the cluster is rolled back and verified without it",
            operator(),
            f"--without {name}",
            "yes",
            now(),
        )
        for name in names
    }


def wants_everything(cluster: str) -> ApprovalRecord:
    """The approval for taking everything back where one control plane would have gone back alone."""
    subject = f"Take everything of {cluster} back, etcd's data too, and not one control plane alone"
    return ApprovalRecord(subject, operator(), "--everything", "yes", now())


def refuse_to_give_up(site: Site, journal: Journal, run_id: str, names: tuple[str, ...]) -> None:
    """Raise UsageProblem for a node that the cluster does not have, Refused for one whose machine answers."""
    from upgrade_guard.model.cluster import Cluster
    from upgrade_guard.model.codec import from_json
    from upgrade_guard.phases.lost_nodes import answers_now

    facts = journal.facts(run_id)
    nodes = from_json(Cluster, facts.of("inspect/cluster")).nodes if facts.has("inspect/cluster") else ()
    known = {node.name: node for node in nodes}
    for name in names:
        if name not in known:
            raise UsageProblem(
                f"the cluster of this run has no node {name}", hint=f"its nodes are: {', '.join(known) or 'not known'}"
            )
        if answers_now(site, known[name]):
            raise Refused(
                f"the machine of {name} answers, so it goes back with the others and is not given up",
                hint="upgrade-guard rollback",
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
            from upgrade_guard.phases.workflow import UpgradeWorkflow

            everything = wants_everything(run.cluster) if choices.everything else None
            target = Version.parse(run.target)
            return UpgradeWorkflow(site, target, approve, given_up(choices.without), everything)
        case Kind.BACKUP:
            from upgrade_guard.phases.backup_workflow import BackupWorkflow

            return BackupWorkflow(site)
        case Kind.RESTORE:
            from upgrade_guard.cli.restore import published_manifest
            from upgrade_guard.phases.restore import RestoreWorkflow
            from upgrade_guard.phases.restore_bundle import wanted

            return RestoreWorkflow(
                site, wanted(run.target, site.vault.path), lambda bundle: published_manifest(journal, bundle), confirm
            )
        case Kind.COPY:
            from upgrade_guard.phases.copy_workflow import CopyWorkflow

            return CopyWorkflow(site, run.target, run.settings)
        case Kind.PRUNE:
            from upgrade_guard.phases.prune_workflow import PruneWorkflow

            return PruneWorkflow(site, run.settings)
        case Kind.DRILL:
            from upgrade_guard.phases.drill_workflow import DrillWorkflow

            return DrillWorkflow(site, run.target)
        case _:
            raise NotImplementedError(f"runs of kind {run.kind.value}")


def identified(journal: Journal, config: Config, run_id: str) -> Run:
    """The run as recorded, with the cluster's name and version once the inspection has found them."""
    run = journal.run(run_id)
    if run.from_version:
        return run
    facts = journal.facts(run_id)
    if not facts.has("inspect/cluster"):
        return run
    found = facts.of("inspect/cluster")
    journal.identify(run_id, cluster=config.cluster.name or found["name"], from_version=found["version"])
    return journal.run(run_id)


def run_answer(run: Run) -> dict[str, Any]:
    """The keys of a run that every JSON answer about it has."""
    return {
        "id": run.id,
        "kind": run.kind,
        "cluster": run.cluster,
        "from": run.from_version,
        "target": run.target,
        "state": run.state,
        "outcome": run.outcome,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
    }


def prompts(front: Front, aside: Callable[[], Any] = nullcontext) -> Prompts:
    """Questions on this process's terminal."""
    from upgrade_guard.ui.prompts import Prompts

    return Prompts(front.stdin_is_terminal(), sys.stderr, now, aside=aside)


def aftermath(run: Run, log: str) -> str:
    """How the cluster stands after a command ended with a problem, from the record."""
    from upgrade_guard.ui import words

    return f"Run {run.id} stands at {run.state.value}. {words.standing(run.kind, run.state)}\nLog: {log}"


@contextmanager
def looking(config: Config) -> Iterator[Site]:
    """The cluster for a command that looks at it outside of a run: nothing is recorded."""
    from upgrade_guard.engine.clock import SystemClock
    from upgrade_guard.engine.interruption import Interruption
    from upgrade_guard.hosts.transcript import SilentTranscript
    from upgrade_guard.phases.site import Site

    interruption = Interruption()
    with interruption.install():
        yield Site.build(
            config, transcript=SilentTranscript(), clock=SystemClock(interruption), recorded=lambda: _recorded(config)
        )


def _recorded(config: Config) -> Mapping[str, Mapping[str, str]]:
    from upgrade_guard.phases.etcd_programs import PROGRAMS, recorded_in

    with reading(config) as journal:
        return {} if journal is None else recorded_in(journal.results_of(PROGRAMS))


@contextmanager
def this_machine() -> Iterator[tuple[Host, Clock]]:
    """Where timers are installed, and what time it is here."""
    from upgrade_guard.engine.clock import SystemClock
    from upgrade_guard.engine.interruption import Interruption
    from upgrade_guard.hosts.local import LocalHost

    interruption = Interruption()
    with interruption.install():
        yield LocalHost("here"), SystemClock(interruption)


def allowed_targets(site: Site) -> tuple[tuple[str, str], ...]:
    """Versions that the package repository has and the skew rules allow, with why: what `run` offers to choose from."""
    from upgrade_guard.phases.preview import choices

    return tuple((str(choice.version), choice.why) for choice in choices(site))


def already_there(config: Config, target: Version) -> bool:
    """Is there nothing to upgrade? Raises Refused where no upgrade leads to `target`."""
    from upgrade_guard.phases.preview import already_there as seen
    from upgrade_guard.phases.preview import refuse_no_way

    with looking(config) as site:
        refuse_no_way(site, target)
        return seen(site, target)


def next_minor(site: Site) -> Version:
    """The first release of the minor that may follow: what is checked when no version is named."""
    from upgrade_guard.phases.preview import next_series

    return Version.parse(f"{next_series(site)}.0")


def refuse_blocking(found: tuple[Any, ...]) -> None:
    """Raise Refused with every finding that stops a run."""
    from upgrade_guard.model.finding import Severity

    blocking = [finding for finding in found if finding.severity is Severity.BLOCKING]
    if blocking:
        raise Refused(
            f"{len(blocking)} check(s) stand in the way of an upgrade",
            reasons=tuple(
                f"{finding.check}{' on ' + finding.where if finding.where else ''}: {finding.message}"
                for finding in blocking
            ),
            hint=next((finding.hint for finding in blocking if finding.hint), "upgrade-guard check --verbose"),
        )
