"""A CronJob that runs once while an upgrade is under way: a restore must not make it run again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from proving.cluster import Cluster

NAME = "once"
IMAGE = "registry.k8s.io/pause:3.10"


def plan(cluster: Cluster, after: timedelta) -> datetime:
    """It runs at the first full minute `after` from now, and on no other day of this year."""
    at = (datetime.now(UTC) + after).replace(second=0, microsecond=0)
    container = {"name": NAME, "image": IMAGE, "imagePullPolicy": "IfNotPresent", "args": ["-v"]}
    document = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": NAME},
        "spec": {
            "schedule": f"{at.minute} {at.hour} {at.day} {at.month} *",
            "timeZone": "Etc/UTC",
            "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}},
        },
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(document).encode())
    return at


def remove(cluster: Cluster) -> None:
    """It, and what it made."""
    cluster.kubectl("delete", "cronjob", NAME)


def runs(cluster: Cluster) -> list[str]:
    """The Jobs that it made and that are still there, by name."""
    names = cluster.kubectl("get", "jobs", "-o", "name").split()
    return [name.partition("/")[2] for name in names if name.startswith(f"job.batch/{NAME}-")]


def job_of(at: datetime) -> str:
    """What its controller calls the Job of that minute."""
    return f"{NAME}-{int(at.timestamp()) // 60}"


def ran_last(cluster: Cluster) -> str:
    """As the CronJob itself says."""
    return cluster.kubectl("get", "cronjob", NAME, "-o", "jsonpath={.status.lastScheduleTime}")
