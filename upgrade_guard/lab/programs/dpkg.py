"""dpkg: package files that were downloaded, without apt and without a repository."""

from __future__ import annotations

from pathlib import Path

from upgrade_guard.lab.programs.entry import Failure, ProgramPlace, UnknownWords, say, take_apart
from upgrade_guard.lab.simulation import opened


def main(place: ProgramPlace, words: list[str]) -> int:
    """`--install FILE...` and `--configure -a`."""
    given = take_apart(words, values=(), switches=("--force-confold", "--install", "--configure", "-a", "--audit"))
    if given.switches & {"--configure", "--audit"}:
        return 0
    if "--install" not in given.switches or not given.plain:
        raise UnknownWords(" ".join(words))
    with opened(place.directory, node=place.node, reconcile=False) as lab:
        record = lab.records[place.node]
        for path in given.plain:
            try:
                name, version = Path(path).read_text().split()
            except (OSError, ValueError) as problem:
                raise Failure(f"dpkg: error: cannot access archive '{path}': No such file or directory", 2) from problem
            say(f"Unpacking {name} ({version}) over ({record.packages.get(name, '')}) ...")
            record.packages[name] = version
    return 0
