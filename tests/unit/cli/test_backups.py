"""What is said of backups: `status`, `backup status`, `backup metrics` and `backup schedule`, from the record alone."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner
from unit.cli.recorded import now

from upgrade_guard.cli.main import app
from upgrade_guard.journal import Journal, RunLock
from upgrade_guard.model.run import CopyRecord, Event, Kind, Move, Outcome, ProofRecord, Record, SnapshotRecord, State
from upgrade_guard.model.step import Done, Step
from upgrade_guard.vault.schedule import DAILY, UNIT, Schedule, remember

Entry = Callable[[Journal], None]


class Desk:
    """A state directory, a configuration, and what was typed there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / "state"
        self.config = path / "config.toml"
        self.configure()

    def configure(self, text: str = "") -> None:
        self.config.write_text(f'state_dir = "{self.state}"\n[cluster]\nname = "prod"\n{text}\n')

    def record(self, *entries: Entry) -> None:
        with Journal.open(self.state / "journal.sqlite", now) as journal:
            for entry in entries:
                entry(journal)

    def guard(self, *words: str, ends: int = 0) -> Any:
        """Type it on a machine that has systemd's programs for `install` alone: nothing of this machine's is asked."""
        environ = {"HOME": str(self.path)} if "install" in words else {"HOME": str(self.path), "PATH": "/nowhere"}
        result = CliRunner().invoke(app, ["--config", str(self.config), *words], env=environ)
        assert result.exit_code == ends, result.output
        return result

    def answer(self, *words: str, ends: int = 0) -> Any:
        return json.loads(self.guard(*words, "--json", ends=ends).stdout)

    def schedule(self, installed_at: datetime) -> Schedule:
        """As `schedule install` leaves it, in a directory of the test."""
        made = Schedule(UNIT, str(self.path / "units"), DAILY, 86_400.0, installed_at)
        Path(made.unit_dir).mkdir()
        made.timer_path.write_text("")
        remember(self.state / "schedule.json", made)
        return made


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def began(run: str, kind: Kind, *, target: str = "", cluster: str = "prod") -> Entry:
    def entry(journal: Journal) -> None:
        journal.begin(
            run_id=run,
            cluster=cluster,
            from_version="",
            target=target,
            offsite_required=1,
            snapshot_max_age=1800,
            settings={},
            operator="ada",
            host="bastion",
            tool_version="0.1.0",
            kind=kind,
        )

    return entry


def ended(run: str, step: str, move: Move | None, *records: Record, result: Mapping[str, Any] | None = None) -> Entry:
    def entry(journal: Journal) -> None:
        attempt = journal.start(run, Step(step, step, lambda _: Done(), lambda _: None))
        journal.conclude(run, step, attempt, Outcome.SUCCEEDED, records=records, move=move, result=result)

    return entry


def backed_up(run: str, taken_at: datetime, *, cluster: str = "prod") -> tuple[Entry, ...]:
    """A backup from its beginning to its end, with one copy."""
    bundle = f"prod-{run}"
    snapshot = SnapshotRecord(bundle, f"/v/{bundle}", "ab", "cd", 20_480, 1234, "99", taken_at)
    proof = ProofRecord(bundle, "ab", ok=True, revision=1234, hashkv=7, restore_seconds=1.5, proven_at=taken_at)
    copied = CopyRecord(bundle, "file:///nas", "file:///nas/x", "ab", True, True, now() + timedelta(seconds=9))
    return (
        began(run, Kind.BACKUP, cluster=cluster),
        ended(run, "inspect", Move(Event.CLUSTER_INSPECTED, State.INSPECTED)),
        ended(run, "snapshot", Move(Event.SNAPSHOT_TAKEN, State.SNAPSHOTTED), snapshot),
        ended(run, "prove", Move(Event.SNAPSHOT_PROVEN, State.VERIFIED), proof),
        ended(run, "copy", Move(Event.COPIES_READ_BACK, State.COPIED), copied),
        lambda journal: journal.move(run, Move(Event.BACKUP_KEPT, State.COMPLETED)) and None,
    )


