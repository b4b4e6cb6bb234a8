"""kill -9 at every point of a run on paper: the same end, and nothing done twice (a step on paper refuses that)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
# The number of deaths there is at least to die: fewer would mean that points are no longer passed.
AT_LEAST = {
    "straight": 68,
    "lanes": 28,
    "rollback": 16,
    "rollback-fails-once": 13,
    "worker-put-back": 40,
    "proof-grows-old": 67,
    "aborted": 8,
    "abort-given-up": 8,
}


@pytest.mark.parametrize("scenario", AT_LEAST)
def test_a_run_that_dies_anywhere_comes_to_the_same_end(scenario: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, str(TESTS / "crash" / "paper_deaths.py"), scenario, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    deaths = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [death for death in deaths if not death["well"]] == [], ended.stderr
    assert deaths[-1]["died"] == 0, "the last one lives, or points were missed"
    assert len(deaths) - 1 >= AT_LEAST[scenario]
