"""How long an operator waits for the first word: whole processes, in turn with `python -c "import typer"`.

Run: python tests/bench/cold_start_bench.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = str(Path(sys.executable).parent / "upgrade-guard")
COMMANDS = {
    'python -c "import typer"': (sys.executable, "-c", "import typer"),
    "upgrade-guard --help": (PROGRAM, "--help"),
    "upgrade-guard status": (PROGRAM, "--state-dir", "STATE", "status"),
    "upgrade-guard history": (PROGRAM, "--state-dir", "STATE", "history"),
}


def seconds(argv: tuple[str, ...]) -> float:
    began = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as state:
        for number in range(rounds + 1):  # the first round warms the caches and does not count
            for name, argv in COMMANDS.items():
                spent = seconds(tuple(state if word == "STATE" else word for word in argv))
                if number:
                    taken[name].append(spent)
    base = taken['python -c "import typer"']
    print(f"{'command':28} {'median ms':>10} {'ratio':>6}")
    for name, times in taken.items():
        ratio = statistics.median(one / other for one, other in zip(times, base, strict=True))
        print(f"{name:28} {statistics.median(times) * 1000:10.0f} {ratio:6.2f}")


if __name__ == "__main__":
    main()
