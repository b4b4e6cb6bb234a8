"""apt-get: `update` and `install`, with apt's rules for held packages and downgrades."""

from __future__ import annotations

from pathlib import Path

from upgrade_guard.lab import packages, releases
from upgrade_guard.lab.programs.entry import Failure, ProgramPlace, UnknownWords, complain, say, take_apart
from upgrade_guard.lab.records import NodeRecord
from upgrade_guard.lab.simulation import Simulation, opened

ERROR = 100  # apt-get's exit status for every error


def main(place: ProgramPlace, words: list[str]) -> int:
    """Everything else is unknown here."""
    switches = (
        "--yes",
        "-y",
        "--no-remove",
        "--allow-downgrades",
        "--allow-change-held-packages",
        "--download-only",
        "-d",
        "-q",
        "-qq",
    )
    given = take_apart(words, values=("-o",), switches=switches)
    verb, *rest = given.plain or ("",)
    own = packages.Own.of(given.values.get("-o", ()))
    with opened(place.directory, node=place.node, reconcile=False) as lab:
        if verb == "update" and not rest:
            return _update(lab, lab.records[place.node], own)
        if verb == "install" and rest:
            record = lab.records[place.node]
            return _install(record, own, rest, given.switches)
        if verb == "download" and rest:
            record = lab.records[place.node]
            return _download(record, own.lists() or record.package_lists, rest)
    raise UnknownWords(" ".join(given.plain))


def _update(lab: Simulation, record: NodeRecord, own: packages.Own) -> int:
    sources = own.sources or packages.sources(lab.settings, record.name)
    found, missing = packages.read_lists(lab.settings, sources)
    if own.sources:
        own.keep(found)
    else:
        record.package_lists = found
    for number, repository in enumerate(packages.repositories(sources), 1):
        word = "Err" if repository in missing else "Get"
        say(f"{word}:{number} file:{repository} ./ Packages")
    for repository in missing:
        complain(f"W: Failed to fetch file:{repository}/./Packages  File not found")
    if missing:
        complain("E: Some index files failed to download. They have been ignored, or old ones used instead.")
        return ERROR
    say("Reading package lists...")
    return 0


def _download(record: NodeRecord, lists: packages.Lists, wanted: list[str]) -> int:
    """Into the current directory, as apt-get does it."""
    for word in wanted:
        name, (version, repository) = _chosen(record, lists, word)
        if not (Path(repository) / packages.INDEX).exists():
            raise Failure(f"E: Can't find a source to download version '{version}' of '{name}:amd64'", ERROR)
        say(f"Get:1 file:{repository} ./ {name} {version} [20.5 MB]")
        Path(f"{name}_{version}_amd64.deb").write_text(f"{name} {version}\n")
    return 0


def _install(record: NodeRecord, own: packages.Own, wanted: list[str], switches: frozenset[str]) -> int:
    say("Reading package lists...\nBuilding dependency tree...\nReading state information...")
    lists = own.lists() or record.package_lists
    chosen = dict(_chosen(record, lists, word) for word in sorted(wanted))
    changed = {name: row for name, row in chosen.items() if record.packages.get(name) != row[0]}
    held = sorted(set(changed) & set(record.holds))
    before = record.packages
    down = [
        name for name in changed if name in before and packages.order(changed[name][0]) < packages.order(before[name])
    ]
    up = [name for name in changed if name in before and name not in down]
    new = [name for name in changed if name not in before]
    for title, names in (
        ("The following held packages will be changed:", held),
        ("The following NEW packages will be installed:", new),
        ("The following packages will be upgraded:", up),
        ("The following packages will be DOWNGRADED:", down),
    ):
        if names:
            say(f"{title}\n  {' '.join(names)}")
    say(
        f"{len(up)} upgraded, {len(new)} newly installed, {f'{len(down)} downgraded, ' if down else ''}"
        "0 to remove and 0 not upgraded."
    )
    if not switches & {"--yes", "-y"} and changed:
        raise Failure("Abort.", 1)
    if held and "--allow-change-held-packages" not in switches:
        raise Failure("E: Held packages were changed and -y was used without --allow-change-held-packages.", ERROR)
    if down and "--allow-downgrades" not in switches:
        raise Failure("E: Packages were downgraded and -y was used without --allow-downgrades.", ERROR)
    fetching = {
        f"{name}_{version}_amd64.deb": (name, version, repository) for name, (version, repository) in changed.items()
    }
    for file in [file for file in fetching if own.has(file)]:
        del fetching[file]
    for file, (_, _, repository) in fetching.items():
        if not (Path(repository) / packages.INDEX).exists():
            raise Failure(f"E: Failed to fetch file:{repository}/./{file}  File not found", ERROR)
    for number, (file, (name, version, repository)) in enumerate(fetching.items(), 1):
        say(f"Get:{number} file:{repository} ./ {name} {version} [20.5 MB]")
        own.fetched(file)
    if switches & {"--download-only", "-d"}:
        say("Download complete and in download only mode")
        return 0
    for name, (version, _) in changed.items():
        say(f"Preparing to unpack ..././{name}_{version}_amd64.deb ...")
        say(f"Unpacking {name} ({version})" + (f" over ({before[name]}) ..." if name in before else " ..."))
    for name, (version, _) in changed.items():
        say(f"Setting up {name} ({version}) ...")
        record.packages[name] = version
    return 0


def _chosen(record: NodeRecord, lists: packages.Lists, word: str) -> tuple[str, list[str]]:
    name, equals, version = word.partition("=")
    rows = lists.get(name, [])
    if not rows and name not in record.packages:
        raise Failure(f"E: Unable to locate package {name}", ERROR)
    for row in rows:
        if not equals or row[0] == version or (version.endswith("*") and row[0].startswith(version[:-1])):
            return name, row
    if record.packages.get(name) == version or (not equals and name in record.packages):
        return name, [record.packages[name], "/var/lib/dpkg/status"]
    if name in releases.OTHER_PACKAGES and not equals:
        return name, [record.packages[name], "/var/lib/dpkg/status"]
    raise Failure(f"E: Version '{version}' for '{name}' was not found", ERROR)
