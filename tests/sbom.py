"""The bill of materials of an installation, as CycloneDX JSON: `python tests/sbom.py FILE`; `make sbom` runs it.

It is read from a clean environment with the wheel and the locked packages, not from a list, so it says what is there.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from clean_install import REQUIREMENTS, ROOT, Wrong, build, environment, expect, install, run
from licences import pinned

PROGRAM = ROOT / ".venv" / "tools" / "bin" / "cyclonedx-py"


def main(words: list[str]) -> int:
    """Write the bill to the file that is named; 1 when it is not whole."""
    (name,) = words
    with tempfile.TemporaryDirectory(prefix="upgrade-guard-sbom-") as place:
        try:
            python = environment(Path(place))
            install(python, "runtime", build(Path(place)))
            text = bill_of(python)
        except Wrong as wrong:
            print(f"sbom: FAILED: {wrong}", file=sys.stderr)
            return 1
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(text)
    print(f"written: {name}")
    return 0


def bill_of(python: str) -> str:
    """The bill of the environment of that Python. Raises Wrong unless it names every locked package and ourselves."""
    argv = (str(PROGRAM), "environment", "--output-reproducible", "--pyproject", str(ROOT / "pyproject.toml"), python)
    text = run(*argv, quiet=True)
    absent = missing(json.loads(text), pinned(REQUIREMENTS / "runtime.txt"))
    expect(not absent, f"the bill of materials does not name {', '.join(absent)}")
    return text


def missing(bill: Mapping[str, Any], wanted: Iterable[tuple[str, str]]) -> list[str]:
    """What the bill lacks of these names and versions, and ourselves."""
    own = bill["metadata"].get("component", {})
    named = {(normal(one["name"]), one["version"]) for one in bill["components"]}
    absent = [f"{name} {version}" for name, version in wanted if (normal(name), version) not in named]
    return [*absent, *(() if own.get("name") == "upgrade-guard" else ("upgrade-guard",))]


def normal(name: str) -> str:
    """Packages spell their names in several ways."""
    return name.lower().replace("_", "-").replace(".", "-")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
