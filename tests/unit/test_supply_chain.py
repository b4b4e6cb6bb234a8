"""What an installation brings along: locked by hashes, one release of each, under licences that somebody looked at."""

from __future__ import annotations

import re
import tomllib
from email.message import Message
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

import pytest
from licences import Unfit, fit, pinned, stated
from packaging.requirements import Requirement
from packaging.version import Version
from sbom import missing
from unit.test_architecture import ROOT

LOCKS = ("runtime", "lab", "dev", "tools", "mutants")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Where an upper bound would do harm; pyproject.toml says why.
UNBOUNDED = {"cryptography"}


def lock(name: str) -> Path:
    return ROOT / "requirements" / f"{name}.txt"


def bare(requirement: str) -> str:
    return Requirement(requirement).name.lower().replace("_", "-")


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_of_a_lock_file_has_one_version_and_hashes_and_nothing_says_where_it_comes_from(
    name: str,
) -> None:
    text = lock(name).read_text()
    entries = re.split(r"^(?=[^\s#])", text, flags=re.MULTILINE)[1:]
    assert len(entries) > 20
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,-]+\])?==[^ ]+ ", entry), entry
        assert "--hash=sha256:" in entry, entry
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)


@pytest.mark.parametrize("name", ["runtime", "lab"])
def test_what_is_installed_is_what_is_developed_with(name: str) -> None:
    assert set(pinned(lock(name))) <= set(pinned(lock("dev")))


def test_the_lock_files_hold_every_dependency_at_a_version_that_is_allowed() -> None:
    extras = PROJECT["optional-dependencies"]
    wanted = {"runtime": PROJECT["dependencies"], "lab": extras["lab"], "dev": extras["dev"]}
    for name, requirements in wanted.items():
        locked = dict(pinned(lock(name)))
        for requirement in requirements:
            if bare(requirement) != "upgrade-guard":
                assert Requirement(requirement).specifier.contains(locked[bare(requirement)]), requirement


def test_every_dependency_is_bounded_above_by_what_may_break() -> None:
    for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["lab"]):
        requirement = Requirement(text)
        bounds = [Version(one.version) for one in requirement.specifier if one.operator == "<"]
        assert bool(bounds) == (requirement.name not in UNBOUNDED), text
        newest = Version(dict(pinned(lock("lab")))[bare(text)])
        for bound in bounds:  # below 1.0 each minor may break, and etcd's 3.6 does
            close = bound.release[0] == newest.release[0] + 1 or bound.release[:1] == newest.release[:1]
            assert close, f"{text} allows far more than {newest}, which is tested"


@pytest.mark.parametrize(
    "expression",
    ["MIT", "Apache-2.0 OR GPL-3.0-only", "Apache-2.0 AND BSD-2-Clause", "mit"],
)
def test_a_permissive_licence_is_fit(expression: str) -> None:
    fit("package", expression)


@pytest.mark.parametrize(
    "expression",
    [
        "GPL-3.0-or-later",
        "MIT AND AGPL-3.0-only",
        "LGPL-2.1-only OR GPL-2.0-only",
        "LicenseRef-Ours",
        "Free for all",
        "",
    ],
)
def test_another_licence_is_refused(expression: str) -> None:
    with pytest.raises(Unfit, match="package"):
        fit("package", expression)


def installed(tmp_path: Path, licence: str = "", **fields: str) -> PathDistribution:
    """A package on disk with that metadata and, when given, that licence file."""
    place = tmp_path / "package-1.0.dist-info"
    (place / "licenses").mkdir(parents=True)
    message = Message()
    message["Metadata-Version"], message["Name"], message["Version"] = "2.1", "package", "1.0"
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    (place / "METADATA").write_text(message.as_string())
    (place / "RECORD").write_text("package-1.0.dist-info/licenses/LICENSE,,\n")
    (place / "licenses" / "LICENSE").write_text(licence)
    return PathDistribution(place)


def test_a_licence_is_taken_from_the_expression_first_and_then_from_the_classifiers(tmp_path: Path) -> None:
    classifier = "License :: OSI Approved :: MIT License"
    assert stated("package", installed(tmp_path / "a", License_Expression="ISC", Classifier=classifier)) == "ISC"
    assert stated("package", installed(tmp_path / "b", Classifier=classifier)) == "MIT"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"License": "MIT"},
        {"Classifier": "License :: OSI Approved :: BSD License"},
        {"Classifier": "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"},
    ],
)
def test_a_package_that_names_no_licence_clearly_is_refused(tmp_path: Path, fields: dict[str, str]) -> None:
    with pytest.raises(Unfit):
        stated("package", installed(tmp_path, **fields))


def test_a_licence_file_that_we_read_is_refused_once_its_words_are_others(tmp_path: Path) -> None:
    mit = "Permission is hereby granted,\nfree of charge, to any person"
    assert stated("pyrage", installed(tmp_path / "now", mit)) == "MIT"
    with pytest.raises(Unfit, match="pyrage"):
        stated("pyrage", installed(tmp_path / "later", "GNU GENERAL PUBLIC LICENSE"))


def test_a_bill_that_leaves_a_package_out_or_has_another_version_is_not_whole() -> None:
    bill: dict[str, Any] = {
        "metadata": {"component": {"name": "upgrade-guard"}},
        "components": [{"name": "Markup_Safe", "version": "3"}, {"name": "rich", "version": "14"}],
    }
    assert missing(bill, [("markup-safe", "3"), ("rich", "15"), ("typer", "1")]) == ["rich 15", "typer 1"]
    assert missing(bill | {"metadata": {}}, []) == ["upgrade-guard"]
