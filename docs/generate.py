"""Writes docs/reference from the code: `python docs/generate.py`, or with --check fails when a page is stale."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).parent / "reference"
DEVELOPERS = Path(__file__).parent.parent / "tests"
"""Where scripts of developers lie that the pages need."""
WRITTEN_BY = "<!-- Written by docs/generate.py from the code. Change the code, then: make docs -->\n"
HELP_WIDTH = 78
"""The width at which help is folded on any terminal of 80 columns or more."""


def commands() -> Iterator[tuple[str, Any, str]]:
    """Every command and group of the program: its full name, itself, and its help as a user sees it."""
    import typer
    from typer.main import get_command

    from upgrade_guard.cli.main import app

    def walk(command: Any, name: str, parent: Any) -> Iterator[tuple[str, Any, str]]:
        own_name = name.rpartition(" ")[2]
        settings = {"info_name": own_name, "parent": parent, "terminal_width": HELP_WIDTH} | command.context_settings
        with typer.Context(command, **settings) as context:
            yield name, command, command.get_help(context).rstrip()
            for below, subcommand in getattr(command, "commands", {}).items():
                yield from walk(subcommand, f"{name} {below}", context)

    yield from walk(get_command(app), "upgrade-guard", None)


def cli() -> str:
    """Every command with its help text."""
    sections = [
        f"{'##' if name.count(' ') < 1 else '###'} {name}\n\n```text\n{text}\n```\n" for name, _, text in commands()
    ]
    return (
        "# Commands\n\n"
        "What `--help` prints.\n"
        "The options of every command may stand before or after it.\n"
        "Progress and questions go to stderr, answers to stdout.\n"
        "With `--json` stdout carries one object: `schema` (1), `command`, `ok`, `data`, and `error` with `code`,"
        " `message`, `hint` and `reasons`, or null.\n"
        "Keys are only ever added.\n"
        "How a command ends is in [exit codes](exit-codes.md).\n\n" + "\n".join(sections)
    )


def configuration() -> str:
    """Every key of the configuration file."""
    from upgrade_guard.config.text import reference_markdown

    return (
        "# Configuration\n\n"
        "A TOML file: the one that `--config` names, else `UPGRADE_GUARD_CONFIG`, else"
        " `/etc/upgrade-guard/config.toml`, else `~/.config/upgrade-guard/config.toml`.\n"
        "Every key is optional.\n"
        "Unknown keys, wrong types and impossible values are refused with file, key and the valid choices (exit 2).\n"
        "`upgrade-guard config init` writes a commented file, `upgrade-guard config show` prints the effective settings"
        " and where each came from.\n\n"
        "The state directory is the one that `--state-dir` names, else `UPGRADE_GUARD_STATE_DIR`, else `state_dir` of"
        " the file, else its default.\n"
        "A run keeps the vault, the off-site targets, `offsite_required` and `snapshot_max_age` that it began with;"
        " other keys may be corrected while it is open.\n\n" + reference_markdown()
    )


def states() -> str:
    """The state machine as a picture, and each state and event in words."""
    from upgrade_guard.engine.states import FINAL, TABLES, allowed, mermaid, states
    from upgrade_guard.model.run import Kind
    from upgrade_guard.ui.vocabulary import standing

    lines = [
        "# States",
        "",
        "A state says what a run has reached, never what is going on: a process may end at any moment.",
        "`[gate]` marks the event that needs the gate's evidence.",
        "The gate is also judged before the first step of every process that changes a node.",
        "What it asks for is in [durability](../explanation/durability.md#the-gate).",
        "Each kind of run has its own way; every one of them is locked, resumed and recorded alike.",
    ]
    for kind in Kind:
        lines += [
            "",
            f"## {kind.value.capitalize()}",
            "",
            "```mermaid",
            mermaid(kind).rstrip(),
            "```",
            "",
            "| state | how things stand | events that lead on |",
            "|---|---|---|",
        ]
        for state in states(kind):
            ahead = ", ".join(f"`{event.value}`" for event in allowed(kind, state))
            lines.append(f"| `{state.value}` | {standing(kind, state)} | {ahead or 'none: the run is closed'} |")
            assert (state in FINAL) == (not ahead)  # noqa: S101 - the page would be wrong
        lines += ["", "| event | from | to | needs |", "|---|---|---|---|"]
        for way in TABLES[kind]:
            sources = ", ".join(f"`{source.value}`" for source in way.sources)
            gate = "the gate" if way.guard else ""
            lines.append(f"| `{way.event.value}` | {sources} | `{way.target.value}` | {gate} |")
    return "\n".join(lines) + "\n"


def checks() -> str:
    """Every check of the preflight."""
    from upgrade_guard.checks.reference import reference_markdown

    return reference_markdown()


def exit_codes() -> str:
    """The promise to scripts."""
    from upgrade_guard import errors
    from upgrade_guard.engine.states import TransitionRefused

    lines = [
        "# Exit codes",
        "",
        "A promise to scripts: codes are only ever added.",
        "",
        "| code | meaning | what to do |",
        "|---|---|---|",
    ]
    lines += [f"| {code.value} | {meaning} | {cure} |" for code, meaning, cure in errors.EXIT_CODES]
    lines += [
        "",
        "## Error codes",
        "",
        "With `--json`, `error.code` says more than the exit code.",
        "A bug (exit 1) has the code `bug`.",
        "",
        "| `error.code` | exit | meaning |",
        "|---|---|---|",
    ]
    classes = [
        kind
        for kind in (*vars(errors).values(), TransitionRefused)
        if isinstance(kind, type) and issubclass(kind, errors.GuardError) and kind is not errors.GuardError
    ]
    for kind in sorted(classes, key=lambda kind: (kind.exit_code, kind.code)):
        meaning = " ".join((kind.__doc__ or "").split())
        lines.append(f"| `{kind.code}` | {kind.exit_code.value} | {meaning} |")
    return "\n".join(lines) + "\n"


def journal() -> str:
    """The tables of the journal."""
    from upgrade_guard.journal.reference import reference_markdown

    return reference_markdown()


def faults() -> str:
    """What can be made to fail in a lab, and the end that is owed."""
    from upgrade_guard.lab.faults import FAULTS

    lines = [
        "# Faults of the lab",
        "",
        "Switched on with `upgrade-guard lab run v1.28.0 --fault NAME`.",
        "How to use them is in [rehearse a failure](../how-to/rehearse-a-failure.md).",
        "A fault that fires once is used up by that.",
        "The others last until what they hang on is gone, such as the new version.",
        "",
        "| fault | what breaks | fires | how a run ends |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{one.name}` | {one.summary} | {'once' if one.once else 'until it is gone'} | {one.ends} |"
        for one in FAULTS
    ]
    return "\n".join(lines) + "\n"


def answers() -> str:
    """The ladder: which failure is answered with what."""
    from upgrade_guard.workflows.ladder import RUNGS

    head = (
        "# Answers to a failure\n\n"
        "What a failure after the gate is answered with: the mildest means that is right.\n"
        "*Serves* means that every member of etcd is healthy, every API server ready, and that the cluster's endpoint"
        " answers.\n"
        "*Pause* is exit 6: nothing is taken back and a person decides.\n"
        "*The others serve* means the same without the control plane that failed, with a majority of etcd's members.\n"
        "*It goes back alone*: the files, packages and manifests of that control plane, or its kubelet where only that"
        " is new; the others serve meanwhile and etcd keeps its data.\n"
        "A component that crash-loops on the new version does not serve.\n"
        "While the API serves, a rollback that would lose more than `rollback.ask_beyond` or"
        " `rollback.ask_beyond_revisions` allow becomes a pause.\n"
        "A machine that cannot be asked decides nothing: exit 4, and `upgrade-guard resume` asks again.\n"
        "A worker that fails goes back alone (`upgrade.on_node_failure`), and the run pauses.\n\n"
        "| stage | what failed | before that | every control plane serves | only the others serve | nobody serves |"
        " why |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    rows = (
        f"| {one.stage} | {one.what} | {one.first} | {one.serving} | {one.others} | {one.away} | {one.why} |\n"
        for one in RUNGS
    )
    return head + "".join(rows)


def dependencies() -> str:
    """What an installation brings along, and under which licences."""
    import licences

    runtime = licences.dependencies("runtime")
    lab = [one for one in licences.dependencies("lab") if one not in runtime]
    lines = [
        "# Dependencies",
        "",
        "The Python packages that an installation brings along, at the versions that are tested, with their licences.",
        "The versions are those of `requirements/runtime.txt`; `requirements/lab.txt` has the rehearsal cluster too.",
        "All of these licences are permissive; `make docs-check` fails when a package comes under another one.",
        "`make sbom` writes the same as CycloneDX JSON.",
        "How to install these files and no others is in [install what was tested](../how-to/install.md).",
    ]
    for title, packages in (("upgrade-guard", runtime), ("The extra `lab`", lab)):
        lines += ["", f"## {title}", "", "| package | version | licence |", "|---|---|---|"]
        lines += [f"| {one.name} | {one.version} | {one.licence} |" for one in packages]
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli,
    "configuration.md": configuration,
    "states.md": states,
    "answers.md": answers,
    "checks.md": checks,
    "exit-codes.md": exit_codes,
    "journal.md": journal,
    "faults.md": faults,
    "dependencies.md": dependencies,
}


def page(name: str) -> str:
    """The whole text of one page of docs/reference."""
    return WRITTEN_BY + "\n" + PAGES[name]().rstrip() + "\n"


def stale() -> tuple[str, ...]:
    """The pages that are not what the code says now."""
    paths = {name: REFERENCE / name for name in PAGES}
    return tuple(name for name, path in paths.items() if not path.exists() or path.read_text() != page(name))


def main(words: list[str]) -> int:
    """Write every page, or with --check say which are stale."""
    old = stale()
    if words == ["--check"]:
        for name in old:
            print(f"docs/reference/{name} is stale; write it anew with: make docs", file=sys.stderr)
        return 1 if old else 0
    REFERENCE.mkdir(exist_ok=True)
    for name in old:
        (REFERENCE / name).write_text(page(name))
        print(f"written: docs/reference/{name}")
    return 0


if __name__ == "__main__":
    sys.path.append(str(DEVELOPERS))
    raise SystemExit(main(sys.argv[1:]))
