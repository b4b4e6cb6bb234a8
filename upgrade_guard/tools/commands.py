"""Run one program on a host and believe only a good exit status."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import wraps
from itertools import takewhile
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from upgrade_guard.errors import CommandFailed, UnexpectedOutput
from upgrade_guard.hosts.base import Host
from upgrade_guard.hosts.process import GENTLY
from upgrade_guard.model.command import Command, Result
from upgrade_guard.tools.known_failures import hint_for

P = ParamSpec("P")
T = TypeVar("T")

READ_TIMEOUT = 30.0  # seconds: looking at something on the node itself
CHANGE_TIMEOUT = 120.0  # seconds: a small change there
_ERROR = re.compile(r"(?i:^(error|e:|fatal|\[error|panic:))|\bFATAL\b")
_CHECK = "[ERROR "  # kubeadm's preflight names each check that failed on a line of its own
_SHOWN = 500  # characters of a program's own words in our messages


def run_checked(
    host: Host,
    argv: tuple[str, ...],
    *,
    timeout: float = READ_TIMEOUT,
    changes: bool = False,
    stdin: bytes | Path | None = None,
    stdout_to: Path | None = None,
    stdout_limit: int | None = None,
    accept: tuple[int, ...] = (0,),
) -> Result:
    """Run it; `timeout` in seconds. Raises CommandFailed for an exit status that is not in `accept` and for a timeout
    (its `exit_status` is then None: the effect is unknown), with a hint where the failure is a known one."""
    result = host.run(Command(argv, timeout, changes, stdin, stdout_to, stdout_limit))
    if result.exit_status in accept:
        return result
    raise failure(host, argv, result, timeout)


def failure(host: Host, argv: tuple[str, ...], result: Result, timeout: float = READ_TIMEOUT) -> CommandFailed:
    """The error for a result that cannot be accepted."""
    program = program_of(argv)
    if result.exit_status is None:
        message = f"{program} on {host.name} did not end within {timeout:g} s; what it did is unknown"
    else:
        said = last_words(result)
        message = f"{program} on {host.name} ended with {result.exit_status}" + (f": {said}" if said else "")
    hint = hint_for(f"{result.stderr}\n{result.stdout}")
    return CommandFailed(message, exit_status=result.exit_status, stderr=result.stderr, hint=hint)


def program_of(argv: tuple[str, ...]) -> str:
    """The program and its first words, without `env`, `nice`, paths and flags: `kubeadm upgrade apply`."""
    words = [str(word) for word in argv]
    if tuple(words[: len(GENTLY)]) == GENTLY:
        words = words[len(GENTLY) :]
    if words[:1] == ["flock"] and "true" not in words[-1:]:
        words = words[1:]
        while words and words[0].startswith("-"):
            words = words[1:]
        words = words[1:]
    if words and words[0] == "env":
        words = words[1:]
        while words and (words[0].startswith("-") or "=" in words[0]):
            words = words[1:]
    if not words:
        return "env"
    name = words[0].rpartition("/")[2]
    verbs: list[str] = []
    for word in words[1:]:
        if word.startswith("-") and not verbs:
            continue
        if not word.isalpha() or len(verbs) == 2:
            break
        verbs.append(word)
    return " ".join((name, *verbs)) if name in _WITH_VERBS else name


_APT_REASON = re.compile(
    r" : (Pre-)?Depends: |EXPKEYSIG|NO_PUBKEY|is not signed|invalid signature|Sub-process /usr/bin/sqv|40[13]  |"
    r"^E: (?!Some index files|Unable to correct problems)"
)
_WITH_VERBS = frozenset(
    "apt-cache apt-get apt-mark crictl ctr etcdctl etcdutl kubeadm kubectl systemctl".split()  # noqa: SIM905
)


def last_words(result: Result) -> str:
    """The line that says why, with the list that may follow it: the last one that calls itself an error, else the last
    one; stderr before stdout. Of kubeadm's preflight every check that failed."""
    for text in (result.stderr, result.stdout):
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("To see the stack")]
        errors = [number for number, line in enumerate(lines) if _ERROR.search(line)]
        if lines:
            start = errors[-1] if errors else len(lines) - 1
            while lines[start].startswith(_CHECK) and lines[start - 1].startswith(_CHECK) and start > 0:
                start -= 1
            listed = takewhile(lambda line: line.startswith(("- ", _CHECK)), lines[start + 1 :])
            return " ".join((lines[start], *listed, *_reasons(result, lines[start])))[:_SHOWN]
    return ""


def _reasons(result: Result, told: str) -> tuple[str, ...]:
    """What apt says before its last line, which only sums up: an unmet dependency, a key, a refusal of the server."""
    lines = (line.strip() for text in (result.stdout, result.stderr) for line in text.splitlines())
    found = dict.fromkeys(line for line in lines if _APT_REASON.search(line) and line != told)
    return tuple(f"({line})" for line in list(found)[:2])


def unexpected(program: str, text: str, why: str = "") -> UnexpectedOutput:
    """The error of a parser, with the first line that it was given."""
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    reason = f" ({why})" if why else ""
    return UnexpectedOutput(f"{program} printed something unexpected{reason}: {first[:_SHOWN] or 'nothing'}")


def reads(program: str) -> Callable[[Callable[Concatenate[str, P], T]], Callable[Concatenate[str, P], T]]:
    """Marks a parser of what `program` prints: a shape that it does not know becomes UnexpectedOutput."""

    def mark(parser: Callable[Concatenate[str, P], T]) -> Callable[Concatenate[str, P], T]:
        @wraps(parser)
        def read(text: str, /, *more: P.args, **named: P.kwargs) -> T:
            try:
                return parser(text, *more, **named)
            except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as problem:
                raise unexpected(program, text, f"{type(problem).__name__}: {problem}"[:120]) from problem

        return read

    return mark


def parse_json(program: str, text: str) -> Any:
    """The JSON document in `text`, from its first line that begins one: some versions print prose before it.

    Raises UnexpectedOutput.
    """
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if line.lstrip().startswith(("{", "[{", "[]", "[\n")):
            try:
                return json.loads("".join(lines[number:]))
            except (ValueError, RecursionError) as problem:
                raise unexpected(program, text, "no JSON") from problem
    raise unexpected(program, text, "no JSON")
