"""The documents are held to the code: references are current, what is typed in them parses, links lead somewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from unit.test_architecture import ARROWS, FOR_EVERYONE, PACKAGE, ROOT

from upgrade_guard.cli.invocation import Front
from upgrade_guard.cli.root_command import GLOBAL_OPTIONS, without_global_options
from upgrade_guard.errors import EXIT_CODES, ExitCode

DOCS = ROOT / "docs"
CLI_PAGE = DOCS / "reference" / "cli.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
TYPED = re.compile(r"^ *(?:\$ |nohup |Next: |Type +)?(upgrade-guard(?: .*)?)$", re.MULTILINE)
QUOTED = re.compile(r"`(upgrade-guard [^`]+)`")
END_OF_WORDS = re.compile(r"[|>&;]|2>.*")


def named(value: object) -> str:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else str(value)


@cache
def generator() -> types.ModuleType:
    specification = importlib.util.spec_from_file_location("generate_docs", DOCS / "generate.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@cache
def commands() -> dict[str, Any]:
    """Full name to command; the program itself and its groups too."""
    return {name: command for name, command, _ in generator().commands()}


def own_options(command: Any) -> Iterator[Any]:
    with typer.Context(command) as context:
        yield from (one for one in command.get_params(context) if one.param_type_name == "option")


def command_lines(page: Path) -> list[str]:
    """What a reader may type: in fences, where a line begins with it or an answer ends with it, and in sentences."""
    text = page.read_text()
    typed = [line for _, block in FENCE.findall(text) for line in TYPED.findall(block)]
    return [*typed, *QUOTED.findall(FENCE.sub("", text))]


def parse(line: str) -> None:
    """Parse it as the program would, without running it. Raises what the program would refuse it with."""
    words: list[str] = []
    for word in shlex.split(line, comments=True)[1:]:
        if END_OF_WORDS.fullmatch(word):
            break
        words.append(word)
    words = without_global_options(words, Front())
    command: Any = commands()["upgrade-guard"]
    context: Any = typer.Context(command, info_name="upgrade-guard")
    while words and words[0] in getattr(command, "commands", {}):
        name = words.pop(0)
        command = command.commands[name]
        context = typer.Context(command, info_name=name, parent=context)
    if words in (["--help"], ["--version"]):
        assert words[0] in {spelling for option in own_options(command) for spelling in option.opts}
    elif hasattr(command, "commands"):
        assert not words, f"{words[0]} is not a command"
    else:
        command.make_context(context.info_name, words, parent=context.parent)


TYPED_LINES = [(page, line) for page in PAGES if page != CLI_PAGE for line in command_lines(page)]


@pytest.mark.parametrize("name", generator().PAGES)
def test_the_references_are_current(name: str) -> None:
    module = generator()
    assert (module.REFERENCE / name).read_text() == module.page(name), "write it anew: make docs"


def test_no_reference_is_left_over() -> None:
    assert {path.name for path in CLI_PAGE.parent.iterdir()} == set(generator().PAGES)


def test_a_stale_page_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = generator.__wrapped__()  # one of its own, to be pointed elsewhere
    vars(module).update(REFERENCE=tmp_path, PAGES={"states.md": module.states})
    assert module.main(["--check"]) == 1
    assert "states.md is stale" in capsys.readouterr().err
    assert module.main([]) == 0
    assert module.main(["--check"]) == 0
    (tmp_path / "states.md").write_text("something else")
    assert module.main(["--check"]) == 1


@pytest.mark.parametrize("name", commands())
def test_every_command_is_in_the_reference_with_help(name: str) -> None:
    command = commands()[name]
    assert command.help
    assert re.search(rf"^##+ {name}$", CLI_PAGE.read_text(), re.MULTILINE)
    section = re.split(r"^##+ ", CLI_PAGE.read_text().partition(f"# {name}\n")[2], flags=re.MULTILINE)[0]
    for option in own_options(command):
        assert option.help, f"{name} {option.name} has no help text"
        assert all(spelling in section for spelling in option.opts)


def test_the_options_of_every_command_are_in_the_reference() -> None:
    for spelling, _, meaning in GLOBAL_OPTIONS:
        assert meaning
        assert spelling in CLI_PAGE.read_text()


@pytest.mark.parametrize("name", ["", "lab run"])
def test_the_reference_shows_what_a_user_sees(name: str) -> None:
    argv = (sys.executable, "-m", "upgrade_guard.cli.main", *name.split(), "--help")
    environment = {**os.environ, "COLUMNS": "100"}
    seen = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert f"```text\n{seen.stdout.rstrip()}\n```" in CLI_PAGE.read_text()


def test_every_exit_code_has_a_meaning() -> None:
    assert [code for code, _, _ in EXIT_CODES] == list(ExitCode)


@pytest.mark.parametrize(("page", "line"), TYPED_LINES, ids=named)
def test_every_command_line_parses(page: Path, line: str) -> None:
    parse(line)


def test_command_lines_are_found() -> None:
    assert len(TYPED_LINES) > 50


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("upgrade-guard nonsense", "nonsense is not a command"),
        ("upgrade-guard lab nonsense", "nonsense is not a command"),
        ("upgrade-guard run --nonsense", "--nonsense"),
        ("upgrade-guard status too many", "unexpected extra argument"),
        ("upgrade-guard history --limit none", "valid integer"),
    ],
)
def test_a_wrong_command_line_is_noticed(line: str, why: str) -> None:
    with pytest.raises(Exception, match=why):
        parse(line)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_relative_link_resolves(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        if fragment:
            assert fragment in anchors(target), f"{link} names no heading"


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as a forge makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_document_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
        ahead += [(page.parent / link).resolve() for link in links if "://" not in link]
    assert set(DOCS.rglob("*.md")) <= reached


def test_the_changelog_has_what_is_unreleased_on_top() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_nothing_of_one_machine_or_of_a_registry_is_in_a_document(page: Path) -> None:
    text = page.read_text()
    assert not re.findall(r"/work\b|/root\b|/tmp/\S+|/home/(?!ops\b)\w+|\.\./shared", text)
    assert not re.findall(r"\b(?:registry|gcr|ghcr|quay|docker|pypi|pythonhosted|pkgs)\.[\w.-]*\w", text)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_documents_are_plain(page: Path) -> None:
    text = QUOTED.sub("", FENCE.sub("", page.read_text()))
    assert not re.findall(r"\b(?:simply|easily|obviously)\b|\w!(?:\s|$)", text, re.IGNORECASE)
    assert not [letter for letter in text if ord(letter) > 0x1F000]


def test_the_picture_of_the_rooms_is_the_law() -> None:
    page = (DOCS / "explanation" / "architecture.md").read_text()
    drawn = re.findall(r"^    (\w+) --> (\w+)$", page, re.MULTILINE)
    assert drawn
    for room, other in drawn:
        assert other in ARROWS[room], f"{room} may not import {other}"
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms <= set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    # An arrow that is not drawn has to be a shortcut along those that are.
    reach = {room: {other for start, other in drawn if start == room} for room in ARROWS}
    for _ in ARROWS:
        reach = {room: others | {far for other in others for far in reach[other]} for room, others in reach.items()}
    for room, allowed in ARROWS.items():
        if room == "__main__":  # no room: one line that starts the cli
            continue
        assert allowed - FOR_EVERYONE <= reach[room], f"the picture hides what {room} may import"