def failed(run: str, kind: Kind, why: str) -> tuple[Entry, ...]:
    def fail(journal: Journal) -> None:
        journal.move(run, Move(Event.RUN_FAILED, State.FAILED, (why,)))

    return (began(run, kind, target="prod-b1" if kind is Kind.DRILL else ""), fail)


def drilled(run: str) -> tuple[Entry, ...]:
    passed = Move(Event.DRILL_PASSED, State.COMPLETED)
    return (
        began(run, Kind.DRILL, target="file:///nas/prod-b1"),
        ended(run, "drill/restore", passed, result={"restore_seconds": 2.25}),
    )


def hours_ago(hours: float) -> datetime:
    return now() - timedelta(hours=hours)


def test_where_nothing_is_known_nothing_is_said_and_nothing_made(desk: Desk) -> None:
    assert desk.guard("status").stdout.startswith("No run is open.\nNext: ")
    assert "Schedule: none; install one: upgrade-guard --config" in desk.guard("backup", "status").stdout
    assert desk.answer("backup", "status")["data"]["last_proven"] is None
    assert desk.guard("backup", "metrics").stdout == "\n"
    assert not desk.state.exists()


def test_the_age_of_a_backup_and_of_a_drill_is_told(desk: Desk) -> None:
    desk.record(*backed_up("b1", hours_ago(26)), *drilled("d1"))

    told = desk.guard("status").stdout
    assert "Last proven backup: 26 h ago, prod-b1\n" in told
    assert re.search(r"^Last drill: \d+ s ago, restored and started in 2\.2 s: prod-b1$", told, re.MULTILINE)
    told = desk.guard("backup", "status").stdout
    assert "20.0 KiB, revision 1234, 1 off-site copy read back equal" in told
    found = desk.answer("backup", "status")["data"]
    assert found["last_proven"]["bundle"] == "prod-b1"
    assert found["last_proven"]["age"] == pytest.approx(26 * 3600, abs=60)
    assert (found["last_drill"]["ok"], found["last_drill"]["restore_seconds"]) == (True, 2.25)
    assert found["problems"] == []


def test_a_restore_of_a_backup_is_no_newer_one(desk: Desk) -> None:
    """It records the bundle and its proof once more, and makes no copies."""
    snapshot = SnapshotRecord("prod-b1", "/v/prod-b1", "ab", "cd", 20_480, 1234, "99", hours_ago(26))
    proof = ProofRecord("prod-b1", "ab", ok=True, revision=1234, hashkv=7, restore_seconds=1.5, proven_at=hours_ago(1))
    desk.record(
        *backed_up("b1", hours_ago(26)),
        began("r1", Kind.RESTORE, target="prod-b1"),
        ended("r1", "restore/bundle", None, snapshot),
        ended("r1", "restore/prove", None, proof),
    )
    proven = desk.answer("backup", "status")["data"]["last_proven"]
    assert (proven["run"], proven["copies"]) == ("b1", 1)


def test_an_overdue_backup_ends_with_3_and_status_only_tells(desk: Desk) -> None:
    desk.configure('[backup]\nmax_age = "26h"')
    desk.record(*backed_up("b1", hours_ago(30)))

    late = "The newest proven snapshot is 30 h old; it should be at most 26 h."
    found = desk.answer("backup", "status", ends=3)
    assert found["error"]["reasons"] == [late]
    assert found["data"]["problems"] == [late]
    assert found["data"]["max_age"] == 26 * 3600
    assert f"Backups: {late}" in desk.guard("status").stdout


def test_an_installed_schedule_says_what_is_expected(desk: Desk) -> None:
    desk.record(*backed_up("b1", hours_ago(25)))
    desk.schedule(hours_ago(100))
    assert desk.answer("backup", "status")["data"]["max_age"] == 26 * 3600

    desk.record(*backed_up("b2", hours_ago(27)))  # the newest on record counts
    assert "27 h old" in desk.answer("backup", "status", ends=3)["error"]["reasons"][0]


