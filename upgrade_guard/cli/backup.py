"""The commands about backups that stand on their own."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upgrade_guard.cli import (
    backup_copy,
    backup_drill,
    backup_list,
    backup_metrics,
    backup_prune,
    backup_schedule,
    backup_status,
    backup_verify,
    common,
)
from upgrade_guard.cli.arguments import Offsite
from upgrade_guard.cli.fast_commands import QuickCommand, QuickGroup
from upgrade_guard.cli.invocation import Front
from upgrade_guard.errors import EvidenceLost, GuardError, UsageProblem
from upgrade_guard.model.plain import run_answer
from upgrade_guard.model.run import Event, Kind, Move, Run, State
from upgrade_guard.runs import preflight, resources, session
from upgrade_guard.runs.frozen_settings import freeze
from upgrade_guard.runs.session import Choices

if TYPE_CHECKING:
    from upgrade_guard.config import Config
    from upgrade_guard.journal import Journal

commands = typer.Typer(
    cls=QuickGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make backups, look at them, and keep what is needed of them.",
)
NoOffsite = Annotated[bool, typer.Option("--no-offsite", help="Keep the bundle on this machine only.")]
_ATTEMPTS = 2
_VERBS = (
    backup_list,
    backup_verify,
    backup_copy,
    backup_prune,
    backup_drill,
    backup_status,
    backup_metrics,
    backup_schedule,
)


def register(app: typer.Typer) -> None:
    """Add the group to the program."""
    for verb in _VERBS:
        verb.register(commands)
    app.add_typer(commands, name="backup")


@commands.command("create", cls=QuickCommand)
def create(context: typer.Context, *, offsite: Offsite = None, no_offsite: NoOffsite = False) -> None:
    """Take a snapshot, prove that it restores, copy it off the control plane and read it back."""
    from dataclasses import replace

    front = Front.of(context)
    if offsite and no_offsite:
        raise UsageProblem("--offsite and --no-offsite exclude each other", hint="upgrade-guard backup create --help")
    config = front.settings(tuple(offsite or ())).config
    if no_offsite:
        config = replace(config, vault=replace(config.vault, offsite=(), offsite_required=0))
    elif not config.vault.offsite:
        raise UsageProblem(
            "no off-site target (vault.offsite): a backup on this machine alone is lost with it",
            hint="upgrade-guard backup create --offsite ssh://backup@HOST/srv/etcd, or --no-offsite",
        )
    preflight.must_not_leak(config)
    with resources.writing(config) as journal:
        run = _still_fresh(front, journal, config) or session.begin(journal, config, "", Kind.BACKUP)
        ended = _take(front, journal, config, run)
        answer, text = _kept(journal, ended)
    front.answer(answer, lambda: f"{text}\nNext: {front.pasteable('upgrade-guard backup list')}")


def _still_fresh(front: Front, journal: Journal, config: Config) -> Run | None:
    """A backup whose process was killed a moment ago is resumed; an older one, or another, is closed.

    Older than snapshot_max_age it would be a backup of yesterday that counts as today's.
    """
    while (opened := journal.open_run((Kind.BACKUP,))) is not None:
        age = (resources.now() - opened.started_at).total_seconds()
        if 0 <= age < opened.snapshot_max_age and opened.settings.get("vault") == freeze(config)["vault"]:
            return opened
        front.screen.tell(f"Backup {opened.id} was never finished; it is closed, and a new one begins.")
        _close(front, journal, config, opened)
    return None


def _close(front: Front, journal: Journal, config: Config, run: Run) -> None:
    try:
        common.drive(front, journal, config, run, Choices(), lambda runner: runner.abort(run.id))
    except GuardError as problem:
        journal.move(run.id, Move(Event.RUN_ABORTED, State.ABORTED, (problem.message,)))


def _take(front: Front, journal: Journal, config: Config, run: Run) -> Run:
    """Go on with it to its end; a snapshot that turns out to be no good is taken once more. Raises what drives it."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return common.drive(front, journal, config, run, Choices(), lambda runner: runner.go_on(run.id))
        except EvidenceLost as lost:
            reached = journal.run(run.id)
            if reached.state is not State.INSPECTED:
                _discard(config, reached)
                raise
            if attempt == _ATTEMPTS:
                journal.move(run.id, Move(Event.RUN_FAILED, State.FAILED, (lost.message, *lost.reasons)))
                front.aftermath = common.aftermath(journal.run(run.id), str(config.log_path(run.id)))
                raise
            front.screen.tell(f"{lost.message}: it is taken once more.")
        except GuardError:
            _discard(config, journal.run(run.id))
            raise
    raise AssertionError("the last attempt returns or raises")


def _discard(config: Config, run: Run) -> None:
    """What a failed backup had staged is of no use to the next one."""
    if run.state is State.FAILED:
        from upgrade_guard.vault.bundle import Vault

        with suppress(GuardError):
            Vault(config.vault.path).discard_staging(run.id)


def _kept(journal: Journal, run: Run) -> tuple[dict[str, Any], str]:
    """The bundle, its proof and its copies, as JSON has them and in words."""
    from upgrade_guard.ui import vocabulary

    snapshot, proof = journal.snapshots(run.id)[-1], journal.proofs(run.id)[-1]
    copies = [copy for copy in journal.copies(run.id) if copy.bundle == snapshot.bundle and copy.read_back]
    answer = run_answer(run) | {
        "bundle": snapshot.bundle,
        "snapshot": snapshot,
        "proof": proof,
        "copies": copies,
    }
    took = vocabulary.duration(((run.finished_at or resources.now()) - run.started_at).total_seconds())
    places = [f"Copy:   {copy.location}, read back equal" for copy in copies] or [
        "Copy:   none; it is on this machine only"
    ]
    taken, restored = vocabulary.moment(snapshot.taken_at), vocabulary.duration(proof.restore_seconds)
    lines = (
        f"Backup {snapshot.bundle}: {run.outcome} after {took}.",
        f"Holds:  {vocabulary.size(snapshot.size)} at revision {snapshot.revision}, taken {taken}",
        f"Proof:  restored and started in {restored}, content equal to the live cluster's",
        f"Bundle: {snapshot.path}",
        *places,
    )
    return answer, "\n".join(lines)
