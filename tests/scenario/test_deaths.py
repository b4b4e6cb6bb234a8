"""A process that dies, or is asked to stop, at any point of an upgrade: the next one comes to the same end."""

from __future__ import annotations

import signal
from collections import Counter

from scenario.disks import Disks, flip
from scenario.looking import look, look_at_the_cluster
from scenario.stage import TARGET, Going, Stage, until
from scenario.watched import Watched, running_with

from upgrade_guard.journal import Journal

AND_ON = [
    "planned",
    "control-plane-upgraded",
    "nodes-upgraded",
    "completed",
]
TO_THE_GATE = ["inspected", "snapshotted", "verified", "copied"]


def kill(going: Going) -> None:
    """kill -9, at whatever it does."""
    going.send(signal.SIGKILL)
    assert going.wait().exit_code == -signal.SIGKILL


def die_at(watched: Watched, going: Going, name: str) -> None:
    """kill -9 while the held call is under way; what it started lives on and finishes."""
    watched.await_held(name, going)
    kill(going)
    # Not the newest row alone: where lanes go side by side, another may have ended a step meanwhile.
    rows = watched.stage.rows("select name, outcome from steps order by seq")
    latest = {row["name"]: row["outcome"] for row in rows}
    assert "started" in latest.values(), f"{name}: {rows[-3:]}"


def test_an_upgrade_is_killed_again_and_again_and_comes_to_the_same_end(stage: Stage) -> None:
    stage.starts = True
    watched = Watched.on(stage)

    # While the snapshot is saved.
    going = stage.start("run", TARGET, "--yes")
    stage.await_outcome("snapshot/save", "started", going)
    kill(going)

    # Ctrl-C while the node's files are saved: that step is finished and recorded first.
    going = stage.start("resume", "--yes")
    stage.await_outcome("snapshot/files/cp1", "started", going)
    going.send(signal.SIGINT)
    answer = going.wait()
    assert answer.exit_code == 130, answer
    assert answer.error["code"] == "interrupted"
    assert "resume" in answer.error["hint"]
    assert stage.outcomes("snapshot/files/cp1")[-1] in ("succeeded", "interrupted")
    assert stage.guard("status").data["state"] in ("inspected", "snapshotted")

    # While the proof restores it and runs an etcd on it.
    going = stage.start("resume", "--yes")
    stage.await_outcome("prove/snapshot", "started", going)
    kill(going)

    # In the middle of a package installation, seen from outside while it goes on and after the death.
    watched.hold("install", "cp1 apt-get install *cache kubeadm=*")
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

    # Its snapshot is spoiled while nobody looks: refused, and the resume after that takes a new one and goes on.
    flip(Disks.keep(stage).bundle / "snapshot.db")
    answer = stage.guard("resume", "--yes", ends=3)
    assert any("snapshot.db was changed" in reason for reason in answer.error["reasons"]), answer
    assert answer.data["state"] == "inspected"

    # In the middle of `kubeadm upgrade apply`, which outlives the process: the next one waits for it.
    watched.hold("apply", "cp1 kubeadm upgrade apply *")
    die_at(watched, stage.start("resume", "--yes"), "apply")
    assert stage.guard("status").data["state"] == "planned"
    watched.hold("drain", "* kubectl *drain cp1*")
    going = stage.start("resume", "--yes")
    stage.await_outcome("control-plane/cp1/apply", "started", going, times=2)
    watched.release("apply")

    # In a drain.
    die_at(watched, going, "drain")
    watched.finish("drain")

    # SIGTERM while a worker's packages are installed.
    watched.hold("kubelet", "w1 apt-get install *cache kubectl=*")
    going = stage.start("resume", "--yes")
    watched.await_held("kubelet", going)
    going.send(signal.SIGTERM)
    watched.release("kubelet")
    answer = going.wait()
    assert answer.exit_code == 130, answer
    assert stage.outcomes("nodes/w1/kubelet-packages")[-1] in ("succeeded", "interrupted")
    assert stage.guard("status").data["state"] == "control-plane-upgraded"

    # In the verification, while its canary is on the cluster.
    watched.hold("canary", "* kubectl *delete -f -*")
    die_at(watched, stage.start("resume", "--yes"), "canary")
    watched.finish("canary")

    answer = stage.guard("resume", "--yes")
    assert answer.data["state"] == "completed"
    assert stage.states() == [*TO_THE_GATE, *TO_THE_GATE, *AND_ON]
    assert len(stage.show()["snapshots"]) == 2
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
    assert not running_with(f"--data-dir={stage.lab.directory}/state/scratch"), "an etcd of a proof was left behind"
    nothing_was_done_twice(watched)


ONCE = (
    ("kubeadm", "upgrade", "node"),
    ("apt-get", "install"),
    ("systemctl", "restart"),
    ("kubectl", "drain"),
    ("kubectl", "uncordon"),
)


def nothing_was_done_twice(watched: Watched) -> None:
    """No change was asked of a node twice, unless the probe in between had said that it was not done.

    kubeadm's apply is: whether it ended well cannot be seen on the cluster, so nobody knew it when the one who waited
    for it was killed. Twice is harmless then, at the same time is not, and the second waited for the first.
    """
    assert len(watched.calls("kubeadm", "upgrade", "apply")) == 2
    for words in ONCE:
        counted = Counter(watched.calls(*words))
        assert counted, f"{words} was never called"
        assert not {call: count for call, count in counted.items() if count > 1}


def test_nothing_is_left_of_a_run_that_was_interrupted_twice(stage: Stage) -> None:
    """The second Ctrl-C stops at once, and says which step is in doubt."""
    watched = Watched.on(stage)
    watched.hold("mount", "cp1 ctr *images mount *")
    going = stage.start("run", TARGET, "--yes")
    watched.await_held("mount", going)
    going.send(signal.SIGINT)
    until(lambda: "SIGINT" in going.complained.read_text(), what="the first Ctrl-C")
    going.send(signal.SIGINT)
    answer = going.wait()
    assert answer.exit_code == 130, answer
    watched.finish("mount")
    assert stage.guard("status").data["state"] == "started"
    assert answer.error["code"] == "interrupted"
    assert "inspect/etcd-tools" in answer.error["message"], answer
    assert stage.guard("abort", "--yes").data["state"] == "aborted"
    assert stage.guard("status").data is None
