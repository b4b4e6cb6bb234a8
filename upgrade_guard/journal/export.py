"""History as lines of JSON that carry the chain, for those who keep or check it elsewhere.

The first line says what follows. Each line after it is a row: `{"digest":"...","row":["steps",{...}]}`, where the text
after `"row":`, without the last brace, is exactly what the digest is the SHA-256 of.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain as one_after_another
from typing import Any

from upgrade_guard.errors import UsageProblem
from upgrade_guard.journal import chain
from upgrade_guard.journal.audit import Link, Walk, audit_of, kept_breaches
from upgrade_guard.journal.chain import TABLES, by_seq, rows_of
from upgrade_guard.journal.encoding import json_text
from upgrade_guard.journal.rows import Rows
from upgrade_guard.model.audit import Audit, Breach

SCHEMA = 1
LONGEST_LINE = 1 << 26
"""Characters; a row with the longest tails has a few hundred thousand."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


def exported(rows: Rows, run_id: str | None) -> Generator[str, None, None]:
    """Lines without their ends. A row's content is written as it is stored, also where it was edited."""
    seq, digest = chain.head(rows)
    count = _count(rows, run_id)
    yield json_text({"upgrade-guard-export": SCHEMA, "run": run_id, "rows": count, "seq": seq, "head": digest})
    for table, row in heapq.merge(*(rows_of(rows, table, run_id) for table in TABLES), key=by_seq):
        yield _line(row["digest"], _text(table, chain.content(table, dict(row))))


def audited_export(lines: Iterable[str], kept: str, heard: Callable[[int, int], None]) -> Audit:
    """The same look as at a journal, as far as an export can tell; triggers and file are not in it.

    Raises UsageProblem when the first line is not that of an export, or `kept` cannot be looked for in it.
    """
    following = iter(lines)
    header = _header(next(following, ""))
    if kept and header["run"] is not None:
        raise UsageProblem(
            "an export of one run does not reach to the head of the journal",
            hint="check it without --head, or export everything: `upgrade-guard audit export --output FILE`",
        )
    of, seq, head = header["rows"], header["seq"], header["head"]
    walk = Walk(partial=header["run"] is not None, kept=kept, heard=lambda read: heard(read, of))
    strange: list[Breach] = []
    found = one_after_another(walk.follow(_links(following, strange)), strange, _end(walk, of, seq, head, strange))
    return audit_of(walk, one_after_another(found, kept_breaches(walk, kept)))


def _text(table: str, content: dict[str, Any]) -> str:
    try:
        return chain.canonical(table, content)
    except (TypeError, ValueError):  # somebody put bytes or infinity there, which gives no digest anyway
        return chain.canonical(table, {column: repr(value) for column, value in content.items()})


def _line(digest: str, text: str) -> str:
    return f'{{"digest":{json_text(digest)},"row":{text}}}'


def _count(rows: Rows, run_id: str | None) -> int:
    total = 0
    for table in TABLES:
        where = "" if run_id is None else f" WHERE {'id' if table == 'runs' else 'run_id'} = :run_id"
        parameters = {} if run_id is None else {"run_id": run_id}
        total += sum(row["rows"] for row in rows.select(f"SELECT count(*) AS rows FROM {table}{where}", parameters))  # noqa: S608
    return total


def _header(line: str) -> dict[str, Any]:
    found = _parsed(line)
    hint = "write one: `upgrade-guard audit export --output FILE`"
    if not isinstance(found, dict) or "upgrade-guard-export" not in found:
        raise UsageProblem("this is no export of upgrade-guard: its first line does not say so", hint=hint)
    if found["upgrade-guard-export"] != SCHEMA:
        raise UsageProblem(
            f"this export has version {found['upgrade-guard-export']!r}, this upgrade-guard reads {SCHEMA}",
            hint="use the version that wrote it",
        )
    numbers = all(type(found.get(key)) is int for key in ("rows", "seq"))
    run = found.get("run", 0)
    if not numbers or not isinstance(found.get("head"), str) or not isinstance(run, str | None):
        raise UsageProblem("the first line of this export is damaged", hint=hint)
    return found


def _links(lines: Iterator[str], strange: list[Breach]) -> Iterator[Link]:
    for number, line in enumerate(lines, start=2):
        link = _link(line.removesuffix("\n"))
        if link is not None:
            yield link
        elif len(strange) < 10:
            strange.append(Breach("line", f"line {number} is not a row as an export writes it"))


def _link(line: str) -> Link | None:
    found = _parsed(line)
    if not isinstance(found, dict):
        return None
    digest, row = found.get("digest"), found.get("row")
    if not (isinstance(digest, str) and isinstance(row, list) and len(row) == 2):
        return None
    table, counted = row
    if table not in TABLES or not isinstance(counted, dict):
        return None
    seq, previous, run = (counted.get(key) for key in ("seq", "previous", "id" if table == "runs" else "run_id"))
    if type(seq) is not int or not isinstance(previous, str) or not isinstance(run, str):
        return None
    try:
        text = chain.canonical(table, counted)
    except (ValueError, RecursionError):  # 1e999 is infinity by now, which nothing writes
        return None
    # One spelling only: a line that says something twice would mean different things to different readers.
    if line != _line(digest, text):
        return None
    return Link(table, seq, run, previous, digest, chain.digest_of(text), counted)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line, parse_constant=_refused) if len(line) < LONGEST_LINE else None
    except (ValueError, RecursionError):
        return None


def _refused(word: str) -> Any:
    raise ValueError(word)


def _end(walk: Walk, rows: int, seq: int, head: str, strange: list[Breach]) -> Iterator[Breach]:
    if walk.rows + len(strange) < rows:
        yield Breach("cut-off", f"the export has {walk.rows} of its {rows} rows")
    elif walk.rows > rows:
        yield Breach("inserted", f"the export has {walk.rows} rows, but its first line names {rows}")
    elif not walk.gaps and walk.seq == seq and walk.digest != head:
        yield Breach("head", f"the export ends with another row {seq} than the one that its first line names")
