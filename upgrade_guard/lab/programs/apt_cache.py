"""apt-cache: which versions the package lists offer."""

from __future__ import annotations

from upgrade_guard.lab import packages
from upgrade_guard.lab.programs.entry import ProgramPlace, UnknownWords, say, take_apart
from upgrade_guard.lab.records import read_record


def main(place: ProgramPlace, words: list[str]) -> int:
    """`madison NAME…`."""
    given = take_apart(words, values=("-o",))
    verb, *names = given.plain or ("",)
    if verb != "madison" or not names:
        raise UnknownWords(" ".join(words))
    own = packages.Own.of(given.values.get("-o", ()))
    lists = own.lists() or read_record(place.layout, place.node).package_lists
    for name in names:
        for version, repository in lists.get(name, ()):
            say(f"{name:>10} | {version:>10} | file:{repository} ./ Packages")
    return 0
