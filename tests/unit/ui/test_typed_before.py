"""A real terminal: what was typed before a question was there must not answer it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

PATIENCE = 60.0
ASKS = """
import sys, termios, tty
from datetime import UTC, datetime
from pathlib import Path
from upgrade_guard.errors import DecisionNeeded
from upgrade_guard.ui.prompts import Prompts

ready, go = map(Path, sys.argv[2:])
ready.touch()
while not go.exists():
    pass
prompts = Prompts(True, sys.stderr, lambda: datetime.now(UTC), by="ada")
try:
    if sys.argv[1] == "approve":
        prompts.approve("Upgrade cluster prod?", "", "plan/approve")
    elif sys.argv[1] == "confirm":
        prompts.confirm("Close the run?", flag="", hint="h")
    else:
        prompts.confirm_cluster("prod", "20 writes", given=None, hint="h")
except DecisionNeeded:
    sys.exit(6)
"""


@pytest.mark.parametrize(
    ("kind", "before", "after", "ends"),
    [
        ("approve", b"yes\r", b"no\r", 6),
        ("approve", b"no\r", b"yes\r", 0),
        ("confirm", b"y", b"n", 6),
        ("cluster", b"prod\r", b"\r", 6),
    ],
)
def test_keys_of_before_answer_nothing(tmp_path: Path, kind: str, before: bytes, after: bytes, ends: int) -> None:
    ours, theirs = pty.openpty()
    ready, go = tmp_path / "ready", tmp_path / "go"
    argv = (sys.executable, "-c", ASKS, kind, str(ready), str(go))
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as asking:
        os.close(theirs)
        try:
            while not ready.exists():
                assert asking.poll() is None
            os.write(ours, before)
            go.touch()
            said = b""
            while not any(words in said for words in (b"Type yes", b"Close the run", b"Type the name")):
                said += _read(ours)
            # Answered by now where what was typed before counts; otherwise this is the answer.
            os.write(ours, after)
            while asking.poll() is None:
                _read(ours)
        finally:
            asking.kill()
    os.close(ours)
    assert asking.returncode == ends, said


def _read(terminal: int) -> bytes:
    there, _, _ = select.select([terminal], [], [], PATIENCE)
    assert there, "nothing more was written"
    try:
        return os.read(terminal, 65536)
    except OSError:  # its other side is closed
        return b""
