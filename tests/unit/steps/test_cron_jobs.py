"""When a CronJob of a restored cluster ran last, told from what etcd had when it was stopped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from upgrade_guard.model.etcd import Key
from upgrade_guard.steps.cron_jobs import Ran, but_their_controller, runs_since
from upgrade_guard.tools.kubectl_objects import CronJobRow, parse_cron_jobs

REVISION = 100
MINUTE = 29_912_345
"""A minute since 1970, as the controller writes it into the name of a Job."""
RAN = datetime.fromtimestamp(MINUTE * 60, UTC)
STOPPED = RAN + timedelta(minutes=7)
REPORT = CronJobRow("shop", "report", last=RAN - timedelta(days=1))


def job(name: str, created: int) -> Key:
    return Key(f"/registry/jobs/shop/{name}", created, created)


def own(created: int, changed: int) -> Key:
    return Key("/registry/cronjobs/shop/report", created, changed)


def test_the_newest_job_since_says_when_it_ran() -> None:
    jobs = [
        job(f"report-{MINUTE - 60}", 110),
        job(f"report-{MINUTE}", 120),
        job(f"report-{MINUTE}-x", 125),
    ]
    assert runs_since([REPORT], [own(5, 130), *jobs], REVISION, STOPPED) == {REPORT: Ran(RAN, seen=True)}


def test_a_job_of_before_the_snapshot_is_known_to_the_restored_one() -> None:
    assert runs_since([REPORT], [own(5, 90), job(f"report-{MINUTE}", 90)], REVISION, STOPPED) == {}


def test_a_cron_job_that_changed_and_has_no_job_left_may_have_run() -> None:
    """Its Job was removed after it had ended (ttlSecondsAfterFinished)."""
    assert runs_since([REPORT], [own(5, 130)], REVISION, STOPPED) == {REPORT: Ran(STOPPED, seen=False)}


def test_without_any_knowledge_every_cron_job_may_have_run() -> None:
    assert runs_since([REPORT], None, REVISION, STOPPED) == {REPORT: Ran(STOPPED, seen=False)}


def test_one_that_is_suspended_or_knows_of_a_later_run_is_left_alone() -> None:
    suspended = CronJobRow("shop", "report", suspended=True)
    later = CronJobRow("shop", "report", last=RAN)
    keys = [own(5, 130), job(f"report-{MINUTE}", 120)]
    assert runs_since([suspended], keys, REVISION, STOPPED) == {}
    assert runs_since([later], keys, REVISION, STOPPED) == {}


def test_another_cron_job_with_a_longer_name_has_its_own_jobs() -> None:
    assert runs_since([REPORT], [own(5, 6), job(f"report-all-{MINUTE}", 120)], REVISION, STOPPED) == {}


def test_rows_as_kubectl_prints_them() -> None:
    text = """{"kind": "List", "items": [
      {"metadata": {"namespace": "shop", "name": "report"}, "spec": {"schedule": "5 * * * *", "suspend": false},
       "status": {"lastScheduleTime": "2026-11-28T06:05:00Z"}},
      {"metadata": {"namespace": "shop", "name": "never"}, "spec": {"suspend": true}}]}"""
    assert parse_cron_jobs(text) == (
        CronJobRow("shop", "report", last=datetime(2026, 11, 28, 6, 5, tzinfo=UTC)),
        CronJobRow("shop", "never", suspended=True),
    )


def test_only_the_controller_manager_waits() -> None:
    assert not but_their_controller("/etc/kubernetes/manifests/kube-controller-manager.yaml")
    assert but_their_controller("/etc/kubernetes/manifests/kube-scheduler.yaml")
