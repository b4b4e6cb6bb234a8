"""A clean installation of the wheel with the locked packages, for those who look at one (package_check, sbom)."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
SOURCES = ("upgrade_guard", "migrations", "pyproject.toml", "README.md", "LICENSE")
LONG = 900.0
"""Seconds for an installation or a lab upgrade; both take one or two minutes."""


class Wrong(Exception):
    """The wheel is not what it should be."""


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


def environment(place: Path) -> str:
    """A clean environment there, without even pip; its Python."""
    say("a clean environment")
    venv.create(place / "environment", with_pip=False)
    return str(place / "environment" / "bin" / "python")


def install(python: str, lock: str, wheel: Path) -> None:
    """What is locked, by its hashes, and then the wheel and nothing that it would fetch; do they agree?"""
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    locked = ("--require-hashes", "--requirement", str(REQUIREMENTS / f"{lock}.txt"))
    run(*pip, "install", "--quiet", *locked, timeout=LONG)
    run(*pip, "install", "--quiet", "--no-deps", "--force-reinstall", str(wheel), timeout=LONG)
    run(*pip, "check")


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
    print(f"{Path(sys.argv[0]).stem}: {text}", flush=True)
