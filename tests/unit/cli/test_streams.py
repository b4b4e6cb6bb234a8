"""Standard streams that are closed, or that take nothing: no traceback, the promised exit code, no bad advice."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = (sys.executable, "-c", "import sys; from upgrade_guard.cli.main import main; main()")


def guard(tmp_path: Path, words: tuple[str, ...], redirected: str) -> subprocess.CompletedProcess[str]:
    """`upgrade-guard WORDS`, started by a shell that redirects it so."""
    command = f"exec {shlex.join((*PROGRAM, *words, '--state-dir', str(tmp_path)))} {redirected}"
    return subprocess.run(("sh", "-c", command), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


CASES = {
    ("history",): 0,
    ("history", "--json"): 0,
    ("--help",): 0,
    ("nonsense",): 2,
    ("show", "no-such-run", "--json"): 2,
}


@pytest.mark.parametrize("redirected", [">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"])
@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_a_closed_stream_changes_no_exit_code(tmp_path: Path, words: tuple[str, ...], redirected: str) -> None:
    ended = guard(tmp_path, words, redirected)
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "NoneType" not in ended.stdout + ended.stderr
    assert ended.returncode == CASES[words], ended
    if ">&-" not in redirected.split() and "--json" in words:
        assert json.loads(ended.stdout)["ok"] is (CASES[words] == 0)


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_an_answer_that_cannot_be_written_is_said_with_a_command_that_exists(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    ended = guard(tmp_path, words, ">/dev/full")
    assert "Traceback" not in ended.stderr
    assert "df -h this machine" not in ended.stderr
    assert ended.returncode == (CASES[words] or 4), ended
    if CASES[words] == 0:
        assert "standard output cannot be written: No space left on device" in ended.stderr
        assert "then ask again: upgrade-guard " in ended.stderr


def test_a_reader_that_leaves_changes_no_exit_code(tmp_path: Path) -> None:
    words = ("show", "no-such-run", "--json", "--state-dir", str(tmp_path))
    with subprocess.Popen((*PROGRAM, *words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.close()
        assert child.wait(timeout=60) == 2


def test_files_of_ours_never_get_the_number_of_a_stream(tmp_path: Path) -> None:
    """What another part of the program, or a child, prints to a closed stream must not land in the journal."""
    script = (
        "import sys, os\n"
        "from upgrade_guard.cli import main\n"
        "main.app = lambda **_: print(*(os.readlink(f'/proc/self/fd/{number}') for number in range(3)), "
        f"file=open({str(tmp_path / 'said')!r}, 'w'))\n"
        "main.main()\n"
    )
    subprocess.run(("sh", "-c", f"exec {shlex.join((sys.executable, '-c', script))} <&- >&- 2>&-"), check=True)
    assert (tmp_path / "said").read_text().split() == [os.devnull] * 3
