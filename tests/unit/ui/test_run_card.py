"""The stage card as text, in each of the situations in which somebody looks at it."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from rich.console import Console

from upgrade_guard.model.run import Event, Run, State, Transition
from upgrade_guard.ui.run_card import Card, mark, reached_by, render
from upgrade_guard.ui.vocabulary import STAGES

BEGAN = datetime(2025, 3, 1, 2, 0, tzinfo=UTC)
PATH = (State.STARTED, *(state for state, _ in STAGES))


def run(state: State) -> Run:
    return Run(
        id="20250301-abcdef",
        cluster="prod",
        from_version="v1.27.16",
        target="v1.28.0",
        state=state,
        outcome="",
        started_at=BEGAN,
        finished_at=None,
        offsite_required=1,
        snapshot_max_age=1800,
    )


def moves(*path: State) -> tuple[Transition, ...]:
    """One move a minute along those states."""
    pairs = pairwise(path)
    return tuple(
        Transition(number, "r", Event.CLUSTER_INSPECTED, before, after, BEGAN + timedelta(minutes=number))
        for number, (before, after) in enumerate(pairs, start=1)
    )


def text(card: Card, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    console.print(render(card))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def marks(card: Card) -> str:
    return " ".join(mark(card, state) for state, _ in STAGES)


def test_a_run_before_its_gate() -> None:
    card = Card(
        run(State.COPIED),
        moves(*PATH[:5]),
        now=("plan/kubeadm-plan: kubeadm upgrade plan v1.28.0 on cp1 (12 s)", "  cp1: [upgrade] Running \x1b[1mchecks"),
        gate="open",
        going_back="only packages were changed; abort puts them back and loses nothing",
        running=True,
    )
    assert text(card) == (
        "Upgrade v1.27.16 -> v1.28.0   cluster prod   run 20250301-abcdef\n"
        "\n"
        "    done  Inspect the cluster            02:01:00Z\n"
        "    done  Take the snapshot              02:02:00Z\n"
        "    done  Prove that it restores         02:03:00Z\n"
        "    done  Copy it off the control plane  02:04:00Z\n"
        "     now  Plan, and your approval\n"
        "       -  Change the control plane\n"
        "       -  Change the workers\n"
        "       -  Confirm against the baseline\n"
        "\n"
        "   State  copied. The control plane runs the old version; its proven snapshot is in the vault and\n"
        "          off site.\n"
        "     Now  plan/kubeadm-plan: kubeadm upgrade plan v1.28.0 on cp1 (12 s)\n"
        "          cp1: [upgrade] Running \\x1b[1mchecks\n"
        "    Next  Change the control plane\n"
        "    Gate  open\n"
        "    Back  only packages were changed; abort puts them back and loses nothing"
    )


def test_a_run_that_failed_says_what_to_type() -> None:
    card = Card(
        run(State.STARTED), last=("inspect/cluster FAILED: no route",), next_command="upgrade-guard resume", failed=True
    )
    assert text(card).splitlines()[-4:] == [
        "   State  started. The cluster is untouched.",
        "    Last  inspect/cluster FAILED: no route",
        "    Next  Inspect the cluster",
        "    Type  upgrade-guard resume",
    ]
    assert marks(card) == "failed - - - - - - -"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (PATH[:1], "next - - - - - - -"),
        (PATH[:6], "done done done done done next - -"),
        (PATH, "done done done done done done done done"),
        ((*PATH[:3], State.ABORTED), "done done - - - - - -"),
        ((*PATH[:5], State.INSPECTED), "done next - - - - - -"),
        ((*PATH[:5], State.INSPECTED, State.SNAPSHOTTED), "done done next - - - - -"),
        ((*PATH[:6], State.ROLLING_BACK), "done done done done done failed - -"),
        ((*PATH[:8], State.ROLLING_BACK, State.ROLLED_BACK), "done done done done done back back failed"),
    ],
)
def test_the_marks_of_the_stages(path: tuple[State, ...], expected: str) -> None:
    assert marks(Card(run(path[-1]), moves(*path))) == expected


def test_expired_evidence_keeps_the_moment_of_what_still_holds() -> None:
    reached = reached_by(moves(*PATH[:5], State.INSPECTED))
    assert reached == {State.INSPECTED: BEGAN + timedelta(minutes=1)}


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (State.ROLLING_BACK, "     now  Take the cluster back"),
        (State.ROLLBACK_FAILED, "  failed  Take the cluster back"),
        (State.ROLLED_BACK, "    done  Take the cluster back"),
    ],
)
def test_the_way_back_is_a_stage_of_its_own(state: State, line: str) -> None:
    assert line in text(Card(run(state), moves(*PATH[:6], state))).splitlines()


def test_a_narrow_terminal_folds_and_loses_nothing() -> None:
    card = Card(run(State.COPIED), moves(*PATH[:5]), gate="closed: " + "The proof is 31 min old. " * 4)
    assert text(card, width=40).count("31") == 4
    assert all(len(line) <= 40 for line in text(card, width=40).splitlines())
