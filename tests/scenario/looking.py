"""What every command that only looks must keep: one JSON object on stdout, exit 0, nothing changed."""

from __future__ import annotations

from typing import Any

from scenario.stage import Stage

# `check` and `plan` ask the cluster: while a control plane is half-way they may find something in the way (exit 3),
# or get no answer (exit 4); the others answer from the journal alone.
FROM_THE_JOURNAL = ("status", "history", "show", "graph", "config show")
OF_THE_CLUSTER = ("check", "plan")


def look(stage: Stage) -> dict[str, Any]:
    """Every command that only looks; what each of them answers. Fails unless each prints exactly one JSON object."""
    before = stage.rows("select * from chain")
    answers: dict[str, Any] = {}
    for command in FROM_THE_JOURNAL:
        answer = stage.guard(*command.split())
        assert answer.object["command"] == command
        answers[command] = answer.data
    after = stage.rows("select * from chain")
    assert before == after or any(going.runs for going in stage.going), "looking wrote into the journal"
    assert {"id", "cluster", "from", "target", "state", "outcome", "started_at", "finished_at"} <= set(answers["show"])
    for key in ("transitions", "steps", "snapshots", "commands"):
        assert isinstance(answers["show"][key], list)
    assert isinstance(answers["history"], list)
    assert answers["history"][0]["id"] == answers["show"]["id"]
    return answers


def look_at_the_cluster(stage: Stage) -> None:
    """`check` and `plan` while a run is under way, or half-way: one JSON object, whatever they find."""
    for command in OF_THE_CLUSTER:
        answer = stage.guard(command, ends=None)
        assert answer.exit_code in (0, 3, 4), answer
        assert answer.object["command"] == command