def test_a_timer_that_is_gone_is_told(desk: Desk) -> None:
    desk.record(*backed_up("b1", hours_ago(1)))
    desk.schedule(hours_ago(100)).timer_path.unlink()
    assert "upgrade-guard-backup.timer is gone" in desk.guard("backup", "status", ends=3).stderr


def test_a_failed_backup_is_told_until_one_goes_well(desk: Desk) -> None:
    desk.record(*backed_up("b1", hours_ago(1)), *failed("b2", Kind.BACKUP, "no etcd member answers"))
    found = desk.answer("backup", "status", ends=3)
    (reason,) = found["error"]["reasons"]
    assert re.fullmatch(r"The last backup, run b2, failed \d+ s ago: no etcd member answers", reason)
    assert found["data"]["last_failure"]["run_id"] == "b2"

    desk.record(*backed_up("b3", now()))
    assert desk.answer("backup", "status")["data"]["last_failure"] is None


def test_a_killed_backup_is_a_failed_one_and_one_under_way_is_not(desk: Desk) -> None:
    desk.record(*backed_up("b1", hours_ago(1)), began("b2", Kind.BACKUP))
    assert "its process ended at started" in desk.guard("backup", "status", ends=3).stderr

    with RunLock(desk.state / "run.lock", command="upgrade-guard backup create"):
        assert desk.answer("backup", "status")["data"]["last_run"]["id"] == "b1"


def test_another_clusters_backups_do_not_count(desk: Desk) -> None:
    desk.configure('[backup]\nmax_age = "26h"')
    desk.record(*backed_up("b1", now(), cluster="other"))
    assert "No backup was ever proven" in desk.guard("backup", "status", ends=3).stderr


def test_a_snapshot_whose_proof_failed_does_not_count(desk: Desk) -> None:
    taken = SnapshotRecord("prod-b2", "/v", "ab", "cd", 1, 1, "99", now())
    bad = ProofRecord("prod-b2", "ab", ok=False, revision=1, hashkv=7, restore_seconds=1.5, proven_at=now())
    moves = (Move(Event.CLUSTER_INSPECTED, State.INSPECTED), Move(Event.SNAPSHOT_TAKEN, State.SNAPSHOTTED))
    desk.record(
        *backed_up("b1", hours_ago(5)),
        began("b2", Kind.BACKUP),
        ended("b2", "inspect", moves[0]),
        ended("b2", "snapshot", moves[1], taken, bad),
        lambda journal: journal.move("b2", Move(Event.RUN_ABORTED, State.ABORTED)) and None,
    )
    assert desk.answer("backup", "status")["data"]["last_proven"]["bundle"] == "prod-b1"


def test_a_failed_drill_is_told(desk: Desk) -> None:
    desk.record(*backed_up("b1", now()), *drilled("d1"), *failed("d2", Kind.DRILL, "it does not restore"))
    assert re.search(r"^Last drill: \d+ s ago, FAILED: prod-b1$", desk.guard("status").stdout, re.MULTILINE)


def test_a_damaged_record_of_the_schedule_does_not_stop_status(desk: Desk) -> None:
    desk.state.mkdir()
    (desk.state / "schedule.json").write_text("{")
    assert "schedule.json cannot be read" in desk.guard("status").stdout
    assert "schedule.json cannot be read" in desk.guard("backup", "status", ends=3).stderr


def samples(text: str) -> dict[str, float]:
    return {one.name: family.value for one in text_string_to_metric_families(text) for family in one.samples}


def test_metrics_are_printed_or_written(desk: Desk) -> None:
    desk.record(*backed_up("b1", hours_ago(1)), *drilled("d1"), *failed("b2", Kind.BACKUP, "no quorum"))
    read = samples(desk.guard("backup", "metrics").stdout)
    assert read["upgrade_guard_backup_last_proven_size_bytes"] == 20_480
    assert read["upgrade_guard_backup_last_ok"] == 0
    assert read["upgrade_guard_drill_last_restore_seconds"] == 2.25
    assert read["upgrade_guard_backup_last_duration_seconds"] > 0
    assert "upgrade_guard_backup_last_failure_timestamp_seconds" in read

    directory = desk.path / "textfiles"
    desk.configure(f'[backup]\nmetrics_dir = "{directory}"')
    assert "is not a directory" in desk.guard("backup", "metrics", ends=4).stderr
    directory.mkdir()
    path = Path(desk.answer("backup", "metrics")["data"]["path"])
    assert path == directory / "upgrade-guard-prod.prom"
    assert samples(path.read_text()) == read


