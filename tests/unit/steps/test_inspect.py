"""Inspection of a real cluster's answers: what is read, what is recorded, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.nodes.captured_cluster import (
    DIGESTS,
    MANIFESTS,
    TOOLS,
    control_plane,
    control_plane_files,
    node,
    site,
    small_manifest,
)

from upgrade_guard.checks.baseline import Baseline
from upgrade_guard.errors import CommandFailed, HostUnreachable, Refused, UnexpectedOutput
from upgrade_guard.hosts.scripted import ScriptedHost
from upgrade_guard.model.codec import from_json, to_json
from upgrade_guard.model.finding import Severity
from upgrade_guard.model.run import Event, NodeRecord
from upgrade_guard.model.step import Done, Facts, NotDone
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.inspect import cluster, findings, inspect, read_cluster

TARGET = Version(1, 34, 2)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory that has etcd's programs already."""
    programs = tmp_path / "state" / "etcd" / "3.5.24-0"
    programs.mkdir(parents=True)
    for name in ("etcd", "etcdctl", "etcdutl"):
        (programs / name).touch(mode=0o700)
        (programs / name).write_text(name)
    return tmp_path / "state"


def worker() -> ScriptedHost:
    return node("z-w1", {})


def whole_phase(place: Site) -> dict[str, Done]:
    """Every step's probe, each with the results of those before."""
    results: dict[str, Done] = {}
    for step in inspect(place, TARGET).steps[:-1]:  # the canary needs a cluster that does something
        facts = Facts("r1", {name: done.result for name, done in results.items()})
        seen = step.probe(facts)
        assert isinstance(seen, Done), (step.name, seen)
        results[step.name] = seen
    return results


def test_the_phase_ends_in_inspected_and_nothing_in_it_lasts_or_changes_a_node(state: Path) -> None:
    phase = inspect(site(state), TARGET)
    assert phase.event is Event.CLUSTER_INSPECTED
    assert [step.name for step in phase.steps] == [
        "inspect/etcd-tools",
        "inspect/cluster",
        "inspect/baseline",
        "inspect/checks",
        "inspect/canary",
    ]
    assert not any(step.lasting or step.changes_node for step in phase.steps)


def test_the_cluster_is_read_and_read_back(state: Path) -> None:
    results = whole_phase(site(state, control_plane(), worker()))
    found = cluster(Facts("r1", {name: done.result for name, done in results.items()}))

    assert (found.name, found.version, found.etcd_version) == ("prod", "v1.33.13", "3.5.33")
    assert found.etcd_cluster_id == "4392541315144438515"
    assert [(one.name, one.role) for one in found.nodes] == [("z-cp1", "control-plane"), ("z-w1", "worker")]
    first = found.control_planes[0]
    assert first.etcd is not None
    assert (first.etcd.name, first.etcd.data_dir) == ("z-cp1", "/var/lib/etcd")
    assert first.manifests["kube-apiserver"] == "registry.k8s.io/kube-apiserver:v1.33.13"
    assert first.packages["kubelet"] == "1.33.13-1.1"
    assert first.holds == ("kubeadm", "kubectl", "kubelet")
    assert [addon.name for addon in found.addons] == ["coredns", "kube-proxy"]
    assert results["inspect/cluster"].records == (
        NodeRecord("z-cp1", "control-plane", "root@10.92.0.11", "v1.33.13", first.packages),
        NodeRecord("z-w1", "worker", "10.92.0.21", "v1.33.13", found.workers[0].packages),
    )


def test_the_baseline_comes_back_as_it_was_recorded(state: Path) -> None:
    recorded = from_json(Baseline, whole_phase(site(state, control_plane(), worker()))["inspect/baseline"].result)
    assert recorded.nodes == {"z-cp1": True, "z-w1": True}
    assert "default/kubernetes" in recorded.services


def test_only_what_is_worth_reading_is_kept_of_the_checks(state: Path) -> None:
    result = whole_phase(site(state, control_plane(), worker()))["inspect/checks"].result
    kept = {(one["check"], one["severity"]) for one in result["findings"]}
    assert kept == {("addons-healthy", "warning"), ("deprecated-apis", "warning")}, (
        "a bridge is no plugin that is known"
    )
    assert result["asked"] > len(kept)


