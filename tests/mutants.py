"""Break the lines that must not be wrong, one at a time, and see which breakage no unit test notices.

`python tests/mutants.py [MODULE ...]` does it with mutmut in a copy of the checkout, one processor, for hours if it is
told to do all; `make mutants` runs it. It prints a row for each module, and writes what survived to FILE.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / ".venv" / "mutants"
WORK = PLACE / "work"
PROGRAM = PLACE / "bin" / "mutmut"
SURVIVORS = ROOT / "dist" / "mutants.diff"
COPIED = ("LICENSE", "README.md", "docs", "migrations", "pyproject.toml", "requirements", "tests", "upgrade_guard")
LONG = 4 * 3600.0

_RUNS = (
    *("engine/test_attempt.py", "engine/test_before_change.py", "engine/test_evidence_check.py"),
    *("engine/test_passage.py", "engine/test_phase_runner.py", "engine/test_runner.py"),
    *("engine/test_runner_failure.py", "engine/test_runner_gate.py", "engine/test_runner_kinds.py"),
)
# The modules that decide, and the unit tests that are about them.
MODULES: dict[str, tuple[str, ...]] = {
    "engine/gate.py": ("engine/test_gate.py",),
    "engine/evidence_check.py": _RUNS,
    "engine/attempt.py": _RUNS,
    "engine/phase_runner.py": _RUNS,
    "engine/runner.py": _RUNS,
    "engine/states.py": ("engine/test_states.py",),
    "engine/outcomes.py": ("engine/test_outcomes.py",),
    "engine/node_recovery.py": _RUNS,
    "engine/interruption.py": ("engine/test_interruption.py",),
    "steps/quiesce.py": ("steps/test_quiesce.py", "steps/test_stopping.py", "workflows/test_rollback_order.py"),
    "steps/etcd_restore.py": (
        "steps/test_etcd_restore.py",
        "workflows/test_rollback_order.py",
        "workflows/test_restore.py",
    ),
    "vault/node_files.py": ("vault/test_node_files.py", "vault/test_put_back.py"),
    "vault/retention.py": ("vault/test_retention.py",),
    "journal/chain.py": ("journal/test_chain.py", "journal/test_chain_rows.py", "journal/test_audit.py"),
}
# What mutmut notes of each mutant: how pytest ended.
SURVIVED, KILLED, UNTESTED = (0,), (1, 3), (5, 33)


def main(words: list[str]) -> int:
    """Each module that is named, or all of them."""
    unknown = [name for name in words if name not in MODULES]
    if unknown:
        print(f"there is no {unknown[0]} among: {' '.join(MODULES)}", file=sys.stderr)
        return 2
    SURVIVORS.parent.mkdir(exist_ok=True)
    print("| module | mutants | killed | out of time | survived | not reached |\n|---|---|---|---|---|---|", flush=True)
    for name in words or MODULES:
        ends = tried(name, MODULES[name])
        counts = Counter(_meaning(end) for end in ends.values())
        row = (len(ends), *(counts[meaning] for meaning in ("killed", "out of time", "survived", "not reached")))
        print(f"| `{name}` | {' | '.join(map(str, row))} |", flush=True)
        with SURVIVORS.open("a") as file:
            file.write(_differences([one for one, end in ends.items() if _meaning(end) != "killed"]))
    print(f"what was not killed: {SURVIVORS}", file=sys.stderr)
    return 0


def tried(name: str, tests: tuple[str, ...]) -> dict[str, int | None]:
    """How the tests ended for each mutant of that module."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    for one in COPIED:
        copy = shutil.copytree if (ROOT / one).is_dir() else shutil.copy2
        copy(ROOT / one, WORK / one)
    # Where an installation has them.
    shutil.copytree(ROOT / "migrations", WORK / "upgrade_guard" / "migrations", dirs_exist_ok=True)
    settings = {
        "source_paths": ["upgrade_guard/"],
        "only_mutate": [f"upgrade_guard/{name}"],
        "pytest_add_cli_args_test_selection": [f"tests/unit/{one}" for one in tests],
        "also_copy": [one for one in COPIED if one != "upgrade_guard"],
    }
    with (WORK / "pyproject.toml").open("a") as file:
        file.write("\n[tool.mutmut]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
    ended = _said(str(PROGRAM), "run", "--max-children", "1")
    found = WORK / "mutants" / "upgrade_guard" / f"{name}.meta"
    if not found.exists():
        sys.exit(f"mutmut did not get to {name}:\n{ended[-3000:]}")
    ends: dict[str, int | None] = json.loads(found.read_text())["exit_code_by_key"]
    if None in ends.values():
        sys.exit(f"mutmut did not come to the end of {name}:\n{ended[-3000:]}")
    return ends


def _meaning(end: int | None) -> str:
    if end in KILLED:
        return "killed"
    if end in SURVIVED:
        return "survived"
    return "not reached" if end in UNTESTED else "out of time"


def _differences(mutants: list[str]) -> str:
    """One process for all of them: to start mutmut takes as long as a test."""
    show = "import sys; from mutmut.__main__ import show; [show.callback(name) for name in sys.argv[1:]]"
    return _said(str(PROGRAM.with_name("python")), "-c", show, *mutants)


def _said(*argv: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UPGRADE_GUARD")}
    ended = subprocess.run(argv, cwd=WORK, env=environment, capture_output=True, text=True, timeout=LONG, check=False)
    return ended.stdout + ended.stderr


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
