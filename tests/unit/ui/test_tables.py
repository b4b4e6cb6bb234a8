"""Findings, previews and timelines as text."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

from rich.console import Console, RenderableType
from unit.ui.telling import taken_back
from unit.ui.test_run_card import run

from upgrade_guard.model.cluster import Addon, Cluster, Node
from upgrade_guard.model.finding import Finding, Severity
from upgrade_guard.model.run import ApprovalRecord, CommandRow, Outcome, State, StepRow
from upgrade_guard.model.step import Done, Phase, Step
from upgrade_guard.ui import tables

AT = datetime(2025, 3, 1, 2, 0, tzinfo=UTC)
FOUND = (
    Finding("etcd-no-alarm", Severity.OK, "no alarm"),
    Finding("nodes-schedulable", Severity.WARNING, "w1 is cordoned", hint="kubectl uncordon w1", where="w1"),
    Finding("etcd-quota", Severity.BLOCKING, "db is \x1b[31mfull", hint="defragment"),
)


def text(shown: RenderableType, width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    console.print(shown)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_findings_begin_with_what_stops_a_run() -> None:
    assert text(tables.findings(FOUND)) == [
        "BLOCKING  etcd-quota: db is \\x1b[31mfull",
        "          -> defragment",
        "warning   nodes-schedulable on w1: w1 is cordoned",
        "          -> kubectl uncordon w1",
        "1 passed, 1 warning(s), 1 blocking.",
    ]
    assert "ok        etcd-no-alarm: no alarm" in text(tables.findings(FOUND, verbose=True))


def test_a_preview_marks_what_changes_a_node_and_gives_add_ons_their_advice() -> None:
    node = Node("cp1", "control-plane", "10.0.0.1", "v1.27.16", holds=("kubeadm",))
    addon = Addon("cilium", "CNI", "kube-system", "cilium", "cilium:1", healthy=True, advice="upgrade it after")
    cluster = Cluster("prod", "v1.27.16", (node,), "1", "3.5.9", 1 << 20, (addon,))
    steps = (
        Step("inspect/cluster", "read the cluster", lambda _: Done(), lambda _: None),
        Step("plan/cp1/kubeadm", "install kubeadm", lambda _: Done(), lambda _: None, changes_node=True),
    )
    shown = text(tables.preview(cluster, "v1.28.0", (Phase("plan", "Plan", steps),), FOUND))
    assert shown[0] == "Cluster prod: v1.27.16 -> v1.28.0"
    assert "    inspect/cluster: read the cluster" in shown
    assert "  * plan/cp1/kubeadm: install kubeadm" in shown
    assert "  cilium: upgrade it after" in shown


def row(number: int, name: str, outcome: Outcome, detail: str = "", attempt: int = 1) -> StepRow:
    at = AT + timedelta(seconds=number)
    return StepRow(number, "r", name, "", attempt, State.PLANNED, outcome, False, at, detail=detail)


def story(command: CommandRow) -> tables.Story:
    steps = (
        row(1, "a", Outcome.STARTED),
        row(3, "a", Outcome.FAILED, "no"),
        row(4, "a", Outcome.STARTED, attempt=2),
        row(8, "a", Outcome.SUCCEEDED, attempt=2),
        row(9, "a", Outcome.VOIDED, "expired", attempt=2),
        row(10, "b", Outcome.STARTED),
    )
    approval = ApprovalRecord("Upgrade?", "ada", "prompt", "yes", AT)
    return tables.Story(run(State.PLANNED), (), steps, (command,), (approval,), (), (), ())


def test_a_timeline_tells_attempts_in_the_order_of_time() -> None:
    command = CommandRow("r", "a", 1, "cp1", ("kubeadm", "x" * 200), None, AT + timedelta(seconds=2), 900.0, True)
    lines = text(tables.timeline(story(command), AT))
    told = lines[-6:]
    assert told[0] == "02:00:00Z  approval  Upgrade? yes, by ada (prompt)"
    assert told[1].startswith("02:00:02Z  command   cp1 $ kubeadm xxxx")
    assert len(told[1]) <= 100
    assert told[2:] == [
        "02:00:03Z  step      a FAILED in 2.0 s: no",
        "02:00:08Z  step      a (attempt 2) done in 4.0 s",
        "02:00:09Z  step      a (attempt 2) taken back: expired",
        "02:00:10Z  step      b started and never concluded: in doubt",
    ]
    everything = " ".join(text(tables.timeline(story(command), AT, verbose=True)))
    assert everything.count("x") >= 200
    assert "ran out of time in 15 min 00 s" in everything


def test_reads_are_for_those_who_ask_for_more() -> None:
    command = CommandRow("r", "a", 1, "cp1", ("kubectl", "get", "nodes"), 0, AT, 0.1, False)
    assert not any("kubectl" in line for line in text(tables.timeline(story(command), AT)))
    assert any("kubectl get nodes: exit 0" in line for line in text(tables.timeline(story(command), AT, verbose=True)))


def test_a_timeline_begins_with_how_long_the_stages_took() -> None:
    lines = text(tables.timeline(taken_back(), AT + timedelta(hours=1)))
    assert lines[8:15] == [
        "  done  Inspect the cluster            6.0 s  #######",
        "  done  Take the snapshot              3.0 s         ###",
        "  done  Prove that it restores         1.0 s            ##",
        "  done  Copy it off the control plane  1.0 s              #",
        "  done  Plan, and your approval        1.0 s               #",
        "failed  Change the control plane       5.0 s                ######",
        "  done  Take the cluster back          9.0 s                      ##########",
    ]


def test_a_history_that_is_cut_off_says_how_to_see_more() -> None:
    runs = [(run(State.PLANNED), ())]
    assert text(tables.history(runs, AT, "upgrade-guard history --limit 10"))[-1].endswith("history --limit 10")
    assert len(text(tables.history(runs, AT))) == 1
