"""The lab with an etcd without the bugs that the product warns of, which can also raise the revision in a restore."""

from __future__ import annotations

from collections.abc import Callable

import newer_etcd
import pytest
from scenario.ends import BEFORE, assert_data_went_back
from scenario.stage import TARGET, Stage
from servers import one_at_a_time


@pytest.fixture
def stage(new_stage: Callable[..., Stage]) -> Stage:
    with one_at_a_time("etcd"):
        try:
            etcd = newer_etcd.programs()
        except newer_etcd.NoGo as missing:
            pytest.fail(str(missing))
    return new_stage(etcd=etcd, faults=("apply-fails-after-etcd",))


def warnings_of_etcd(stage: Stage) -> list[str]:
    findings = stage.guard("check", TARGET).data["findings"]
    return [one["severity"] for one in findings if one["check"] == "etcd-version-sound"]


def test_a_newer_etcd_is_not_warned_of_and_a_restore_raises_its_revision(stage: Stage) -> None:
    assert stage.lab.settings.etcd_version == newer_etcd.version()
    assert warnings_of_etcd(stage) == ["ok"]
    stage.put_key(BEFORE, "written before the run")
    revision = stage.put_key("/ours/revision", "the last one before the snapshot")
    stage.guard("run", TARGET, "--yes", ends=7)
    assert_data_went_back(stage)
    assert stage.put_key("/ours/revision", "after the restore") > revision + 1_000_000


def test_the_etcd_of_the_package_is_warned_of(new_stage: Callable[..., Stage]) -> None:
    assert warnings_of_etcd(new_stage()) == ["warning"]