def test_every_blocking_finding_is_a_reason(state: Path) -> None:
    files = {**control_plane_files(), f"{MANIFESTS}/kube-scheduler.yaml.bak": small_manifest("kube-scheduler")}
    first = control_plane(files)
    place = site(state, first, worker())
    found = read_cluster(place)
    facts = Facts("r1", {"inspect/cluster": to_json(found)})

    with pytest.raises(Refused) as refused:
        inspect(place, Version(1, 35, 4)).steps[-2].probe(facts)
    reasons = refused.value.reasons
    assert [reason.partition(":")[0] for reason in reasons] == ["version-path", "manifests-clean"] + [
        "cgroups-supported"
    ] * 2
    assert refused.value.hint


@pytest.mark.parametrize("text", ("", "half: a pod\n"))
@pytest.mark.parametrize("component", ("etcd", "kube-scheduler"))
def test_a_manifest_that_names_no_image_is_not_taken_down(state: Path, component: str, text: str) -> None:
    path = f"{MANIFESTS}/{component}.yaml"
    place = site(state, control_plane({**control_plane_files(), path: text}), worker())
    with pytest.raises(UnexpectedOutput, match=path):
        read_cluster(place)


def test_check_asks_everything(state: Path) -> None:
    found = findings(site(state, control_plane(), worker()), TARGET)
    assert [one.message for one in found if one.severity is Severity.BLOCKING] == []
    assert {one.check for one in found} > {"etcd-members-agree", "offsite-target-usable", "disk-space-vault"}


def test_without_etcds_programs_the_step_is_not_done(tmp_path: Path) -> None:
    step = inspect(site(tmp_path / "state", control_plane(), worker()), TARGET).steps[0]
    assert step.probe(Facts("r1")) == NotDone("etcd's programs are not there yet for z-cp1")


@pytest.mark.parametrize("name", DIGESTS)
def test_a_program_here_that_is_not_the_one_on_record_is_fetched_again(state: Path, name: str) -> None:
    step = inspect(site(state, control_plane(), worker()), TARGET).steps[0]
    assert isinstance(step.probe(Facts("r1")), Done)
    program = state / "etcd" / "3.5.24-0" / name
    program.write_text("somebody else's")

    assert isinstance(step.probe(Facts("r1")), NotDone)
    step.act(Facts("r1"))
    assert isinstance(step.probe(Facts("r1")), Done)
    assert program.read_text() == name


def test_a_program_on_a_node_that_is_not_the_one_on_record_is_not_run(state: Path) -> None:
    known = next(one for one in read_cluster(site(state, control_plane(), worker())).nodes if one.etcd)
    exchanged = control_plane(digests=DIGESTS | {"etcdctl": "0" * 64})

    with pytest.raises(Refused, match=f"{TOOLS}/etcdctl on z-cp1 is not the program") as refused:
        site(state, exchanged, worker()).etcdctl(known)

    assert f"rm -r {TOOLS}" in refused.value.hint
    assert not [argv for argv in exchanged.argvs if argv[0] == "env"], "none of them was run"


def test_etcds_programs_are_fetched_once_and_for_us_only(tmp_path: Path) -> None:
    first = control_plane()
    step = inspect(site(tmp_path / "state", first, worker()), TARGET).steps[0]

    step.act(Facts("r1"))
    local = tmp_path / "state" / "etcd" / "3.5.24-0"
    assert {(one.name, one.stat().st_mode & 0o777) for one in local.iterdir()} == {
        ("etcd", 0o700),
        ("etcdctl", 0o700),
        ("etcdutl", 0o700),
    }
    known = {f"z-cp1:{TOOLS}": DIGESTS, f"here:{local}": DIGESTS}
    assert step.probe(Facts("r1")) == Done({"directories": {"z-cp1": TOOLS}, "sha256": known})
    fetched = [argv for argv in first.argvs if argv[0] == "cat" and argv[-1].startswith(TOOLS)]
    step.act(Facts("r1"))
    assert [argv for argv in first.argvs if argv[0] == "cat" and argv[-1].startswith(TOOLS)] == fetched


def test_every_node_that_cannot_be_reached_is_named(state: Path) -> None:
    away = worker()
    away.unreachable_at(1)
    with pytest.raises(HostUnreachable) as problem:
        read_cluster(site(state, control_plane(), away))
    assert problem.value.message == "1 of 2 nodes cannot be reached: z-w1"
    assert "z-w1" in problem.value.reasons[0]


def test_an_api_that_does_not_answer_ends_the_look(state: Path) -> None:
    first = ScriptedHost("z-cp1")
    first.answers("kubectl", ..., exit_status=1, stderr="The connection to the server 10.92.0.11:6443 was refused\n")
    with pytest.raises(CommandFailed):
        read_cluster(site(state, first))
