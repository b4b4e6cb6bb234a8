"""dpkg-deb: what is in a package file. Those of a lab have kubeadm alone."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from upgrade_guard.lab import releases
from upgrade_guard.lab.programs.entry import Failure, ProgramPlace, UnknownWords, take_apart


def main(place: ProgramPlace, words: list[str]) -> int:
    """`--extract FILE DIRECTORY`."""
    given = take_apart(words, switches=("--extract", "-x"))
    match given.plain:
        case (file, directory) if given.switches:
            name = re.fullmatch(r"kubeadm_(.+)_amd64\.deb", Path(file).name)
            if name is None or not Path(file).exists():
                raise Failure(f"dpkg-deb: error: failed to read archive '{file}': No such file or directory", 2)
            program = Path(directory) / "usr/bin/kubeadm"
            program.parent.mkdir(parents=True, exist_ok=True)
            installed = shlex.quote(str(place.layout.programs(place.node) / "kubeadm"))
            version = releases.of_package(name[1])
            program.write_text(f'#!/bin/sh\nexec {installed} --unpacked={version} "$@"\n')
            program.chmod(0o755)
        case _:
            raise UnknownWords(" ".join(words))
    return 0
