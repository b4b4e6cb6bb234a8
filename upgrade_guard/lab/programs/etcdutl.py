"""etcdutl as an image of the lab holds it while a fault is on: restores for a node die half-way."""

from __future__ import annotations

import os
from pathlib import Path

from upgrade_guard.lab import faults
from upgrade_guard.lab.layout import load_settings
from upgrade_guard.lab.programs.entry import ProgramPlace, complain
from upgrade_guard.lab.records import locked


def main(place: ProgramPlace, words: list[str]) -> int:
    """Everything goes to the real program, except a restore that the fault strikes."""
    settings = load_settings(place.directory)
    real = str(Path(settings.etcd_binaries) / "etcdutl")
    target = _data_dir(words)
    if target is not None and target.is_relative_to(place.layout.node(place.node)):
        with locked(place.layout.lock):
            strikes = any(faults.fires(place.directory, fault) for fault in ("restore-fails-once", "restore-fails"))
        if strikes:
            # What a real restore leaves when it runs out of space (measured): a partial member directory.
            database = target / "member" / "snap" / "db"
            database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            database.write_bytes(b"\0" * 4096)
            complain("Error: failed to preallocate an initial WAL file: no space left on device")
            return 1
    return os.execv(real, [real, *words])  # noqa: S606  (becomes the real program)


def _data_dir(words: list[str]) -> Path | None:
    plain = [word for word in words if not word.startswith("-")]
    if plain[:2] != ["snapshot", "restore"]:
        return None
    for index, word in enumerate(words):
        if word.startswith("--data-dir="):
            return Path(word.split("=", 1)[1])
        if word == "--data-dir" and index + 1 < len(words):
            return Path(words[index + 1])
    return None
