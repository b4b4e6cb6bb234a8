"""Answers as tables and timelines: the history, one run's story, findings, the configuration."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.finding import Finding, Severity
from upgrade_guard.model.run import (
    ApprovalRecord,
    CommandRow,
    CopyRecord,
    Kind,
    NodeRecord,
    Outcome,
    ProofRecord,
    Run,
    SnapshotRecord,
    StepRow,
    Transition,
)
from upgrade_guard.model.step import Phase
from upgrade_guard.model.step_results import chosen_way
from upgrade_guard.ui import vocabulary
from upgrade_guard.ui.durations import durations
from upgrade_guard.ui.stages import attempts, stages

_SEVERITY = {
    Severity.OK: ("ok", "green"),
    Severity.WARNING: ("warning", "yellow"),
    Severity.BLOCKING: ("BLOCKING", "bold red"),
}

_PLUMBING = frozenset({"mkdir", "install", "dd", "mv", "rm", "rmdir", "sync", "chown", "tar"})


@dataclass(frozen=True)
class Story:
    """Everything that the journal knows of one run. `head` is the digest of the journal's newest row."""

    run: Run
    transitions: tuple[Transition, ...]
    steps: tuple[StepRow, ...]
    commands: tuple[CommandRow, ...]
    approvals: tuple[ApprovalRecord, ...]
    snapshots: tuple[SnapshotRecord, ...]
    proofs: tuple[ProofRecord, ...]
    copies: tuple[CopyRecord, ...]
    edited: tuple[str, ...] = ()
    nodes: tuple[NodeRecord, ...] = ()
    head: str = ""


