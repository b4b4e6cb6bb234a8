"""The parts of a restore that need no cluster: which bundle is meant, how far to bump, whose steps they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from upgrade_guard.errors import UsageProblem
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.phases.as_restore import as_restore
from upgrade_guard.phases.etcd_restore import BUMP, bump_beyond
from upgrade_guard.phases.restore_bundle import Wanted, wanted

NAME = "prod-20250301T021409Z-20250301-aaaaaa"


def test_a_name_is_of_the_vault(tmp_path: Path) -> None:
    assert wanted(NAME, tmp_path) == Wanted(NAME)


@pytest.mark.parametrize("ending", ["", "/"])
def test_a_path_is_a_target_on_this_machine_unless_it_is_the_vault(tmp_path: Path, ending: str) -> None:
    bundle = tmp_path / "a copy" / NAME
    bundle.mkdir(parents=True)
    (bundle / "manifest.json").touch()
    assert wanted(f"{bundle}{ending}", tmp_path) == Wanted(NAME, f"file://{tmp_path}/a%20copy")
    assert wanted(f"{bundle}{ending}", bundle.parent) == Wanted(NAME)


@pytest.mark.parametrize("url", ["ssh://backup@nas/srv/etcd", "s3://bucket/prefix", "s3://bucket", "file:///mnt/etcd"])
def test_a_url_is_a_target_and_the_name_behind_it(tmp_path: Path, url: str) -> None:
    found = wanted(f"{url}/{NAME}", tmp_path)
    assert found == Wanted(NAME, url)
    assert wanted(found.text, tmp_path) == found, "a resumed run reads back what the journal has"


@pytest.mark.parametrize("text", ["../..", "ssh://nas/srv/..", "", ".", "a b", "file:///", "/", "snapshot.part"])
def test_what_names_no_bundle_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageProblem):
        wanted(text, tmp_path)


def test_a_snapshot_file_alone_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "snapshot.db").touch()
    with pytest.raises(UsageProblem, match="not the directory of a bundle"):
        wanted(str(tmp_path / "snapshot.db"), tmp_path)


DAY = 86_400.0


def test_the_bump_of_a_young_snapshot_is_what_etcd_recommends() -> None:
    assert bump_beyond(0, 500, 0) == BUMP
    assert bump_beyond(-3600, 500, 0) == BUMP, "a clock that was set back takes nothing away"


def test_restoring_the_same_snapshot_again_never_leads_below_what_watchers_have_seen() -> None:
    first = 500 + bump_beyond(DAY, 500, 0)
    an_hour_of_writes = first + 1500 * 3600
    assert 500 + bump_beyond(DAY + 3600, 500, 0) >= an_hour_of_writes


def test_restoring_an_older_snapshot_leads_beyond_every_revision_that_is_known() -> None:
    assert 500 + bump_beyond(DAY, 500, 3_000_000_000) > 3_000_000_000


def step(name: str, heard: list[Facts]) -> Step:
    def probe(facts: Facts) -> Seen:
        heard.append(facts)
        return Done() if facts.has("rollback/settings") else NotDone()

    return Step(name, "", probe, lambda facts: heard.append(facts))


def test_a_rollbacks_steps_are_found_under_a_restores_names() -> None:
    heard: list[Facts] = []
    [phase] = as_restore(Phase("rollback-swap", "Swap", (step("rollback/cp1/swap", heard), step("other/x", heard))))
    assert phase.name == "restore-swap"
    assert [one.name for one in phase.steps] == ["restore/cp1/swap", "other/x"]
    facts = Facts("r1", {"restore/settings": {"token": "t"}, "inspect/cluster": {}}, frozenset({"restore/settings"}))
    assert isinstance(phase.steps[0].probe(facts), Done)
    phase.steps[0].act(facts)
    for seen in heard:
        assert seen.of("rollback/settings") == {"token": "t"}
        assert seen.touched("rollback/settings")
        assert seen.has("inspect/cluster")
        assert seen.run_id == "r1"
