"""Upgrades that go well, on one control plane and on three."""

from __future__ import annotations

from scenario.stage import TARGET, Stage


def test_an_upgrade_of_one_control_plane_and_a_worker(stage: Stage) -> None:
    answer = stage.run()
    assert answer.data["state"] == "completed"
    assert stage.states() == [
        "inspected",
        "snapshotted",
        "verified",
        "copied",
        "planned",
        "control-plane-upgraded",
        "nodes-upgraded",
        "completed",
    ]
    assert stage.kubelet_versions() == {"cp1": TARGET, "w1": TARGET}
