from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from unit.systemd import there
from unit.vault.builds import RealClock

from upgrade_guard.errors import CommandFailed, Refused, StepFailed, UsageProblem
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.hosts.scripted import ScriptedHost
from upgrade_guard.vault import scheduling
from upgrade_guard.vault.schedule import (
    DAILY,
    UNIT,
    Schedule,
    cron_line,
    longest_pause,
    remember,
    remembered,
    service_text,
    timer_text,
    unit_name,
)

COMMAND = ("/usr/local/bin/upgrade-guard", "--config", "/etc/upgrade-guard/config.toml", "backup", "create")
CALENDAR = "Normalized form: *-*-* 02:00:00\n    Next elapse: Mon 2026-11-23 02:00:00 UTC\n" + "".join(
    f"       Iter. #{number}: Tue 2026-11-{22 + number} 02:00:00 UTC\n" for number in (2, 3, 4)
)


@pytest.fixture(scope="session")
def systemd_analyze() -> str:
    """systemd's own judge of units."""
    return there()


def verified(systemd_analyze: str, directory: Path) -> str:
    """What systemd has to say against the units there; "" for nothing."""
    units = tuple(str(path) for path in sorted(directory.glob("upgrade-guard*")))
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{directory}:"}
    judged = subprocess.run(
        (systemd_analyze, "verify", "--man=no", *units),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = [line for line in judged.stderr.splitlines() if "upgrade-guard" in line]
    return "\n".join(said) if judged.returncode == 0 else judged.stderr


def write_units(directory: Path, command: tuple[str, ...], calendar: str = DAILY) -> None:
    directory.mkdir(exist_ok=True)
    (directory / f"{UNIT}.service").write_text(service_text(command, "root"))
    (directory / f"{UNIT}.timer").write_text(timer_text(calendar))


def program(tmp_path: Path, name: str = "upgrade-guard") -> str:
    path = tmp_path / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "path", ["/etc/upgrade-guard/config.toml", '/srv/with space/100%/$HOME/it\'s "quoted"\\n;.toml', "/srv/größer.toml"]
)
def test_systemd_accepts_the_units(tmp_path: Path, systemd_analyze: str, path: str) -> None:
    units = tmp_path / "units"
    write_units(units, (program(tmp_path), "--config", path, "backup", "create"), "Mon..Fri *-*-* 02:00:00")

    assert verified(systemd_analyze, units) == ""


def test_systemd_would_notice_a_wrong_unit(tmp_path: Path, systemd_analyze: str) -> None:
    units = tmp_path / "units"
    write_units(units, (program(tmp_path), "backup", "create"))
    service = units / f"{UNIT}.service"
    service.write_text(service.read_text().replace("ProtectSystem=full", "ProtectSystem=nonsense"))

    assert "nonsense" in verified(systemd_analyze, units)


def test_words_are_quoted_as_systemd_reads_them() -> None:
    text = service_text(("/usr/bin/x", 'a b"c', "100%", "$HOME", "back\\slash"), "ops")

    assert 'ExecStart=/usr/bin/x "a b\\"c" "100%%" "$$HOME" "back\\\\slash"\n' in text
    assert "\nUser=ops\n" in text


def test_no_word_begins_a_line_of_its_own() -> None:
    with pytest.raises(UsageProblem, match="control character"):
        service_text(("/usr/bin/x", "--config", "/srv/a\nExecStartPre=/bin/evil"), "root")
    with pytest.raises(UsageProblem, match="control character"):
        cron_line(("/usr/bin/x", "a\n* * * * * evil"))


def test_cron_gets_one_line_that_a_shell_reads_back() -> None:
    line = cron_line(("/usr/bin/upgrade-guard", "--config", "/srv/it's 100%.toml"))

    time, _, command = line.partition(" /")
    assert time == "0 2 * * *"
    assert "\\%" in command
    assert shlex.split("/" + command.replace("\\%", "%")) == [
        "/usr/bin/upgrade-guard",
        "--config",
        "/srv/it's 100%.toml",
    ]


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "../a", "a@b", "x.timer", "x.service", "a\nb", "x" * 300])
def test_names_that_systemd_would_take_for_something_else(name: str) -> None:
    with pytest.raises(UsageProblem, match="not a name for a unit"):
        unit_name(name)


def test_the_longest_pause_is_over_the_weekend() -> None:
    friday = datetime(2026, 11, 27, 2, tzinfo=UTC)
    days = [friday, friday + timedelta(days=3), friday + timedelta(days=4)]
    assert longest_pause(days) == 3 * 86_400


def test_a_schedule_comes_again() -> None:
    with pytest.raises(UsageProblem, match="elapses once at most"):
        longest_pause([datetime(2026, 11, 27, 2, tzinfo=UTC)])


