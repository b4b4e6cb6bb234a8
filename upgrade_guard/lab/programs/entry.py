"""Where every program of a node begins: the launcher in bin/ names the program, the node and the lab."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from upgrade_guard.lab.layout import Layout, NotALab

# Where each of them is a module.
PROGRAMS = "upgrade_guard.lab.programs"
# What the programs of a lab answer to words that they do not know (EX_USAGE of sysexits.h).
UNKNOWN = 64
# What every program answers on a machine without power, where none can run: as ssh does.
OFF = 255


class UnknownWords(Exception):
    """A command or an option that the lab's program does not know; it must never be taken for done."""


class Failure(Exception):
    """The program ends with a message on stderr, as the real one does."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class ProgramPlace:
    """Where a program runs."""

    directory: Path
    node: str

    @property
    def layout(self) -> Layout:
        """The paths of the lab."""
        return Layout(self.directory)


@dataclass(frozen=True)
class Words:
    """A command line, taken apart: words without a dash, options with a value, and switches."""

    plain: tuple[str, ...]
    values: dict[str, tuple[str, ...]]
    switches: frozenset[str]

    def value(self, *names: str, default: str = "") -> str:
        """The last value given under any of these names."""
        return next((self.values[name][-1] for name in names if name in self.values), default)


def take_apart(words: Sequence[str], *, values: Sequence[str] = (), switches: Sequence[str] = ()) -> Words:
    """Raises UnknownWords for an option that is not listed."""
    plain: list[str] = []
    found: dict[str, tuple[str, ...]] = {}
    on: set[str] = set()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("-") or word == "-":
            plain.append(word)
        elif name in values and (equals or rest):
            found[name] = (*found.get(name, ()), value if equals else rest.pop(0))
        elif word in switches or (name in switches and value == "true"):
            on.add(name)
        elif not (name in switches and value == "false"):
            raise UnknownWords(f"unknown option {word}")
    return Words(tuple(plain), found, frozenset(on))


def say(text: str, *, end: str = "\n") -> None:
    """To stdout, at once: a person may be watching."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def complain(text: str) -> None:
    """To stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def run(program: str, node: str, directory: str) -> None:
    """Run a program with the words of sys.argv, and exit as it does."""
    if Layout(Path(directory)).off_mark(node).exists():
        complain(f"{program}: the machine of {node} is off")
        sys.exit(OFF)
    module = importlib.import_module(f"{PROGRAMS}.{program.replace('-', '_')}")
    main: Callable[[ProgramPlace, list[str]], int] = module.main
    try:
        status = main(ProgramPlace(Path(directory), node), sys.argv[1:])
    except UnknownWords as problem:
        complain(f"{program}: the lab does not know this: {problem} (in: {' '.join([program, *sys.argv[1:]])})")
        status = UNKNOWN
    except Failure as failure:
        complain(str(failure))
        status = failure.status
    except NotALab as problem:
        complain(f"{program}: {problem}")
        status = 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    sys.exit(status)
