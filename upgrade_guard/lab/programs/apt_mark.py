"""apt-mark: which packages apt leaves alone."""

from __future__ import annotations

from upgrade_guard.lab.programs.entry import Failure, ProgramPlace, UnknownWords, say, take_apart
from upgrade_guard.lab.simulation import opened


def main(place: ProgramPlace, words: list[str]) -> int:
    """`showhold`, `hold NAMES…`, `unhold NAMES…`."""
    verb, *names = take_apart(words).plain or ("",)
    if verb not in ("showhold", "hold", "unhold") or (verb != "showhold" and not names):
        raise UnknownWords(" ".join(words))
    with opened(place.directory, node=place.node, reconcile=False) as lab:
        record = lab.records[place.node]
        if verb == "showhold":
            for name in sorted(record.holds):
                say(name)
            return 0
        for name in names:
            if name not in record.packages:
                raise Failure(f"E: Unable to locate package {name}", 100)
            if verb == "hold":
                say(f"{name} was already set on hold." if name in record.holds else f"{name} set on hold.")
                record.holds = sorted({*record.holds, name})
            else:
                say(f"Canceled hold on {name}." if name in record.holds else f"{name} was already not on hold.")
                record.holds = [one for one in record.holds if one != name]
    return 0