# Installed on a machine whose systemd is scripted.


class Machine:
    """Where units are installed: /etc/systemd/system as a directory of the test, and a systemd that answers."""

    def __init__(self, tmp_path: Path) -> None:
        self.units = tmp_path / "units"
        self.units.mkdir()
        self.record = tmp_path / "state" / "schedule.json"
        self.host = ScriptedHost("here")
        self.host.answers("env", "TZ=UTC", "systemd-analyze", ..., stdout=CALENDAR)
        self.host.answers("systemctl", "show", "--property=Version", stdout="Version=252.38\n")
        self.host.answers("systemctl", "daemon-reload")

    def planned(self, calendar: str = DAILY, unit: str = UNIT) -> Schedule:
        return scheduling.planned(calendar=calendar, unit=unit, unit_dir=self.units, host=self.host, clock=RealClock())

    def install(self, unit: str = UNIT) -> Schedule:
        wanted = self.planned(unit=unit)
        scheduling.install(wanted, COMMAND, user="root", record=self.record, host=self.host)
        return wanted

    def asked(self) -> list[tuple[str, ...]]:
        return [argv for argv in self.host.argvs if argv[0] == "systemctl" and argv[1] != "show"]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_install_writes_tells_systemd_and_remembers(machine: Machine) -> None:
    machine.host.answers("systemctl", "enable", "--now", f"{UNIT}.timer")

    installed = machine.install()

    assert machine.asked() == [("systemctl", "daemon-reload"), ("systemctl", "enable", "--now", f"{UNIT}.timer")]
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in machine.units.iterdir()} == {
        f"{UNIT}.service": 0o644,
        f"{UNIT}.timer": 0o644,
    }
    assert " ".join(COMMAND) in installed.service_path.read_text()
    assert f"OnCalendar={DAILY}" in installed.timer_path.read_text()
    assert installed.longest_pause == 86_400.0
    assert remembered(machine.record) == installed
    assert stat.S_IMODE(machine.record.stat().st_mode) == 0o600


def test_install_again_replaces_what_was_there_under_another_name(machine: Machine) -> None:
    for unit in (UNIT, "other"):
        machine.host.answers("systemctl", "enable", "--now", f"{unit}.timer")
    machine.host.answers("systemctl", "disable", "--now", f"{UNIT}.timer")

    machine.install()
    machine.install()
    installed = machine.install(unit="other")

    assert {path.name for path in machine.units.iterdir()} == {"other.service", "other.timer"}
    assert remembered(machine.record) == installed


def test_a_timer_that_systemd_refuses_is_still_known_of(machine: Machine) -> None:
    machine.host.answers("systemctl", "enable", ..., exit_status=1, stderr="Failed to enable unit\n")

    with pytest.raises(CommandFailed, match="Failed to enable unit"):
        machine.install()

    assert remembered(machine.record) is not None


def test_nothing_is_written_for_a_calendar_that_systemd_does_not_understand(machine: Machine) -> None:
    machine.host = ScriptedHost("here")
    machine.host.answers("systemctl", "show", "--property=Version", stdout="Version=252.38\n")
    machine.host.answers("env", "TZ=UTC", "systemd-analyze", ..., exit_status=1, stderr="Failed to parse\n")

    with pytest.raises(UsageProblem, match="'nonsense' is not a calendar expression: Failed to parse"):
        machine.planned("nonsense")

    assert not list(machine.units.iterdir())
    assert not machine.record.exists()


def test_without_systemd_cron_is_named(machine: Machine) -> None:
    machine.host = ScriptedHost("here")
    machine.host.answers("systemctl", "show", "--property=Version", stdout="Version=252.38\n")
    machine.host.answers("env", "TZ=UTC", "systemd-analyze", ..., exit_status=127)

    with pytest.raises(Refused) as refused:
        machine.install()

    assert "--cron" in refused.value.hint


def test_a_machine_that_systemd_does_not_run_is_refused_before_anything_is_written(machine: Machine) -> None:
    wanted = machine.planned()
    host = ScriptedHost("here")
    host.answers("systemctl", "show", "--property=Version", exit_status=1, stderr="Host is down\n")

    with pytest.raises(Refused, match="no systemd runs this machine") as refused:
        scheduling.install(wanted, COMMAND, user="root", record=machine.record, host=host)

    assert "--cron" in refused.value.hint
    assert not list(machine.units.iterdir())
    assert not machine.record.exists()


def test_remove_without_a_running_systemd_leaves_nothing_enabled(machine: Machine) -> None:
    machine.host.answers("systemctl", "enable", "--now", f"{UNIT}.timer")
    installed = machine.install()
    (machine.units / "timers.target.wants").mkdir()
    (machine.units / "timers.target.wants" / f"{UNIT}.timer").symlink_to(installed.timer_path)
    machine.host = ScriptedHost("here")
    machine.host.answers("systemctl", "show", "--property=Version", exit_status=1, stderr="Host is down\n")

    scheduling.remove(installed, record=machine.record, host=machine.host)

    assert [path.name for path in machine.units.rglob("*")] == ["timers.target.wants"]


