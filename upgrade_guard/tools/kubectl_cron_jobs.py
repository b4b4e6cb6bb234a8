"""CronJobs, and when each ran last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from upgrade_guard.tools.kubectl_lists import rows


@dataclass(frozen=True)
class CronJobRow:
    """A CronJob; `last` is the time for which it last made a Job, None where it never did."""

    namespace: str
    name: str
    suspended: bool = False
    last: datetime | None = None


def parse_cron_jobs(text: str) -> tuple[CronJobRow, ...]:
    """`kubectl get cronjobs -o json`."""
    return rows("kubectl get cronjobs", text, _cron_job)


def _cron_job(one: dict[str, Any]) -> CronJobRow:
    last = (one.get("status") or {}).get("lastScheduleTime")
    return CronJobRow(
        namespace=one["metadata"]["namespace"],
        name=one["metadata"]["name"],
        suspended=bool(one["spec"].get("suspend")),
        last=datetime.fromisoformat(last) if last else None,
    )
