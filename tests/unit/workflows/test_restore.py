"""The parts of a restore that need no cluster: which bundle is meant, how far to bump, whose steps they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from upgrade_guard.errors import HostUnreachable, StepFailed, UsageProblem
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.codec import to_json
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.steps.etcd_restore import BUMP, bump_beyond
from upgrade_guard.steps.restore_bundle import WantedBundle, wanted
from upgrade_guard.steps.restore_nodes import GIVEN_UP, given_up, in_service
from upgrade_guard.steps.step_helpers import noting
from upgrade_guard.workflows.restore import as_restore, lost_writes

NAME = "prod-20250301T021409Z-20250301-aaaaaa"


def test_a_name_is_of_the_vault(tmp_path: Path) -> None:
    assert wanted(NAME, tmp_path) == WantedBundle(NAME)


@pytest.mark.parametrize("ending", ["", "/"])
def test_a_path_is_a_target_on_this_machine_unless_it_is_the_vault(tmp_path: Path, ending: str) -> None:
    bundle = tmp_path / "a copy" / NAME
    bundle.mkdir(parents=True)
    (bundle / "manifest.json").touch()
    assert wanted(f"{bundle}{ending}", tmp_path) == WantedBundle(NAME, f"file://{tmp_path}/a%20copy")
    assert wanted(f"{bundle}{ending}", bundle.parent) == WantedBundle(NAME)


@pytest.mark.parametrize("url", ["ssh://backup@nas/srv/etcd", "s3://bucket/prefix", "s3://bucket", "file:///mnt/etcd"])
def test_a_url_is_a_target_and_the_name_behind_it(tmp_path: Path, url: str) -> None:
    found = wanted(f"{url}/{NAME}", tmp_path)
    assert found == WantedBundle(NAME, url)
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


def facts(revision_now: int | None) -> Facts:
    taken = {"revision": 500, "taken_at": "2025-03-01T02:14:09.5+00:00"}
    return Facts("r1", {"restore/bundle": taken, "restore/ground": {"revision_now": revision_now}})


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (500, "Lost: 0 revisions written since the snapshot; etcd was at revision 500."),
        (501, "Lost: 1 revision written since the snapshot; etcd was at revision 501."),
        (7, "Lost: 0 revisions written since the snapshot; etcd was at revision 7."),
        (None, "Lost: everything written after 2025-03-01T02:14:09Z; etcd did not answer, so nobody can count it."),
    ],
)
def test_what_is_lost_is_told_as_far_as_it_is_known(now: int | None, said: str) -> None:
    assert lost_writes(facts(now)) == said


def worker_step(answers: list[Seen | StepFailed], acts: list[StepFailed | None]) -> Step:
    def probe(_: Facts) -> Seen:
        answer = answers.pop(0)
        if isinstance(answer, StepFailed):
            raise answer
        return answer

    def act(_: Facts) -> None:
        problem = acts.pop(0)
        if problem is not None:
            raise problem

    return Step("restore/w1/ready", "", probe, act, lane="w1")


NOTHING = Facts("r1")


def test_a_worker_that_comes_up_is_waited_for_as_ever() -> None:
    step = noting(worker_step([NotDone("not Ready"), Done({"kubelet": "v1"})], [None]), GIVEN_UP)
    assert step.probe(NOTHING) == NotDone("not Ready")
    step.act(NOTHING)
    assert step.probe(NOTHING) == Done({"kubelet": "v1"})


@pytest.mark.parametrize("after", [NotDone("w1 is not Ready"), HostUnreachable("w1 is not Ready")])
def test_a_worker_that_does_not_come_up_is_given_up_and_told(after: Seen | StepFailed) -> None:
    step = noting(worker_step([HostUnreachable("gone"), after], [StepFailed("timed out")]), GIVEN_UP)
    assert step.probe(NOTHING) == NotDone("gone")
    step.act(NOTHING)
    seen = step.probe(NOTHING)
    assert seen == Done({"given_up": "w1 is not Ready"})
    ready = {"restore/cp1/ready": {"kubelet": "v1"}, "restore/w1/ready": {"given_up": "w1 is not Ready"}}
    known = {"restore/nodes": {"cluster": to_json(CLUSTER)}, "restore/w1/uncordon": {"given_up": "the same again"}}
    found = Facts("r1", {**ready, **known})
    assert given_up(found) == {"w1": "w1 is not Ready"}
    assert [node.name for node in in_service(found).nodes] == ["cp1"]


CLUSTER = Cluster(
    "lab", "v1.27.16", (Node("cp1", "control-plane", "", "v1.27.16"), Node("w1", "worker", "", "v1.27.16")), "1", "", 0
)
