"""The machine on which upgrade-guard runs loses its power: of its files only what was synced is there afterwards.

The model is the strictest that POSIX allows: a file's content is that of its last fsync, a name is there only if its
directory was synced after it came, and gone only if it was synced after it went. A real file system usually keeps more.
The nodes are other machines and go on; a program that runs on one when the power goes finishes there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from scenario.stage import Stage

SOURCE = Path(__file__).with_name("synced.c")


def compiled(directory: Path, source: Path = SOURCE) -> Path:
    """The library that keeps what was synced, or another. A machine without a C compiler gets one where it may."""
    compiler = shutil.which("cc")
    if compiler is None:
        assert os.geteuid() == 0, "this needs a C compiler: apt-get install gcc libc6-dev"
        install = ("apt-get", "install", "--yes", "--no-install-recommends", "gcc", "libc6-dev")
        for argv in (("apt-get", "update"), install):
            subprocess.run(argv, check=True, timeout=600, capture_output=True)
        compiler = "/usr/bin/gcc"
    library = directory / f"{source.stem}.so"
    flags = ("-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror")
    subprocess.run((compiler, *flags, "-o", str(library), str(source), "-ldl"), check=True, timeout=120)
    return library


class PowerLine:
    """What of some directories survives. `elsewhere` are paths below them that are on other machines."""

    def __init__(self, library: Path, shadow: Path, roots: tuple[Path, ...], elsewhere: tuple[Path, ...] = ()) -> None:
        self._library = library
        self._shadow = shadow
        self._roots = roots
        self._elsewhere = elsewhere

    @classmethod
    def of(cls, stage: Stage, library: Path) -> PowerLine:
        """That of one lab: state directory, vault and off-site copies, without the nodes."""
        directory = stage.lab.directory
        elsewhere = tuple(directory / name for name in ("nodes", "lab", "repo"))
        return cls(library, directory.with_name(f"{directory.name}-synced"), (directory, stage.lab.offsite), elsewhere)

    def plugged(self) -> Mapping[str, str]:
        """The environment of the next process. What the last one left is on the disk by now."""
        shutil.rmtree(self._shadow, ignore_errors=True)
        for kind in ("dirs", "files"):
            (self._shadow / kind).mkdir(parents=True)
        return {
            "LD_PRELOAD": str(self._library),
            "SYNCED_ROOTS": ":".join(map(str, self._roots)),
            "SYNCED_ELSEWHERE": ":".join(map(str, self._elsewhere or ("/nowhere",))),
            "SYNCED_SHADOW": str(self._shadow),
        }

    def cut(self) -> None:
        """Leave on the disk what was synced."""
        for line in (self._shadow / "dirs" / "roots").read_text().splitlines():
            key, _, path = line.partition(" ")
            self._lose(key, Path(path))

    def _lose(self, key: str, directory: Path) -> None:
        """Make a directory as it was at its last sync; one that never was synced is empty."""
        for path in directory.iterdir():
            if path in self._elsewhere:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        kept = self._shadow / "dirs" / key
        entries = kept.read_bytes().split(b"\0")[:-1] if kept.exists() else []
        for entry in entries:
            kind, own, mode, name = os.fsdecode(entry).split(" ", 3)
            path = directory / name
            if kind == "d":
                path.mkdir()
                self._lose(own, path)
            elif (content := self._shadow / "files" / own).exists():
                shutil.copyfile(content, path)
            else:
                path.touch()
            path.chmod(int(mode, 8))
