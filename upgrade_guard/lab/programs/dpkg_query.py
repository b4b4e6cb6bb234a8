"""dpkg-query: what is installed."""

from __future__ import annotations

from upgrade_guard.lab.programs.entry import ProgramPlace, UnknownWords, complain, say, take_apart
from upgrade_guard.lab.records import read_record

DEFAULT_FORMAT = "${Package}\\t${Version}\\n"


def main(place: ProgramPlace, words: list[str]) -> int:
    """`-W [-f FORMAT] [NAMES…]`; 1 when one of the names is not installed."""
    given = take_apart(words, values=("-f", "--showformat"), switches=("-W", "--show"))
    if not given.switches:
        raise UnknownWords(" ".join(words))
    record = read_record(place.layout, place.node)
    form = given.value("-f", "--showformat", default=DEFAULT_FORMAT)
    status = 0
    for name in given.plain or tuple(sorted(record.packages)):
        version = record.packages.get(name)
        if version is None:
            complain(f"dpkg-query: no packages found matching {name}")
            status = 1
            continue
        shown = form.replace("${Package}", name).replace("${Version}", version)
        # Three letters: wanted, is, error; the third is a blank (dpkg-query(1), db:Status-Abbrev).
        shown = shown.replace("${db:Status-Abbrev}", "hi " if name in record.holds else "ii ")
        say(shown.replace("\\n", "\n").replace("\\t", "\t"), end="")
    return status