def test_units_for_a_package_are_only_written(machine: Machine) -> None:
    scheduling.write_units(machine.planned(), COMMAND, "root")

    assert len(list(machine.units.iterdir())) == 2
    assert machine.asked() == []
    assert not machine.record.exists()


def test_a_directory_that_is_not_there_is_told_and_nothing_remembered(machine: Machine) -> None:
    machine.units.rmdir()

    with pytest.raises(UsageProblem, match=r"there is no directory .*units") as told:
        machine.install()
    assert told.value.hint.startswith("make it first: mkdir --parents /")

    assert not machine.record.exists()


def test_remove_takes_everything_away_and_only_that(machine: Machine) -> None:
    machine.host.answers("systemctl", "enable", "--now", f"{UNIT}.timer")
    machine.host.answers("systemctl", "disable", "--now", f"{UNIT}.timer")
    installed = machine.install()
    (machine.units / "kubelet.service").write_text("[Unit]\n")

    removed = scheduling.remove(installed, record=machine.record, host=machine.host)

    assert removed == (installed.timer_path, installed.service_path)
    assert [path.name for path in machine.units.iterdir()] == ["kubelet.service"]
    assert machine.asked()[-2:] == [("systemctl", "disable", "--now", f"{UNIT}.timer"), ("systemctl", "daemon-reload")]
    assert remembered(machine.record) is None


def test_remove_is_harmless_where_the_files_are_gone(machine: Machine) -> None:
    machine.host.answers("systemctl", "enable", "--now", f"{UNIT}.timer")
    installed = machine.install()
    for path in machine.units.iterdir():
        path.unlink()

    assert scheduling.remove(installed, record=machine.record, host=machine.host) == ()
    assert not machine.record.exists()


def test_look_says_what_systemd_says(machine: Machine) -> None:
    machine.host.answers("systemctl", "enable", "--now", f"{UNIT}.timer")
    installed = machine.install()
    machine.host.answers(
        "systemctl",
        "show",
        f"{UNIT}.timer",
        ...,
        stdout="ActiveState=active\nNextElapseUSecRealtime=Mon 2026-11-23 02:00:00 UTC\nLastTriggerUSec=n/a\n",
    )
    machine.host.answers(
        "systemctl",
        "show",
        f"{UNIT}.service",
        ...,
        stdout="Result=success\nExecMainStatus=0\nExecMainExitTimestampMonotonic=0\n",
    )

    standing = scheduling.look(installed, machine.host, RealClock())

    assert (standing.active, standing.next_at) == ("active", "Mon 2026-11-23 02:00:00 UTC")
    assert (standing.last_at, standing.last_result, standing.last_ended_at) == ("", "", None)


def test_look_tells_when_a_start_failed(machine: Machine) -> None:
    machine.host.answers("systemctl", "enable", "--now", f"{UNIT}.timer")
    installed = machine.install()
    ago = int((RealClock().monotonic() - 60) * 1e6)
    machine.host.answers("systemctl", "show", f"{UNIT}.timer", ..., stdout="ActiveState=active\n")
    machine.host.answers(
        "systemctl",
        "show",
        f"{UNIT}.service",
        ...,
        stdout=f"Result=exit-code\nExecMainStatus=5\nExecMainExitTimestampMonotonic={ago}\n",
    )

    standing = scheduling.look(installed, machine.host, RealClock())

    assert (standing.last_result, standing.last_exit_status) == ("exit-code", "5")
    assert standing.last_ended_at is not None
    assert timedelta(seconds=59) < RealClock().now() - standing.last_ended_at < timedelta(seconds=70)


def test_a_record_that_is_damaged_is_named(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"unit": 1}', json.dumps({"installed_at": "yesterday"})):
        (tmp_path / "schedule.json").write_text(text)
        with pytest.raises(StepFailed, match=r"schedule\.json cannot be read"):
            remembered(tmp_path / "schedule.json")


def test_a_record_survives_being_written_and_read(tmp_path: Path) -> None:
    schedule = Schedule(UNIT, "/etc/systemd/system", DAILY, 86_400.0, RealClock().now())
    remember(tmp_path / "new" / "schedule.json", schedule)
    assert remembered(tmp_path / "new" / "schedule.json") == schedule


def test_this_machines_systemd_knows_the_default_calendar(machine: Machine, systemd_analyze: str) -> None:
    machine.host = LocalHost("here")  # type: ignore[assignment]
    assert machine.planned().longest_pause == 86_400.0
