"""Once the control plane was touched: spoiled evidence leads to a rollback, and a rollback can die anywhere too."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable

from scenario.disks import Disks, flip
from scenario.looking import look
from scenario.stage import Stage, changed
from scenario.test_deaths import die_at
from scenario.watched import Watched

from upgrade_guard.journal import Journal
from upgrade_guard.lab.layout import Layout


def test_spoiled_evidence_then_a_rollback_that_dies_again_and_again(copied_stage: Callable[..., Stage]) -> None:
    stage = copied_stage()
    stage.put_key("/scenario/kept", "from before")
    watched = Watched.on(stage)

    # The evidence is taken twice: the second bundle is made when the package source names the new minor already.
    watched.hold("plan", "cp1 apt-get install *cache kubeadm=*")
    die_at(watched, stage.start("resume", "--yes"), "plan")
    watched.finish("plan")
    flip(Disks.keep(stage).copy / "files-cp1.tar.gz")
    stage.guard("resume", "--yes", ends=3)
    watched.hold("drain", "* kubectl *drain cp1*")
    die_at(watched, stage.start("resume", "--yes"), "drain")
    watched.finish("drain")
    stage.put_key("/scenario/lost", "written after the snapshot")
    disks = Disks.keep(stage)
    half_way = stage.truth()

    # The upgrade is not resumed when what could take it back is spoiled; no new snapshot can take its place.
    flip(disks.bundle / "snapshot.db")
    answer = stage.guard("resume", "--yes", ends=3)
    assert answer.error["code"] == "refused"
    assert answer.error["reasons"], answer
    assert "rollback" in answer.error["hint"], answer
    assert answer.data["state"] == "planned"
    assert stage.truth() == half_way
    disks.put_back()

    # Going back loses a write, so it wants the cluster's name; with a spoiled bundle nothing is stopped for it.
    answer = stage.guard("rollback", "--yes", ends=6)
    assert "--confirm-cluster lab" in answer.error["hint"], answer
    flip(disks.bundle / "snapshot.db")
    answer = stage.guard("rollback", "--confirm-cluster", "lab", ends=8)
    assert "snapshot.db" in answer.error["message"] + str(answer.error["reasons"]), answer
    assert answer.data["state"] == "rollback-failed"
    assert stage.truth() == half_way
    assert stage.kubelet_versions() == {"cp1": "v1.27.16", "w1": "v1.27.16"}, "the API no longer answers"
    shutil.copy2(disks.copy / "snapshot.db", disks.bundle / "snapshot.db")

    # The rollback dies while kubelet stops, while the data is restored, while packages go back, in its verification.
    watched.hold("stop", "cp1 systemctl stop kubelet")
    die_at(watched, stage.start("resume", "--yes"), "stop")
    watched.finish("stop")
    going = stage.start("resume", "--yes")
    stage.await_outcome("rollback/cp1/restore", "started", going)
    going.process.kill()
    going.wait()
    watched.hold("packages", "cp1 *dpkg *--install *kubeadm_1.27.16*")
    die_at(watched, stage.start("resume", "--yes"), "packages")
    watched.finish("packages")
    watched.hold("start", "cp1 systemctl restart kubelet")
    die_at(watched, stage.start("resume", "--yes"), "start")
    answers = look(stage)
    assert answers["status"]["state"] == "rolling-back"
    watched.finish("start")
    watched.hold("canary", "* kubectl *delete -f -*")
    die_at(watched, stage.start("resume", "--yes"), "canary")
    watched.finish("canary")

    answer = stage.guard("resume", "--yes", ends=7)
    assert answer.data["state"] == "rolled-back"
    assert changed(stage.before, stage.truth()) == set()
    assert stage.key("/scenario/kept") == "from before"
    assert stage.key("/scenario/lost") is None
    assert stage.unschedulable() == set()
    assert stage.waiting_pods() == []
    assert stage.states()[-4:] == ["rolling-back", "rollback-failed", "rolling-back", "rolled-back"]
    run_id = answer.data["id"]
    layout = Layout(stage.lab.directory)
    aside = [path for path in layout.etcd("cp1").parent.iterdir() if run_id in path.name and path.name.endswith("-old")]
    assert len(aside) == 1
    swapped = next(step for step in reversed(stage.show()["steps"]) if step["name"] == "rollback/cp1/swap")
    assert swapped["result"]["aside"] == str(aside[0])
    once = ("kubeadm upgrade apply", "systemctl stop kubelet", "apt-get install")
    for words in once:
        counted = Counter(watched.calls(*words.split()))
        assert counted and not {call for call, count in counted.items() if count > 1}, counted
    journal = Journal.read(stage.journal)
    assert journal is not None
    with journal:
        assert journal.verify() == ()
