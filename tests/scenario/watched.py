"""The programs of a lab's nodes under watch: every call is written down, and one can be held where it begins.

A program that is held is in the middle of its work as far as the product can tell: it was started and has not ended.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from scenario.stage import Going, Stage, until

_WATCHED = """#!/bin/sh
call="{node} {program} $*"
printf '%s\\n' "$call" >> {calls}
for hold in {holds}/*; do
  [ -r "$hold" ] || continue
  read -r pattern < "$hold"
  case "$call" in
    $pattern)
      : > {held}/"${{hold##*/}}"
      while [ -e "$hold" ]; do sleep 0.05; done
      ;;
  esac
done
exec {real} "$@"
"""


@dataclass
class Watched:
    """Every program of every node of one lab. Patterns are those of the shell, over `NODE PROGRAM WORDS`."""

    stage: Stage
    place: Path

    @classmethod
    def on(cls, stage: Stage) -> Watched:
        """Put every program of the lab under watch."""
        place = stage.lab.directory.with_name(f"{stage.lab.directory.name}-watched")
        for name in ("holds", "held"):
            (place / name).mkdir(parents=True)
        (place / "calls").touch()
        for node in stage.lab.settings.names:
            programs = stage.lab.layout.programs(node)
            for launcher in sorted(path for path in programs.iterdir() if path.is_file()):
                real = place / "real" / node / launcher.name
                real.parent.mkdir(parents=True, exist_ok=True)
                launcher.rename(real)
                text = _WATCHED.format(
                    node=node,
                    program=launcher.name,
                    calls=shlex.quote(str(place / "calls")),
                    holds=shlex.quote(str(place / "holds")),
                    held=shlex.quote(str(place / "held")),
                    real=shlex.quote(str(real)),
                )
                beside = launcher.with_name(f".{launcher.name}.new")
                beside.write_text(text)
                beside.chmod(0o755)
                beside.replace(launcher)
        return cls(stage, place)

    def calls(self, *words: str) -> list[str]:
        """What was called so far, as `NODE PROGRAM WORDS`; only calls that hold all these words."""
        lines = (self.place / "calls").read_text().splitlines()
        return [line for line in lines if set(words) <= set(line.split())]

    def hold(self, name: str, pattern: str) -> None:
        """From now on, hold calls that fit the pattern."""
        (self.place / "held" / name).unlink(missing_ok=True)
        beside = self.place / f"{name}.new"
        beside.write_text(f"{pattern}\n")
        beside.replace(self.place / "holds" / name)

    def held_or_over(self, name: str, going: Going) -> bool:
        """Wait until a call is held under that name, or the program has ended without one."""
        held = self.place / "held" / name
        until(lambda: held.exists() or not going.runs, what=f"the call {name}, or the end")
        return held.exists()

    def await_held(self, name: str, going: Going) -> None:
        """Until a call is held under that name."""

        def seen() -> bool:
            ended = not going.runs
            if (self.place / "held" / name).exists():
                return True
            assert not ended, f"it ended before {name} was called: {going.wait()}"
            return False

        until(seen, what=f"the call {name}")

    def release(self, name: str) -> None:
        """Let it go on."""
        (self.place / "holds" / name).unlink()

    def finish(self, name: str) -> None:
        """Let it go on and wait for the end of everything that runs on the lab's nodes."""
        self.release(name)
        self.await_rest()

    def await_rest(self) -> None:
        """Until no program of the lab runs, the containers apart."""
        until(lambda: not running_in(self.stage.lab.directory), what="the programs of the lab at rest")


def running_in(directory: Path) -> list[str]:
    """Command lines of the programs of a lab's nodes that run now: a launcher's own, or those that it became."""
    launchers = (f"{directory}/nodes/", f"{directory.with_name(f'{directory.name}-watched')}/real/")
    return [
        " ".join(words)
        for words in command_lines()
        if f"'{directory}'" in " ".join(words) or (len(words) > 1 and words[1].startswith(launchers))
    ]


def running_with(beginning: str) -> list[str]:
    """Command lines that run now and have a word that begins so."""
    return [" ".join(words) for words in command_lines() if any(word.startswith(beginning) for word in words)]


def command_lines() -> Iterator[list[str]]:
    """Of every process of this machine."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                yield (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
