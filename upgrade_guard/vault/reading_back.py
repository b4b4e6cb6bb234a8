"""How a copy differs from what it must hold: one comparison for every kind of target."""

from __future__ import annotations

from collections.abc import Mapping

from upgrade_guard.vault.manifest import FileEntry


def compared(where: str, expected: Mapping[str, FileEntry], found: Mapping[str, FileEntry | str]) -> tuple[str, ...]:
    """A sentence per difference. `found` holds what was read, or in words what it is instead of a file."""
    problems = []
    for name, entry in expected.items():
        there = found.get(name)
        if there is None:
            problems.append(f"{where} lacks {name}")
        elif isinstance(there, str):
            problems.append(f"{where} differs: {name} {there}")
        elif there.size != entry.size:
            problems.append(f"{where} differs: {name} has {there.size} bytes instead of {entry.size}")
        elif there.sha256 != entry.sha256:
            problems.append(f"{where} differs: {name} has another SHA-256 than the bundle")
    problems += [
        f"{where} has {name!r}, which does not belong to it" for name in sorted(found.keys() - expected.keys())
    ]
    return tuple(problems)
