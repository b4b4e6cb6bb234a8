"""What reaches a terminal: text, and our own styling; whoever wrote the text."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner
from unit.cli.recorded import RUN, Recorder, failed
from unit.hostile.budget import tried
from unit.hostile.words import ESCAPES, MARKUP, OPTIONS

from upgrade_guard.cli.main import app
from upgrade_guard.journal import Journal
from upgrade_guard.model.run import ApprovalRecord, CommandRow, NodeRecord, Outcome
from upgrade_guard.model.step import Done, Step
from upgrade_guard.ui.console import open_screen, told

PROGRAM = Path(sys.executable).with_name("upgrade-guard")
OWN_STYLE = re.compile(r"\x1b\[[0-9;]*m")  # SGR: colours, bold; nothing that moves, clears, titles or links
DRIVING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
EVERYTHING = " ".join((*ESCAPES, *MARKUP))


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


def assert_harmless(text: str, *, styled: bool = False) -> None:
    plain = OWN_STYLE.sub("", text) if styled else text
    found = DRIVING.search(plain)
    assert found is None, f"{found[0]!r} in {plain[max(found.start() - 60, 0) : found.end() + 20]!r}"


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
@tried(60)
@given(word=st.sampled_from((*ESCAPES, *MARKUP)) | st.text(max_size=30))
def test_no_console_lets_a_text_drive_the_terminal(stream: type[io.StringIO], word: str) -> None:
    out, err = stream(), io.StringIO()
    screen = open_screen(stdout=out, stderr=err)
    table = Table(title=word)
    table.add_column(word, style="bold")
    table.add_row(word)
    for shown in (word, Text(word, style="red"), table):
        screen.answer.print(shown)
        screen.tell(shown, style="green")
    told(screen.story, word, word="Failed", said=word, reasons=(word,), standing=word, hint=word)
    assert_harmless(out.getvalue(), styled=True)
    assert_harmless(err.getvalue())


def test_markup_of_the_world_is_text() -> None:
    out = Terminal()
    open_screen(stdout=out, stderr=io.StringIO()).answer.print("node [bold red]w1[/] [link=http://a]b[/link]")
    assert out.getvalue() == "node [bold red]w1[/] [link=http://a]b[/link]\n"


def hostile_history(recorder: Recorder) -> None:
    """A failed attempt in which every word that the world may choose is as bad as it can be."""

    def written(journal: Journal) -> None:
        step = Step("nodes/w1/drain", EVERYTHING, lambda _: Done(), lambda _: None, lane=EVERYTHING)
        attempt = journal.start(RUN, step)
        at = datetime.now(UTC)
        journal.note(
            CommandRow(
                RUN, step.name, attempt, EVERYTHING, ("kubectl", EVERYTHING), 1, at, 0.1, True, *[EVERYTHING] * 2
            )
        )
        records = (
            NodeRecord(EVERYTHING, EVERYTHING, EVERYTHING, EVERYTHING, {EVERYTHING: EVERYTHING}),
            ApprovalRecord(EVERYTHING, EVERYTHING, EVERYTHING, EVERYTHING, at),
        )
        journal.conclude(
            RUN, step.name, attempt, Outcome.FAILED, result={"a": EVERYTHING}, detail=EVERYTHING, records=records
        )
        failed(journal, "inspect/checks", EVERYTHING)
        journal.identify(RUN, cluster=EVERYTHING, from_version=EVERYTHING)

    recorder.write(recorder.begin, written)


@pytest.mark.parametrize("words", [("status",), ("show",), ("show", "--verbose"), ("history",), ("show", "\x1b[2J")])
def test_commands_that_tell_a_hostile_history(tmp_path: Path, words: tuple[str, ...]) -> None:
    recorder = Recorder(tmp_path / "state")
    hostile_history(recorder)
    for json_answer in ((), ("--json",)):
        ended = upgrade_guard(tmp_path, *words, *json_answer)
        assert ended.returncode in (0, 2), ended
        assert "Traceback" not in ended.stderr
        assert_harmless(ended.stdout)
        assert_harmless(ended.stderr)
        if json_answer:
            assert json.loads(ended.stdout)["schema"] == 1


@pytest.mark.parametrize("word", [word for word in (*ESCAPES, *OPTIONS) if "\x00" not in word])
def test_words_that_an_operator_was_given(tmp_path: Path, word: str) -> None:
    for words in ((word,), ("run", word), ("history", "--since", word), ("run", "v1.28.0", "--offsite", word)):
        environ = {"HOME": str(tmp_path), "UPGRADE_GUARD_STATE_DIR": str(tmp_path / "state")}
        ended = CliRunner().invoke(app, list(words), env=environ)
        assert ended.exit_code in (0, 2), ended.output
        assert_harmless(ended.stdout)
        assert_harmless(ended.stderr)


def upgrade_guard(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[Any]:
    environment = {"HOME": str(tmp_path), "UPGRADE_GUARD_STATE_DIR": str(tmp_path / "state"), "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        (PROGRAM, *words),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
