"""How fast the journal is, with a million rows in it. By hand: `python tests/bench/journal_bench.py [ROWS]`."""

from __future__ import annotations

import io
import resource
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from upgrade_guard.journal import Journal, audited_export, chain
from upgrade_guard.journal.encoding import instant_text
from upgrade_guard.journal.triggers import TRIGGERS
from upgrade_guard.model.audit import Audit
from upgrade_guard.model.run import Outcome
from upgrade_guard.model.step import Done, Step
from upgrade_guard.runs.run_status import gate_reasons, story_of
from upgrade_guard.ui.report import render, report_of
from upgrade_guard.ui.tables import timeline

STEPS_OF_A_RUN = 120
COMMANDS_OF_A_STEP = 7
ROWS_OF_A_RUN = 2 + STEPS_OF_A_RUN * (2 + COMMANDS_OF_A_STEP)


def main(rows: int) -> None:
    """Fill a journal, measure, print."""
    runs = max(2, rows // ROWS_OF_A_RUN)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        path = Path(directory) / "journal.sqlite"
        Journal.open(path).close()
        began = time.perf_counter()
        fill(path, runs)
        filled = time.perf_counter() - began
        size = path.stat().st_size / 2**20
        count = runs * ROWS_OF_A_RUN
        table = Table(title=f"{count:,} rows in {runs:,} runs, {size:,.0f} MiB, filled in {filled:.0f} s")
        for heading in ("what", "median ms", "processor ms", "worst ms"):
            table.add_column(heading, justify="left" if heading == "what" else "right")
        for what, figures in measured(path, runs).items():
            table.add_row(what, *(f"{one:.2f}" for one in figures))
        walks = Table(title="All of it")
        for heading in ("what", "seconds", "processor s", "rows a second", "memory on top"):
            walks.add_column(heading, justify="left" if heading == "what" else "right")
        for what, seconds, own, more in walked(path, Path(directory) / "history.jsonl"):
            walks.add_row(what, f"{seconds:.1f}", f"{own:.1f}", f"{count / seconds:,.0f}", f"{more:.1f} MiB")
        console = Console(width=100)
        console.print(table)
        console.print(walks)
        console.print(f"The export has {(Path(directory) / 'history.jsonl').stat().st_size / 2**20:,.0f} MiB.")


def measured(path: Path, runs: int) -> dict[str, tuple[float, float, float]]:
    """Milliseconds of what a command does beyond its start: median, of the processor alone, and worst."""
    found = {"open": timed(lambda: Journal.open(path).close()), "read": timed(lambda: reading(path).close())}
    with reading(path) as journal:
        middle = f"run-{runs // 2:06d}"
        story = story_of(journal, journal.run(middle))
        found |= {
            "history (50 runs, with their snapshots)": timed(lambda: history(journal)),
            "history of one target": timed(lambda: history(journal, target="v1.30.0")),
            "history that finds nothing": timed(lambda: history(journal, cluster="other")),
            "open run": timed(journal.open_run),
            "run by prefix": timed(lambda: journal.run(middle[:-1] + middle[-1])),
            "facts": timed(lambda: journal.facts(middle)),
            "latest": timed(lambda: journal.latest(middle, "nodes/w7/step-3")),
            "look for edited rows of one run": timed(lambda: journal.edited(middle)),
            "status (read, look for edits, judge the gate)": timed(lambda: gate_reasons(story_of(journal, story.run))),
            "show (read, look for edits)": timed(lambda: story_of(journal, story.run)),
            "show (draw)": timed(lambda: Console(file=io.StringIO()).print(timeline(story, story.run.started_at))),
            "report (draw)": timed(lambda: render(report_of(story, at=story.run.started_at, version="")), times=5),
        }
    with Journal.open(path) as journal:
        begin(journal, "run-bench")
        numbers = iter(range(10_000))
        found["facts, writing journal"] = timed(lambda: journal.facts(middle))
        found["start and conclude a step"] = timed(lambda: one_step(journal, next(numbers)), times=50)
    return found


def walked(path: Path, export: Path) -> Iterator[tuple[str, float, float, float]]:
    """What reads everything: seconds, those of the processor alone, and by how many MiB the process grew."""
    with reading(path) as journal:
        yield "audit verify", *grown(lambda: whole(journal.audit()))
        with journal.exported() as lines, export.open("w") as file:
            yield "audit export", *grown(lambda: file.writelines(f"{line}\n" for line in lines))
    with export.open() as lines:
        yield "audit verify --export", *grown(lambda: whole(audited_export(lines, "", lambda _read, _of: None)))


def grown(act: Callable[[], object]) -> tuple[float, float, float]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, began_own = time.perf_counter(), time.process_time()
    act()
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return time.perf_counter() - began, time.process_time() - began_own, more / 1024


def whole(found: Audit) -> None:
    assert found.whole, found.breaches


def history(journal: Journal, **wanted: Any) -> None:
    for run in journal.runs(**wanted):
        journal.snapshots(run.id)


def reading(path: Path) -> Journal:
    journal = Journal.read(path)
    assert journal is not None
    return journal


def timed(act: Callable[[], object], times: int = 20) -> tuple[float, float, float]:
    taken, own = [], []
    for _ in range(times):
        began, began_own = time.perf_counter(), time.process_time()
        act()
        taken.append((time.perf_counter() - began) * 1000)
        own.append((time.process_time() - began_own) * 1000)
    return statistics.median(taken), statistics.median(own), max(taken)


def begin(journal: Journal, run_id: str) -> None:
    journal.begin(
        run_id=run_id,
        cluster="bench",
        from_version="v1.29.0",
        target="v1.30.0",
        offsite_required=1,
        snapshot_max_age=1800,
        settings={},
        operator="bench",
        host="bench",
        tool_version="0",
    )


def one_step(journal: Journal, number: int) -> None:
    step = Step(name=f"bench/{number}", summary="", probe=lambda _: Done(), act=lambda _: None)
    journal.conclude("run-bench", step.name, journal.start("run-bench", step), Outcome.SUCCEEDED, result={"n": number})


def fill(path: Path, runs: int) -> None:
    """Rows as the product writes them, chained, but all in one transaction and without asking the triggers."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for name in TRIGGERS:
            connection.execute(f"DROP TRIGGER {name}")
        seq, digest = 0, chain.GENESIS
        batches: dict[str, list[dict[str, Any]]] = {}
        for number in range(runs):
            for table, row in rows_of_run(number):
                seq += 1
                row |= {"seq": seq, "previous": digest}
                digest = row["digest"] = chain.digest(table, row)
                batches.setdefault(table, []).append(row)
            for table, batch in batches.items():
                columns = ", ".join(batch[0])
                values = ", ".join(f":{column}" for column in batch[0])
                connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({values})", batch)
                batch.clear()
        connection.execute("UPDATE chain SET seq = ?, digest = ?", (seq, digest))
        connection.execute("COMMIT")


def rows_of_run(number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """One finished run: its row, and for each step its commands between its beginning and its end."""
    run_id = f"run-{number:06d}"
    at = instant_text(datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=number))
    yield (
        "runs",
        {
            "id": run_id,
            "started_at": at,
            "cluster": "bench",
            "from_version": "v1.29.0",
            "target": f"v1.{28 + number % 5}.0",
            "state": "completed",
            "outcome": "completed",
            "finished_at": at,
            "offsite_required": 1,
            "snapshot_max_age": 1800.0,
            "settings": "{}",
            "operator": "bench",
            "host": "bench",
            "tool_version": "0",
        },
    )
    for index in range(STEPS_OF_A_RUN):
        name = f"nodes/w{index // 6}/step-{index % 6}"
        common = {"run_id": run_id, "at": at, "attempt": 1}
        step = {**common, "name": name, "lane": f"w{index // 6}", "state": "planned", "changes_node": 1, "detail": ""}
        yield "steps", {**step, "outcome": "started", "result": "{}"}
        for _ in range(COMMANDS_OF_A_STEP):
            yield (
                "commands",
                {
                    **common,
                    "step": name,
                    "host": "w1",
                    "argv": '["kubectl","--kubeconfig=/etc/kubernetes/admin.conf","get","nodes","-o","json"]',
                    "exit_status": 0,
                    "started_at": at,
                    "duration": 0.25,
                    "changes": 0,
                    "stdout": "x" * 200,
                    "stderr": "",
                },
            )
        yield "steps", {**step, "outcome": "succeeded", "result": '{"packages":{"kubelet":"1.30.0-1.1"}}'}
    move = {"event": "upgrade-confirmed", "from_state": "nodes-upgraded", "to_state": "completed", "reasons": "[]"}
    yield "transitions", {"run_id": run_id, "at": at, **move}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