def test_a_failure_stays_known_to_monitoring_when_the_next_goes_well(desk: Desk) -> None:
    desk.record(*failed("b1", Kind.BACKUP, "no quorum"), *backed_up("b2", now()))
    read = samples(desk.guard("backup", "metrics").stdout)
    assert read["upgrade_guard_backup_last_ok"] == 1
    assert "upgrade_guard_backup_last_failure_timestamp_seconds" in read


def test_units_for_a_package_carry_the_configuration_in_use(desk: Desk, systemd_programs: None) -> None:
    units = desk.path / "units"
    units.mkdir()
    desk.guard("backup", "schedule", "install", "--unit-dir", str(units), "--calendar", "Sun 04:30", "--unit", "etcd")

    service = (units / "etcd.service").read_text()
    command = next(line for line in service.splitlines() if line.startswith("ExecStart="))
    assert Path(shlex.split(command.removeprefix("ExecStart="))[0]).is_absolute()
    assert command.endswith(f" --config {desk.config} --quiet backup create")
    assert "OnCalendar=Sun 04:30" in (units / "etcd.timer").read_text()
    assert desk.answer("backup", "schedule", "show")["data"] is None


def test_a_state_directory_from_the_environment_goes_into_the_unit(desk: Desk, systemd_programs: None) -> None:
    words = ["--config", str(desk.config), "backup", "schedule", "install", "--unit-dir", str(desk.path)]
    environ = {"HOME": str(desk.path), "UPGRADE_GUARD_STATE_DIR": str(desk.path / "elsewhere")}
    assert CliRunner().invoke(app, words, env=environ).exit_code == 0
    assert f"--state-dir {desk.path / 'elsewhere'}" in (desk.path / f"{UNIT}.service").read_text()


def test_cron_gets_a_line_on_stdout_and_advice_beside_it(desk: Desk) -> None:
    told = desk.guard("backup", "schedule", "install", "--cron")
    assert told.stdout.startswith("0 2 * * * /")
    assert told.stdout.count("\n") == 1
    assert "max_age" in told.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--cron", "--calendar", "daily"), "the other options are systemd's"),
        (("--calendar", "whenever"), "not a calendar expression"),
        (("--calendar", "2020-01-01"), "elapses once at most"),
        (("--unit", "a/b"), "not a name for a unit"),
    ],
)
def test_wrong_words_are_refused(desk: Desk, systemd_programs: None, words: tuple[str, ...], said: str) -> None:
    told = desk.guard("backup", "schedule", "install", "--unit-dir", str(desk.path), *words, ends=2)
    assert said in told.stderr
    assert sorted(path.name for path in desk.path.iterdir()) == ["config.toml"]


def test_a_schedule_needs_a_configuration_file(tmp_path: Path) -> None:
    if Path("/etc/upgrade-guard/config.toml").exists():
        raise AssertionError("this machine has a configuration of its own")
    told = CliRunner().invoke(app, ["backup", "schedule", "install", "--cron"], env={"HOME": str(tmp_path)})
    assert told.exit_code == 2
    assert "needs a configuration file" in told.stderr


def test_remove_says_what_it_removed(desk: Desk) -> None:
    assert desk.answer("backup", "schedule", "remove")["data"] == {"removed": []}
    made = desk.schedule(now())
    assert desk.answer("backup", "schedule", "remove")["data"] == {"removed": [str(made.timer_path)]}
    assert not (desk.state / "schedule.json").exists()
    assert os.listdir(made.unit_dir) == []
