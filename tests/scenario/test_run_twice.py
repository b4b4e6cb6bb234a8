"""After a restore nothing runs twice: no pod on two nodes, and no CronJob for a time that it ran for already."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from scenario.ends import assert_untouched
from scenario.stage import Stage

NOW = datetime.now(UTC).replace(second=0, microsecond=0)
YESTERDAY = NOW - timedelta(days=1)
MINUTE = int(NOW.timestamp()) // 60


def text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def put_cron_job(stage: Stage, name: str, last: datetime) -> None:
    document = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "namespace": "shop", "uid": f"00000000-0000-4000-8000-{len(name):012}"},
        "spec": {"schedule": "0 3 * * *"},
        "status": {"lastScheduleTime": text(last)},
    }
    stage.put_key(f"/registry/cronjobs/shop/{name}", json.dumps(document))


def ran_last(stage: Stage) -> dict[str, str]:
    rows = stage.get("cronjobs", "--all-namespaces")["items"]
    return {row["metadata"]["name"]: row["status"]["lastScheduleTime"] for row in rows}


def pods_on(stage: Stage, node: str) -> set[str]:
    rows = stage.get("pods", "--all-namespaces")["items"]
    return {row["metadata"]["name"] for row in rows if row["spec"].get("nodeName") == node}


def running_on(stage: Stage, node: str) -> set[str]:
    rows: list[dict[str, Any]] = json.loads(stage.shell(node, "crictl", "ps", "-o", "json").stdout)["containers"]
    return {row["labels"]["io.kubernetes.pod.name"] for row in rows}


def test_what_was_moved_since_the_snapshot_runs_on_one_node_only(new_stage: Callable[..., Stage]) -> None:
    stage = new_stage(workers=2, faults=("kubelet-fails-worker",))
    stage.configure(ready_timeout='"15s"')
    before = stage.truth()
    put_cron_job(stage, "report", YESTERDAY)
    put_cron_job(stage, "untouched", YESTERDAY)
    then = pods_on(stage, "w2")
    stage.run(ends=6)
    moved = running_on(stage, "w2") - then
    assert moved, "the drain of w1 moves pods to w2"
    put_cron_job(stage, "report", NOW)
    stage.put_key(f"/registry/jobs/shop/report-{MINUTE}", json.dumps({"kind": "Job", "metadata": {"name": "report"}}))

    going = stage.start("rollback", "--confirm-cluster", "lab")
    with stage.held(stage.lab.layout.programs("w1") / "systemctl", "restart kubelet") as wait_for:
        wait_for(going)
        assert running_on(stage, "w2") <= then, "they end before the kubelet of w1 starts them again"
        assert ran_last(stage) == {"report": text(NOW), "untouched": text(YESTERDAY)}
    answer = going.wait()
    assert answer.exit_code == 0, answer
    assert answer.data["state"] == "rolled-back"
    assert_untouched(stage, before)
    done = {step["name"]: step["result"] for step in stage.show()["steps"] if step["outcome"] == "succeeded"}
    order = list(done)
    assert order.index("rollback/cron-jobs") < order.index("rollback/cp1/controller-manager")
    assert {pod.partition("/")[2] for pod in done["rollback/w2/fence"]["ended"]} >= moved
    assert done["rollback/cron-jobs"] == {"seen": [f"shop/report {text(NOW)}"]}
