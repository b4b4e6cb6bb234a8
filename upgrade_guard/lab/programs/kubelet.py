"""kubelet, as far as a person asks it for its version."""

from __future__ import annotations

from upgrade_guard.lab import releases
from upgrade_guard.lab.programs.entry import ProgramPlace, UnknownWords, say
from upgrade_guard.lab.records import read_record


def main(place: ProgramPlace, words: list[str]) -> int:
    """`kubelet --version`."""
    if words != ["--version"]:
        raise UnknownWords("kubelet is started by systemctl")
    say(f"Kubernetes {releases.of_package(read_record(place.layout, place.node).packages['kubelet'])}")
    return 0
