"""etcdctl as an image of the lab holds it while a fault is on: the real one, and then the fault."""

from __future__ import annotations

import os
from pathlib import Path

from upgrade_guard.lab import faults
from upgrade_guard.lab.layout import load_settings
from upgrade_guard.lab.programs.entry import ProgramPlace
from upgrade_guard.lab.records import locked


def main(place: ProgramPlace, words: list[str]) -> int:
    """Everything goes to the real program; a saved snapshot is spoilt afterwards."""
    settings = load_settings(place.directory)
    real = str(Path(settings.etcd_binaries) / "etcdctl")
    plain = [word for word in words if not word.startswith("-")]
    if plain[:2] != ["snapshot", "save"]:
        os.execv(real, [real, *words])  # noqa: S606  (becomes the real program)
    status = os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn(real, [real, *words], os.environ), 0)[1])
    if status == 0:
        with locked(place.layout.lock):
            _spoil(place.directory, Path(plain[-1]))
    return status


def _spoil(directory: Path, snapshot: Path) -> None:
    size = snapshot.stat().st_size
    if faults.fires(directory, "snapshot-truncated"):
        os.truncate(snapshot, size // 2)
    if faults.fires(directory, "snapshot-flipped-byte"):
        # Inside a value: the marker's text is in the file in clear.
        content = snapshot.read_bytes()
        place = max(content.find(b"before the upgrade"), size // 2 if b"before the upgrade" not in content else 0)
        with snapshot.open("r+b") as file:
            file.seek(place)
            file.write(bytes([content[place] ^ 1]))