def history(runs: Sequence[tuple[Run, Sequence[SnapshotRecord]]], now: datetime, more: str = "") -> RenderableType:
    """Two lines per run, newest first: what became of it, and its snapshot. They fit a terminal of 100 columns.

    `more` is the command that lists older ones, where there may be some.
    """
    if not runs:
        return Text("No runs yet.")
    rows = []
    for run, _ in runs:
        took = vocabulary.duration(((run.finished_at or now) - run.started_at).total_seconds())
        rows.append(
            (
                vocabulary.one_line(run.id),
                vocabulary.one_line(run.outcome or f"open: {run.state.value}"),
                vocabulary.one_line(vocabulary.subject(run)),
                vocabulary.moment(run.started_at),
                took if run.finished_at else f"{took} so far",
                vocabulary.one_line(run.cluster or "-"),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = []
    for row, (run, snapshots) in zip(rows, runs, strict=True):
        line = Text("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        line.stylize(outcome_style(run), widths[0] + 2, widths[0] + 2 + len(row[1]))
        lines.append(line)
        if snapshots:
            newest = snapshots[-1]
            text = f"snapshot {newest.bundle}, {vocabulary.size(newest.size)}, revision {newest.revision}"
            lines.append(Text(f"{'':{widths[0]}}  {vocabulary.one_line(text)}", style="dim"))
    if more:
        lines.append(Text(f"There may be older ones: {more}", style="dim"))
    return Group(*lines)


def outcome_style(run: Run) -> str:
    """Green for a completed run, red for one that needs a person, yellow for one that was taken back."""
    return {
        "completed": "green",
        "restored": "green",
        "failed": "red",
        "rolled-back": "yellow",
        "rollback-failed": "bold red",
    }.get(run.outcome, "")


def timeline(story: Story, now: datetime, *, verbose: bool = False) -> RenderableType:
    """A run from its beginning to its end: how long its stages took, then moves, steps, approvals, evidence and the
    commands that change something.

    With `verbose` every command, also those that read, and those that only lay our own files.
    """
    rows: list[tuple[datetime, int, str, str, str]] = []
    for number, line in enumerate(_events(story, verbose=verbose)):
        rows.append((line[0], number, line[1], line[2], line[3]))
    rows.sort(key=lambda row: (row[0], row[1]))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    table.add_column()
    for at, _, kind, text, style in rows:
        # A command line may be very long: all of it is for those who ask for more.
        short = kind == "command" and not verbose
        cell = Text(vocabulary.one_line(text), style=style, overflow="ellipsis" if short else "fold", no_wrap=short)
        table.add_row(vocabulary.moment(at)[11:], kind, cell)
    went = stages(story.run, story.transitions, story.steps, now)
    return Group(_heading(story.run), Text(), durations(went), Text(), table, *_warnings(story))


def _heading(run: Run) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("run", Text(vocabulary.one_line(run.id)))
    table.add_row("cluster", Text(vocabulary.one_line(run.cluster or "not yet asked")))
    label = "upgrade" if run.kind is Kind.UPGRADE else "run for"
    table.add_row(label, Text(vocabulary.one_line(vocabulary.subject(run))))
    table.add_row("state", Text(f"{run.state.value}. {vocabulary.standing(run.kind, run.state)}"))
    table.add_row("outcome", Text(vocabulary.one_line(run.outcome or "open"), style=outcome_style(run)))
    table.add_row(
        "began",
        f"{vocabulary.moment(run.started_at)} by {vocabulary.one_line(run.operator)} "
        f"on {vocabulary.one_line(run.host)}",
    )
    table.add_row("ended", vocabulary.moment(run.finished_at))
    return table


def _events(story: Story, *, verbose: bool) -> Iterable[tuple[datetime, str, str, str]]:
    for one in attempts(story.steps):
        number = f" (attempt {one.number})" if one.number > 1 else ""
        if one.ended is None:
            yield one.began, "step", f"{one.name} started and never concluded: in doubt", "bold yellow"
            continue
        style = "" if one.outcome is Outcome.SUCCEEDED else "red"
        detail = f": {said}" if (said := one.detail or chosen_way(one.name, one.result)) else ""
        took = vocabulary.duration(one.seconds or 0.0)
        yield one.ended, "step", f"{one.name}{number} {vocabulary.ENDED[one.outcome]} in {took}{detail}", style
    for row in story.steps:
        if row.outcome is Outcome.VOIDED:
            number = f" (attempt {row.attempt})" if row.attempt > 1 else ""
            detail = f": {row.detail}" if row.detail else ""
            yield row.at, "step", f"{row.name}{number} {vocabulary.ENDED[row.outcome]}{detail}", "yellow"
    for move in story.transitions:
        yield move.at, "state", f"{move.to_state.value} ({move.event.value})", "bold"
        for reason in move.reasons:
            yield move.at, "", f"because {reason}", "yellow"
    for approval in story.approvals:
        yield approval.at, "approval", f"{approval.subject} {approval.said}, by {approval.by} ({approval.how})", "cyan"
    for snapshot in story.snapshots:
        text = f"{snapshot.bundle}, {vocabulary.size(snapshot.size)}, revision {snapshot.revision}"
        yield snapshot.taken_at, "snapshot", f"{text}, sha256 {snapshot.snapshot_sha256}", "cyan"
    for proof in story.proofs:
        verdict = "restores" if proof.ok else "does NOT restore"
        text = f"{proof.bundle} {verdict}, restore took {vocabulary.duration(proof.restore_seconds)}"
        yield proof.proven_at, "proof", text, "cyan" if proof.ok else "red"
    for copy in story.copies:
        verdict = "read back equal" if copy.read_back else "does NOT read back equal"
        yield copy.copied_at, "copy", f"{copy.location} {verdict}", "cyan" if copy.read_back else "red"
    for command in story.commands:
        if verbose or (command.changes and not is_plumbing(command)):
            ended = "ran out of time" if command.exit_status is None else f"exit {command.exit_status}"
            text = f"{command.host} $ {shlex.join(command.argv)}: {ended} in {vocabulary.duration(command.duration)}"
            yield command.started_at, "command", text, "dim"


def is_plumbing(command: CommandRow) -> bool:
    """Does it only lay our own files? Dozens of them hide the story."""
    return bool(command.argv) and command.argv[0].rpartition("/")[2] in _PLUMBING


def _warnings(story: Story) -> Iterable[RenderableType]:
    if story.edited:
        yield Text()
        yield Text("This record was changed after it was written:", style="bold red")
        for sentence in story.edited:
            yield Text(f"  - {vocabulary.one_line(sentence)}", style="red")


def findings(found: Sequence[Finding], *, verbose: bool = False) -> RenderableType:
    """What stops a run first, then what to read; answers that are fine are counted, or listed when verbose."""
    order = (Severity.BLOCKING, Severity.WARNING, *((Severity.OK,) if verbose else ()))
    lines: list[RenderableType] = []
    for severity in order:
        word, style = _SEVERITY[severity]
        for finding in found:
            if finding.severity is severity:
                where = f" on {finding.where}" if finding.where else ""
                said = vocabulary.one_line(f"{finding.check}{where}: {finding.message}")
                lines.append(Text.assemble((f"{word:8}  ", style), said))
                if finding.hint:
                    lines.append(Text(f"{'':8}  -> {vocabulary.one_line(finding.hint)}", style="dim"))
    counts = {severity: sum(1 for finding in found if finding.severity is severity) for severity in Severity}
    lines.append(
        Text(
            f"{counts[Severity.OK]} passed, {counts[Severity.WARNING]} warning(s), "
            f"{counts[Severity.BLOCKING]} blocking."
        )
    )
    return Group(*lines)


def settings(values: Mapping[str, str], origins: Mapping[str, str]) -> RenderableType:
    """Every key, its effective value as TOML, and where that came from."""
    table = _table("key", "value", "from")
    for key, value in values.items():
        table.add_row(*_cells(key, value, origins.get(key, "default")))
    return table


def columns(rows: Iterable[Sequence[str]], *heads: str) -> RenderableType:
    """A plain table under those heads."""
    table = _table(*heads)
    for row in rows:
        table.add_row(*_cells(*row))
    return table


def preview(
    cluster: Cluster, target: str, phases: Sequence[Phase], found: Sequence[Finding], *, verbose: bool = False
) -> RenderableType:
    """What a run would do: the path, each node, each phase with its steps, add-ons with their advice, the findings."""
    lines: list[RenderableType] = [
        Text(vocabulary.one_line(f"Cluster {cluster.name}: {cluster.version} -> {target}"), style="bold"),
        Text(f"etcd {vocabulary.one_line(cluster.etcd_version)}, {vocabulary.size(cluster.etcd_db_size)}"),
        columns(
            ((node.name, node.role, node.kubelet_version, ", ".join(node.holds) or "-") for node in cluster.nodes),
            *("node", "role", "kubelet", "held packages"),
        ),
    ]
    for phase in phases:
        lines.append(Text(vocabulary.one_line(phase.title), style="bold"))
        for step in phase.steps:
            mark = "*" if step.changes_node else " "
            lines.append(Text(f"  {mark} {vocabulary.one_line(step.name)}: {vocabulary.one_line(step.summary)}"))
    lines.append(Text("  (* changes a node: the gate stands before the first of these)", style="dim"))
    advised = [addon for addon in cluster.addons if addon.advice]
    if advised:
        lines.append(Text("Add-ons", style="bold"))
        lines += [Text(f"  {vocabulary.one_line(f'{addon.name}: {addon.advice}')}") for addon in advised]
    return Group(*lines, Text("Findings", style="bold"), findings(found, verbose=verbose))


def _table(*heads: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


def _cells(*texts: str) -> tuple[Text, ...]:
    return tuple(Text(vocabulary.one_line(text)) for text in texts)
