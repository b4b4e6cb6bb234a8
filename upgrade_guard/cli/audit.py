"""`audit verify` and `audit export`: does history hold, and history for those who check it elsewhere."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upgrade_guard.cli.fast_commands import QuickCommand, QuickGroup
from upgrade_guard.cli.invocation import Front
from upgrade_guard.errors import JournalProblem, UsageProblem
from upgrade_guard.runs import history_heads, resources
from upgrade_guard.runs.history_heads import Heads

if TYPE_CHECKING:
    from upgrade_guard.journal import Journal
    from upgrade_guard.model.audit import Audit

commands = typer.Typer(
    cls=QuickGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Check that history was not changed; export it for those who check it elsewhere.",
)


def register(app: typer.Typer) -> None:
    """Add the group to the program."""
    app.add_typer(commands, name="audit")


@commands.command("verify", cls=QuickCommand)
def verify(
    context: typer.Context,
    *,
    head: Annotated[
        str | None,
        typer.Option("--head", metavar="HASH", help="A head that was kept elsewhere: it must be one of the rows."),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="Check an export instead of the journal, which is not needed."),
    ] = None,
    remote: Annotated[
        bool,
        typer.Option(
            "--remote", help="Compare with the heads that bundles, their off-site copies and control planes have."
        ),
    ] = False,
) -> None:
    """Look over all of history for rows that were edited, removed, inserted or reordered.

    Exit code 3 when something does not hold; each place is named. Changes nothing.
    """
    front = Front.of(context)
    kept = _kept(head)
    if remote and export:
        raise UsageProblem(
            "--remote compares the journal, and not an export", hint="upgrade-guard audit verify --remote"
        )
    heads = None if export else _heads(front, remote=remote)
    found = _of_export(front, export, kept) if export else _of_journal(front, kept, heads)

    def shown() -> str:
        return "\n".join((_told(found, export, kept, front), *(history_heads.told(heads) if heads else ())))

    answer = {
        "whole": found.whole,
        "rows": found.rows,
        "seq": found.seq,
        "head": found.head,
        "kept": found.kept,
        "gaps": found.gaps,
        "breaches": found.breaches,
        "more": found.more,
    }
    if heads is not None:
        answer["compared"] = history_heads.answer(heads)
    front.answer(answer, shown if found.whole else None)
    if not found.whole:
        raise _broken(found, export)


@commands.command("export", cls=QuickCommand)
def export(
    context: typer.Context,
    *,
    run: Annotated[str | None, typer.Option("--run", metavar="RUN", help="Only this run's rows.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write it there, for you alone. [default: stdout]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE when it exists.")] = False,
) -> None:
    """Write history as lines of JSON that carry the chain: anybody can check them without upgrade-guard."""
    front = Front.of(context)
    if front.json and output is None:
        raise UsageProblem(
            "--json answers with one object, an export has a line for each row",
            hint="upgrade-guard audit export --output FILE --json",
        )
    with resources.reading(front.settings().config) as journal:
        opened = _there(journal, front)
        run_id = opened.run(run).id if run else None
        head = opened.head()
        with opened.exported(run_id) as lines:
            ended = (f"{line}\n" for line in lines)
            if output is None:
                sys.stdout.writelines(ended)
                return
            from upgrade_guard.cli.private_file import write_private

            write_private(output, ended, force=force)
    told = (
        f"Written: {output}\nHead: {head}\nCheck it: {front.pasteable(f'upgrade-guard audit verify --export {output}')}"
    )
    front.answer({"path": str(output), "run": run_id, "head": head}, lambda: told)


def _heads(front: Front, *, remote: bool) -> Heads | None:
    """Nothing is looked for elsewhere unless somebody asks, or signatures are to be looked at."""
    config = front.settings().config
    if not remote and not config.audit.allowed_signers:
        return None
    with resources.reading(config) as journal:
        return history_heads.gathered(config, _there(journal, front), remote=remote)


def _of_journal(front: Front, kept: str, heads: Heads | None) -> Audit:
    from upgrade_guard.ui.progress import counted

    elsewhere = heads.known if heads else {}
    with resources.reading(front.settings().config) as journal, counted(front.screen, "Rows read") as heard:
        found = _there(journal, front).audit(kept, heard, elsewhere)
    forged = heads.signatures.bad if heads and heads.signatures else ()
    return replace(found, breaches=(*found.breaches, *forged))


def _of_export(front: Front, path: Path, kept: str) -> Audit:
    from upgrade_guard.journal import LONGEST_LINE, audited_export
    from upgrade_guard.ui.progress import counted

    try:
        with (
            path.open(encoding="utf-8", errors="surrogateescape") as file,
            counted(front.screen, "Rows read") as heard,
        ):
            # A line that no export has comes in pieces, none of which is a row: memory is not as large as any file.
            return audited_export(iter(lambda: file.readline(LONGEST_LINE), ""), kept, heard)
    except OSError as problem:
        raise UsageProblem(f"--export {path}: {problem.strerror}", hint=f"ls -l {path}") from None


def _there(journal: Journal | None, front: Front) -> Journal:
    if journal is None:
        raise UsageProblem(
            f"there is no journal in {front.settings().config.state_dir}; is that the right state directory?",
            hint="upgrade-guard config show",
        )
    return journal


def _kept(head: str | None) -> str:
    if head is None:
        return ""
    if not re.fullmatch(r"(?!0{64})[0-9a-f]{64}", head.strip().lower()):  # zeros stand before the first row
        raise UsageProblem(
            f"--head {head}: not a head, which has 64 digits from 0 to f",
            hint="see the one of today: `upgrade-guard audit verify`",
        )
    return head.strip().lower()


def _told(found: Audit, export: Path | None, kept: str, front: Front) -> str:
    lines = [
        f"{'The export' if export else 'History'} holds: {found.rows:,} rows, each with the digest of the one before."
    ]
    if found.gaps:
        lines.append(
            f"In {found.gaps} place(s) rows of other runs lie between; those links are not in an export of one run."
        )
    elif found.rows:
        lines.append(f"Head: {found.head} (row {found.seq:,})")
    if kept:
        after = f"; {found.seq - (found.kept or 0):,} rows were written since" if found.kept != found.seq else ""
        lines.append(f"The head that you kept is row {found.kept:,}{after}: nothing up to it was changed.")
    elif not export:
        command = front.pasteable(f"upgrade-guard audit verify --head {found.head}")
        lines += [
            "Keep the head elsewhere. Whoever can write the file can also write all of it anew; this shows even that:"
        ]
        lines += [f"  {command}"]
    return "\n".join(lines)


def _broken(found: Audit, export: Path | None) -> JournalProblem:
    count = f"{len(found.breaches)}{' or more' if found.more else ''}"
    what = f"the export {export}" if export else "history"
    hint = (
        "get the export anew from where it was kept"
        if export
        else (
            "keep what is there as evidence, and compare it with an export that was kept: "
            "`upgrade-guard audit export --output now.jsonl`, `diff KEPT now.jsonl`"
        )
    )
    return JournalProblem(
        f"{what} does not hold, in {count} place(s)", hint=hint, reasons=tuple(one.what for one in found.breaches)
    )
