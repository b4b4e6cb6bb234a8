"""Package repositories of a lab, one for each minor series, and what apt knows of them after `apt-get update`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from upgrade_guard.lab import faults, releases
from upgrade_guard.lab.layout import LabSettings, Layout, write_json

INDEX = "Packages.json"
Lists = dict[str, list[list[str]]]
"""Package to `[version, repository]`, newest first."""


@dataclass(frozen=True)
class Own:
    """The directories that `-o Dir::...` gives to apt beside the node's own; None where it gives none."""

    sources: Path | None = None
    state: Path | None = None
    archives: Path | None = None

    @classmethod
    def of(cls, options: Sequence[str]) -> Own:
        """Of the values of `-o`."""
        given = dict(option.partition("=")[::2] for option in options)
        sources, state, cache = (given.get(f"Dir::{key}") for key in ("Etc::sourceparts", "State::lists", "Cache"))
        return cls(
            Path(sources) if sources else None,
            Path(state) if state else None,
            Path(cache) / "archives" if cache else None,
        )

    def keep(self, lists: Lists) -> None:
        """What an update found."""
        if self.state is not None:
            write_json(self.state / INDEX, lists)

    def has(self, file: str) -> bool:
        """Was that package file fetched there?"""
        return self.archives is not None and (self.archives / file).exists()

    def fetched(self, file: str) -> None:
        """That package file is there from now on, unless its source is `file:`, of which apt keeps nothing."""
        if self.archives is not None and self.copies:
            (self.archives / file).touch()

    @property
    def copies(self) -> bool:
        """Do the sources say `copy:` where the node's own say `file:`?"""
        sources = () if self.sources is None else sorted(self.sources.glob("*.list"))
        return any("copy:/" in path.read_text() for path in sources)

    def lists(self) -> Lists | None:
        """What the last update found there."""
        if self.state is None:
            return None
        return dict(json.loads((self.state / INDEX).read_text()))


def make_repositories(settings: LabSettings) -> None:
    """The series of the cluster's version and its neighbours."""
    layout, here = Layout.of(settings), releases.minor(settings.from_version)
    for series in range(max(here - 1, releases.OLDEST), min(here + 2, releases.NEWEST) + 1):
        patches = {*releases.PATCHES, *([releases.numbers(settings.from_version)[2]] if series == here else [])}
        versions = [f"1.{series}.{patch}-1.1" for patch in sorted(patches)]
        index = dict.fromkeys(releases.KUBERNETES_PACKAGES, versions)
        write_json(layout.repository / f"v1.{series}" / INDEX, index)


def source_line(settings: LabSettings, version: str) -> str:
    """The apt source of a node: one series only, so that an upgrade needs the switch, as on the real repositories."""
    series = ".".join(version.split(".")[:2])
    return f"deb [trusted=yes] file:{Layout.of(settings).repository}/{series} ./\n"


def read_lists(settings: LabSettings, sources: Path) -> tuple[Lists, list[str]]:
    """What `apt-get update` finds, and the repositories that are missing."""
    found: Lists = {}
    missing: list[str] = []
    for repository in repositories(sources):
        try:
            index: dict[str, list[str]] = json.loads((Path(repository) / INDEX).read_text())
        except (OSError, ValueError):
            missing.append(repository)
            continue
        for package, versions in index.items():
            hidden = package == "kubelet" and faults.is_on(Path(settings.directory), "package-missing")
            for version in versions:
                if not (hidden and releases.of_package(version) != settings.from_version):
                    found.setdefault(package, []).append([version, repository])
    for rows in found.values():
        rows.sort(key=lambda row: order(row[0]), reverse=True)
    return found, missing


def sources(settings: LabSettings, name: str) -> Path:
    """The directory of a node's package sources."""
    return Layout.of(settings).package_source(name).parent


def repositories(sources: Path) -> list[str]:
    """The directories that these sources name."""
    lines = [line for path in sorted(sources.glob("*.list")) for line in path.read_text().splitlines()]
    matches = (re.fullmatch(r"deb\s+(?:\[[^]]*\]\s+)?(?:file|copy):(/.*?)/?\s+\./\s*", line) for line in lines)
    return [match[1] for match in matches if match]


def order(version: str) -> tuple[int, ...]:
    """Package versions by their numbers."""
    return tuple(int(number) for number in re.findall(r"\d+", version))
