"""What a person has to know once etcd's data was taken back: what is lost, and what may have happened twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from upgrade_guard.model.step import Facts
from upgrade_guard.steps.fencing import not_fenced

_PREFIXES = ("rollback", "restore")


def taken_back(facts: Facts) -> list[str]:
    """A line for each; none where etcd's data was not taken back."""
    lost, cron_jobs = (_result(facts, step) for step in ("lost", "cron-jobs"))
    lines = []
    if lost is not None:
        lines.append(f"What was taken back with etcd's data: {_listed(lost)}")
    for kind, meaning in _CRON_JOBS.items():
        if cron_jobs is not None and cron_jobs.get(kind):
            lines.append(f"{meaning}: {', '.join(cron_jobs[kind])}")
    if cron_jobs is not None and cron_jobs.get("why"):
        lines.append(f"CronJobs may run a second time for what they ran since the snapshot: {cron_jobs['why']}")
    lines += [f"A pod may have run twice for a while, on {node} too: {why}" for node, why in not_fenced(facts).items()]
    return lines


_CRON_JOBS = {
    "assumed": "CronJobs that ran since the snapshot or may have, and do not make up for it",
    "failed": "CronJobs that may run a second time for",
}


def _result(facts: Facts, step: str) -> Mapping[str, Any] | None:
    return next((facts.of(f"{one}/{step}") for one in _PREFIXES if facts.has(f"{one}/{step}")), None)


def _listed(lost: Mapping[str, Any]) -> str:
    if not lost["list"]:
        return f"not listed: {lost['why']}"
    return f"{lost['gone']} objects gone, {lost['back']} back, {lost['before']} as they were before: {lost['list']}"
