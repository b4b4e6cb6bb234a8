"""A process that dies, or is asked to stop, at any point of an upgrade: the next one comes to the same end."""

from __future__ import annotations

import json
import signal
from collections import Counter

from scenario.looking import look, look_at_the_cluster
from scenario.stage import TARGET, Going, Stage
from scenario.watched import Watched

from upgrade_guard.journal import Journal

STRAIGHT = [
    "inspected",
    "snapshotted",
    "verified",
    "copied",
    "planned",
    "control-plane-upgraded",
    "nodes-upgraded",
    "completed",
]


def die_at(watched: Watched, going: Going, name: str) -> None:
    """kill -9 while the held call is under way; what it started lives on and finishes."""
    watched.await_held(name, going)
    going.send(signal.SIGKILL)
    assert going.wait().exit_code == -signal.SIGKILL
    latest = watched.stage.rows("select name, outcome from steps order by seq desc limit 1")[0]
    assert latest["outcome"] == "started", f"{name}: {latest}"


def test_an_upgrade_is_killed_again_and_again_and_comes_to_the_same_end(stage: Stage) -> None:
    watched = Watched.on(stage)

    # Ctrl-C while the snapshot is saved: that step is finished and recorded first.
    going = stage.start("run", TARGET, "--yes")
    stage.await_outcome("snapshot/save", "started", going)
    going.send(signal.SIGINT)
    answer = going.wait()
    assert answer.exit_code == 130, answer
    assert answer.error["code"] == "interrupted"
    assert "resume" in answer.error["hint"]
    assert stage.rows("select outcome from steps order by seq desc limit 1")[0]["outcome"] in (
        "succeeded",
        "interrupted",
    )
    assert look(stage)["status"]["state"] == "inspected"

    # In the middle of a package installation, seen from outside while it goes on and after the death.
    watched.hold("install", "cp1 apt-get install *kubeadm=*")
    going = stage.start("resume", "--yes")
    watched.await_held("install", going)
    assert look(stage)["status"]["state"] == "copied"
    look_at_the_cluster(stage)
    second = stage.guard("run", TARGET, "--yes", ends=5)
    assert str(going.process.pid) in second.error["message"], second
    assert stage.guard("abort", "--yes", ends=5).error["code"] == "locked"
    die_at(watched, going, "install")
    answers = look(stage)
    assert answers["status"]["state"] == "copied"
    assert answers["status"]["gate"]["open"] is True, answers["status"]
    assert answers["history"][0]["outcome"] == ""
    watched.finish("install")

    # In the middle of `kubeadm upgrade apply`, which outlives the process: the next one waits for it.
    watched.hold("apply", "cp1 kubeadm upgrade apply *")
    die_at(watched, stage.start("resume", "--yes"), "apply")
    assert look(stage)["status"]["state"] == "planned"
    watched.hold("drain", "* kubectl *drain cp1*")
    going = stage.start("resume", "--yes")
    stage.await_outcome("control-plane/cp1/apply", "started", going, times=2)
    watched.release("apply")

    # In a drain.
    die_at(watched, going, "drain")
    watched.finish("drain")

    # SIGTERM while a worker's packages are installed.
    watched.hold("kubelet", "w1 apt-get install *kubelet=*")
    going = stage.start("resume", "--yes")
    watched.await_held("kubelet", going)
    going.send(signal.SIGTERM)
    watched.release("kubelet")
    answer = going.wait()
    assert answer.exit_code == 130, answer
    assert stage.outcomes("nodes/w1/kubelet-packages")[-1] in ("succeeded", "interrupted")
    assert look(stage)["status"]["state"] == "control-plane-upgraded"

    # In the verification, while its canary is on the cluster.
    watched.hold("canary", "* kubectl *delete -f -*")
    die_at(watched, stage.start("resume", "--yes"), "canary")
    watched.finish("canary")

    answer = stage.guard("resume", "--yes")
    assert answer.data["state"] == "completed"
    assert stage.states() == STRAIGHT
    assert stage.kubelet_versions() == {"cp1": TARGET, "w1": TARGET}
    assert stage.unschedulable() == set()
    assert stage.waiting_pods() == []
    assert [
        one["metadata"]["name"] for one in stage.get("pods", "--all-namespaces")["items"] if "canary" in str(one)
    ] == []
    assert len(stage.rows("select id from runs")) == 1
    journal = Journal.read(stage.journal)
    assert journal is not None
    with journal:
        assert journal.verify() == ()
    nothing_was_done_twice(watched)


CHANGES = (
    ("kubeadm", "upgrade", "apply"),
    ("kubeadm", "upgrade", "node"),
    ("apt-get", "install"),
    ("systemctl", "restart"),
    ("kubectl", "drain"),
    ("kubectl", "uncordon"),
)


def nothing_was_done_twice(watched: Watched) -> None:
    """No change was asked of a node twice, unless the probe in between had said that it was not done."""
    for words in CHANGES:
        counted = Counter(watched.calls(*words))
        assert counted, f"{words} was never called"
        again = {call: count for call, count in counted.items() if count > 1}
        assert not again, again


def test_nothing_is_left_of_a_run_that_was_interrupted_twice(stage: Stage) -> None:
    """The second Ctrl-C stops at once, and says which step is in doubt."""
    watched = Watched.on(stage)
    watched.hold("nodes", "* kubectl *get nodes*")
    going = stage.start("run", TARGET, "--yes")
    watched.await_held("nodes", going)
    going.send(signal.SIGINT)
    going.send(signal.SIGINT)
    answer = going.wait()
    assert answer.exit_code == 130, answer
    watched.finish("nodes")
    assert look(stage)["status"]["state"] == "started"
    assert json.loads(answer.stdout)["error"]["code"] == "interrupted"
    assert stage.guard("abort", "--yes").data["state"] == "aborted"
    assert look(stage)["status"] is None
