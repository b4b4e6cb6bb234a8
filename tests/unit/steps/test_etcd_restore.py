"""A member is restored beside its live data and swapped in: on real files, with small programs for etcdutl, etcdctl and
crictl.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.nodes.captured_cluster import StandingClock
from unit.nodes.test_site import CP1, CP2, W1, config
from unit.vault.builds import published, snapshot_bytes

from upgrade_guard.errors import CommandFailed, EvidenceLost, StepFailed
from upgrade_guard.hosts.base import Host
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.hosts.transcript import SilentTranscript
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.codec import to_json
from upgrade_guard.model.command import Command, Result
from upgrade_guard.model.etcd import EtcdManifest
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Step
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.etcd_restore import (
    BUMP,
    Places,
    RestoreSettings,
    bump_beyond,
    of,
    places,
    prepare,
    remove_member,
    settle,
    swap_all,
    usual_bump,
)
from upgrade_guard.steps.quiesce import Rest
from upgrade_guard.vault.bundle import Vault

TAG = "3.5.24-0"
ETCDUTL = """#!/bin/sh
case "$*" in
  *--help*) cat {here}/flags; exit 0 ;;
esac
echo "$*" >> {here}/restored
for word; do
  case "$word" in
    --data-dir=*) data="${{word#--data-dir=}}" ;;
    */snapshot.db) snapshot="$word" ;;
  esac
done
[ ! -e "$data" ] || {{ echo "$data is not empty" >&2; exit 1; }}
mkdir -p "$data/member/snap"
read -r left < {here}/failures
if [ "$left" -gt 0 ]; then
  echo $((left - 1)) > {here}/failures
  echo "no space left on device" >&2
  exit 1
fi
cp "$snapshot" "$data/member/snap/db"
"""
ETCDCTL = """#!/bin/sh
case "$*" in
  *"member list"*) cat {here}/members ;;
  *"member remove"*) echo "$*" >> {here}/removed ;;
esac
"""
CRICTL = """#!/bin/sh
cat {here}/containers
"""
MOUNTPOINT = """#!/bin/sh
read -r mounted < {here}/mounted
[ "$2" = "$mounted" ] || exit 1
"""
RUNNING = {
    "id": "id-of-etcd",
    "metadata": {"name": "etcd", "attempt": 0},
    "image": {"image": "registry.k8s.io/etcd:3.5.24-0"},
    "state": "CONTAINER_RUNNING",
    "labels": {
        "io.kubernetes.pod.name": "etcd-cp1",
        "io.kubernetes.pod.namespace": "kube-system",
        "io.kubernetes.pod.uid": "u",
    },
    "annotations": {},
    "createdAt": "1",
}


class Watched(LocalHost):
    """This machine as a node; `before` is told of every command, and may answer in its place."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name, path=path)
        self.before: Callable[[Command], Result | None] = lambda _: None

    def run(self, command: Command) -> Result:
        return self.before(command) or super().run(command)


class Planes:
    """Two control planes on this machine, with live data, and a bundle to go back to."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.hosts: dict[str, Watched] = {}
        programs = directory / "bin"
        self._programs(programs, crictl=CRICTL, mountpoint=MOUNTPOINT)
        self.path = f"{programs}:/usr/bin:/bin"
        self.nodes = tuple(self._node(node) for node in (CP1, CP2))
        self.cluster = Cluster("prod", "v1.27.16", (*self.nodes, W1), "7", "3.5.24", 4096)
        self.bundle = published(Vault(directory / "vault"))
        settings = {
            node.name: NodeSettings(address="local", work_dir=str(directory / node.name / "work"))
            for node in self.nodes
        }
        self.site = Site(
            config(directory, **settings),
            transcript=SilentTranscript(),
            clock=StandingClock(),
            vault=Vault(directory / "vault"),
            here=LocalHost("here"),
            reach=self._reach,
        )
        for name, text in (("flags", "--bump-revision --mark-compacted"), ("failures", "0\n"), ("mounted", "\n")):
            (directory / name).write_text(text)
        self.runs()

    def _reach(self, name: str, _: NodeSettings) -> Host:
        return self.hosts.setdefault(name, Watched(name, self.path))

    def _programs(self, directory: Path, **scripts: str) -> None:
        directory.mkdir(parents=True)
        for name, script in scripts.items():
            (directory / name).write_text(script.format(here=self.directory))
            (directory / name).chmod(0o755)

    def _node(self, node: Node) -> Node:
        home = self.directory / node.name
        self._programs(home / "work" / "etcd" / TAG, etcdutl=ETCDUTL, etcdctl=ETCDCTL)
        data = home / "etcd"
        (data / "member" / "snap").mkdir(parents=True)
        (data / "member" / "snap" / "db").write_text(f"live data of {node.name}")
        etcd = EtcdManifest(
            "registry.k8s.io/etcd:3.5.24-0",
            f"etcd-{node.name}",
            str(data),
            *("", "", ""),
            ("https://127.0.0.1:2379",),
            f"https://{node.name}:2380",
        )
        return replace(node, etcd=etcd)

    def runs(self, *containers: dict[str, Any]) -> None:
        (self.directory / "containers").write_text(json.dumps({"containers": containers}))

    def restored(self) -> list[str]:
        path = self.directory / "restored"
        return path.read_text().splitlines() if path.exists() else []

    def data(self, node: str) -> Path:
        return self.directory / node / "etcd"

    def beside(self, node: str, word: str) -> Path:
        return self.directory / node / f"etcd.upgrade-guard-r1-{word}"

    def note(self, node: str) -> Path:
        return self.directory / node / "work" / "rollback-r1" / "snapshot.db.restored"

    def facts(self, **settings: Any) -> Facts:
        published = {"bundle": self.bundle.name, "manifest_sha256": self.bundle.manifest_sha256}
        known = RestoreSettings(self.bundle.snapshot_sha256, "etcd-cp1=https://cp1:2380", "the-token", 7)
        results = {"snapshot/publish": published, "rollback/restore-settings": to_json(replace(known, **settings))}
        return Facts("r1", results, frozenset(results))

    def unsettled(self) -> Facts:
        facts = self.facts()
        return Facts("r1", {"snapshot/publish": facts.of("snapshot/publish")}, frozenset())

    def prepared(self) -> tuple[Phase, Phase]:
        settings, restore = prepare(self.site, self.cluster, "r1")
        return settings, restore

    def step(self, name: str) -> Step:
        swap = swap_all(self.site, self.cluster, "r1", Rest())
        [found] = [step for phase in (*self.prepared(), swap) for step in phase.steps if step.name == name]
        return found

    def brought(self, node: str = "cp1") -> None:
        self.step(f"rollback/{node}/snapshot").act(self.facts())

    def restore(self, node: str = "cp1") -> Step:
        self.brought(node)
        step = self.step(f"rollback/{node}/restore")
        step.act(self.facts())
        return step


@pytest.fixture
def planes(tmp_path: Path) -> Planes:
    return Planes(tmp_path)


# What all members share.


def test_the_settings_are_the_same_for_every_member_and_new_each_time(planes: Planes) -> None:
    [step] = planes.prepared()[0].steps
    assert (step.name, step.lasting, step.changes_node) == ("rollback/restore-settings", True, False)
    first, second = (step.probe(planes.unsettled()) for _ in range(2))
    assert isinstance(first, Done)
    assert isinstance(second, Done)
    assert first.result["snapshot_sha256"] == planes.bundle.snapshot_sha256
    assert first.result["initial_cluster"] == "etcd-cp1=https://cp1:2380,etcd-cp2=https://cp2:2380"
    assert first.result["bump"] == BUMP
    assert first.result["token"].startswith("upgrade-guard-r1-")
    assert first.result["token"] != second.result["token"], "no cluster had it before"


def test_what_was_decided_once_stays(planes: Planes) -> None:
    [step] = planes.prepared()[0].steps
    assert step.probe(planes.facts()) == Done(planes.facts().of("rollback/restore-settings"))


def test_a_member_with_two_peer_urls_stands_there_twice(planes: Planes) -> None:
    two = replace(of(planes.nodes[0]), initial_advertise_peer_urls="https://one:2380,https://two:2380")
    cluster = replace(planes.cluster, nodes=(replace(planes.nodes[0], etcd=two),))
    seen = settle(planes.site, cluster, cluster, usual_bump).probe(planes.unsettled())
    assert isinstance(seen, Done)
    assert seen.result["initial_cluster"] == "etcd-cp1=https://one:2380,etcd-cp1=https://two:2380"


def test_those_that_are_restored_later_are_members_too(planes: Planes) -> None:
    first = replace(planes.cluster, nodes=planes.nodes[:1])
    settings, restore = prepare(planes.site, first, "r1", lambda facts: len(facts.run_id), planes.cluster)
    seen = settings.steps[0].probe(planes.unsettled())
    assert isinstance(seen, Done)
    assert seen.result["initial_cluster"].count("=") == 2
    assert seen.result["bump"] == 2, "as it is asked for"
    assert [step.name for step in restore.steps] == ["rollback/cp1/snapshot", "rollback/cp1/restore"]


def test_an_etcd_that_cannot_raise_the_revision_is_not_asked_to(planes: Planes) -> None:
    (planes.directory / "flags").write_text("--data-dir")
    seen = planes.prepared()[0].steps[0].probe(planes.unsettled())
    assert isinstance(seen, Done)
    assert seen.result["bump"] is None


def test_a_log_that_lies_apart_is_refused_before_anything_is_stopped(planes: Planes) -> None:
    apart = replace(planes.nodes[1], etcd=replace(of(planes.nodes[1]), wal_dir="/srv/wal"))
    cluster = replace(planes.cluster, nodes=(planes.nodes[0], apart))
    with pytest.raises(StepFailed, match=r"cp2 \(/srv/wal\)") as refused:
        settle(planes.site, cluster, cluster, usual_bump).probe(planes.unsettled())
    assert "cp1" not in refused.value.message
    assert "--wal-dir" in refused.value.hint


def test_a_bundle_that_is_not_the_published_one_settles_nothing(planes: Planes) -> None:
    manifest = planes.bundle.path / "manifest.json"
    manifest.write_text(f"{manifest.read_text()}\n")
    with pytest.raises(EvidenceLost):
        planes.prepared()[0].steps[0].probe(planes.unsettled())
    with pytest.raises(EvidenceLost):
        planes.step("rollback/cp1/snapshot").act(planes.facts())


def test_a_node_without_an_etcd_is_named() -> None:
    with pytest.raises(StepFailed, match="w1 has no etcd"):
        of(W1)


def test_the_bump_covers_the_age_and_what_is_known(planes: Planes) -> None:
    assert bump_beyond(2.0, 500, 500) == BUMP + 3000
    assert bump_beyond(0.0, 500, 530) == BUMP + 30
    assert bump_beyond(-7.0, 500, 0) == BUMP
    assert usual_bump(planes.facts()) == BUMP


def test_every_control_plane_is_restored_at_the_same_time_and_in_its_own_order(planes: Planes) -> None:
    _, restore = planes.prepared()
    assert [(step.name, step.lane) for step in restore.steps] == [
        (f"rollback/{node}/{what}", node) for node in ("cp1", "cp2") for what in ("snapshot", "restore")
    ]
    swap = swap_all(planes.site, planes.cluster, "r1", Rest())
    assert [(step.name, step.lane) for step in swap.steps] == [
        (f"rollback/{node}/swap", node) for node in ("cp1", "cp2")
    ]
    assert restore.at_once == swap.at_once == 2
    assert all(step.changes_node and step.lasting for step in (*restore.steps, *swap.steps))


# Where it lies.


def test_the_data_lies_beside_its_directory(planes: Planes) -> None:
    data = planes.data("cp1")
    assert places(planes.site.on(planes.nodes[0]), of(planes.nodes[0]), "r1") == Places(
        live=str(data),
        fresh=f"{data}.upgrade-guard-r1-new",
        aside=f"{data}.upgrade-guard-r1-old",
        snapshot=f"{planes.directory}/cp1/work/rollback-r1/snapshot.db",
    )


def test_the_data_lies_inside_a_mount_point(planes: Planes) -> None:
    data = planes.data("cp1")
    (planes.directory / "mounted").write_text(f"{data}\n")
    assert places(planes.site.on(planes.nodes[0]), of(planes.nodes[0]), "r1") == Places(
        live=f"{data}/member",
        fresh=f"{data}/.upgrade-guard-r1-new",
        aside=f"{data}/.upgrade-guard-r1-old",
        snapshot=f"{planes.directory}/cp1/work/rollback-r1/snapshot.db",
    )


def test_behind_a_link_the_data_lies_on_the_disk_that_was_chosen(planes: Planes) -> None:
    data, disk = planes.data("cp1"), planes.directory / "disk"
    data.rename(disk)
    data.symlink_to(disk)
    found = places(planes.site.on(planes.nodes[0]), of(planes.nodes[0]), "r1")
    assert (found.live, found.fresh) == (str(disk), f"{disk}.upgrade-guard-r1-new")


# The snapshot on the node.


def test_the_snapshot_is_brought_whole_and_for_root_alone(planes: Planes) -> None:
    step = planes.step("rollback/cp1/snapshot")
    path = planes.directory / "cp1" / "work" / "rollback-r1" / "snapshot.db"
    assert isinstance(step.probe(planes.facts()), NotDone)
    step.act(planes.facts())
    assert path.read_bytes() == snapshot_bytes()
    assert (path.parent.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    assert step.probe(planes.facts()) == Done({"path": str(path)})


def test_another_snapshot_on_the_node_is_replaced(planes: Planes) -> None:
    planes.brought()
    path = planes.directory / "cp1" / "work" / "rollback-r1" / "snapshot.db"
    path.write_bytes(b"another one")
    step = planes.step("rollback/cp1/snapshot")
    assert isinstance(step.probe(planes.facts()), NotDone)
    step.act(planes.facts())
    assert isinstance(step.probe(planes.facts()), Done)


# Beside the live data.


def test_a_member_is_restored_beside_its_live_data(planes: Planes) -> None:
    planes.brought()
    step = planes.step("rollback/cp1/restore")
    assert isinstance(step.probe(planes.facts()), NotDone)
    step.act(planes.facts())
    fresh = planes.beside("cp1", "new")
    assert (fresh / "member" / "snap" / "db").read_bytes() == snapshot_bytes()
    assert (planes.data("cp1") / "member" / "snap" / "db").read_text() == "live data of cp1"
    snapshot = planes.directory / "cp1" / "work" / "rollback-r1" / "snapshot.db"
    assert planes.restored()[0].split() == [
        *("snapshot", "restore", str(snapshot), f"--data-dir={fresh}", "--name=etcd-cp1"),
        "--initial-cluster=etcd-cp1=https://cp1:2380",
        "--initial-advertise-peer-urls=https://cp1:2380",
        *("--initial-cluster-token=the-token", "--bump-revision=7", "--mark-compacted"),
    ]
    assert step.probe(planes.facts()) == Done({"fresh": str(fresh), "aside": str(planes.beside("cp1", "old"))})


def test_the_restored_data_has_the_owner_of_the_live_data(planes: Planes) -> None:
    planes.brought()
    owned: list[tuple[str, ...]] = []
    host = planes.hosts["cp1"]
    host.before = lambda command: owned.append(command.argv) if command.argv[0] == "chown" else None
    planes.restore()
    [argv] = owned
    assert f"--reference={planes.data('cp1')}" in argv
    assert argv[-1] == str(planes.beside("cp1", "new"))


def test_data_that_is_lost_with_its_disk_has_no_owner_to_follow(planes: Planes) -> None:
    planes.brought()
    planes.data("cp1").rename(planes.directory / "gone")
    step = planes.restore()
    assert isinstance(step.probe(planes.facts()), Done)


def test_the_note_is_written_when_the_data_is_on_the_disk(planes: Planes) -> None:
    planes.brought()
    noted: list[bool] = []

    def watch(command: Command) -> None:
        if command.argv == ("sync",):
            noted.append(planes.note("cp1").exists())

    planes.hosts["cp1"].before = watch
    planes.restore()
    assert noted == [False]
    assert planes.note("cp1").read_text() == "the-token"


def test_a_restore_that_fails_once_is_tried_again_and_its_remains_are_kept(planes: Planes) -> None:
    (planes.directory / "failures").write_text("1\n")
    step = planes.restore()
    assert isinstance(step.probe(planes.facts()), Done)
    assert len(planes.restored()) == 2
    [partial] = planes.beside("cp1", "new").parent.glob("*-new-partial-*")
    assert not (partial / "member" / "snap" / "db").exists()


def test_a_restore_that_fails_twice_has_failed(planes: Planes) -> None:
    (planes.directory / "failures").write_text("2\n")
    with pytest.raises(CommandFailed):
        planes.restore()
    step = planes.step("rollback/cp1/restore")
    assert isinstance(step.probe(planes.facts()), NotDone)
    assert not planes.note("cp1").exists()
    step.act(planes.facts())  # resume
    assert isinstance(step.probe(planes.facts()), Done)


def test_a_restore_that_runs_out_of_time_is_not_tried_again(planes: Planes) -> None:
    """It may be at work still, and two would write into one directory."""
    planes.brought()
    asked: list[tuple[str, ...]] = []

    def out_of_time(command: Command) -> Result | None:
        if any(word.startswith("--data-dir") for word in command.argv):
            asked.append(command.argv)
            return Result(None, "", "", command.timeout)
        return None

    planes.hosts["cp1"].before = out_of_time
    with pytest.raises(CommandFailed):
        planes.restore()
    assert len(asked) == 1
    assert not planes.note("cp1").exists()


def test_what_another_attempt_restored_does_not_count(planes: Planes) -> None:
    step = planes.restore()
    assert isinstance(step.probe(planes.facts()), Done)
    assert isinstance(step.probe(planes.facts(token="another")), NotDone)


def test_restored_data_that_is_incomplete_does_not_count(planes: Planes) -> None:
    step = planes.restore()
    database = planes.beside("cp1", "new") / "member" / "snap" / "db"
    database.unlink()
    assert isinstance(step.probe(planes.facts()), NotDone)
    (planes.beside("cp1", "old")).mkdir()
    assert isinstance(step.probe(planes.facts()), NotDone), "it is not swapped in as long as it lies there"


def test_restored_data_that_is_nowhere_does_not_count(planes: Planes) -> None:
    step = planes.restore()
    planes.beside("cp1", "new").rename(planes.directory / "gone")
    assert isinstance(step.probe(planes.facts()), NotDone)


def test_restored_data_that_was_swapped_in_counts(planes: Planes) -> None:
    step = planes.restore()
    planes.step("rollback/cp1/swap").act(planes.facts())
    assert not planes.beside("cp1", "new").exists()
    assert isinstance(step.probe(planes.facts()), Done)


# In its place.


def test_the_restored_data_takes_the_place_of_the_live_data_which_is_kept(planes: Planes) -> None:
    planes.restore()
    step = planes.step("rollback/cp1/swap")
    assert isinstance(step.probe(planes.facts()), NotDone)
    step.act(planes.facts())
    data, aside = planes.data("cp1"), planes.beside("cp1", "old")
    assert (data / "member" / "snap" / "db").read_bytes() == snapshot_bytes()
    assert (aside / "member" / "snap" / "db").read_text() == "live data of cp1"
    assert step.probe(planes.facts()) == Done({"aside": str(aside), "live": str(data)})


def test_in_a_mount_point_the_member_directory_is_exchanged(planes: Planes) -> None:
    data = planes.data("cp1")
    (planes.directory / "mounted").write_text(f"{data}\n")
    planes.restore()
    step = planes.step("rollback/cp1/swap")
    step.act(planes.facts())
    assert (data / "member" / "snap" / "db").read_bytes() == snapshot_bytes()
    assert (data / ".upgrade-guard-r1-old" / "snap" / "db").read_text() == "live data of cp1"
    assert isinstance(step.probe(planes.facts()), Done)


def test_the_exchange_is_on_the_disk_when_it_is_done(planes: Planes) -> None:
    planes.restore()
    ran: list[str] = []
    planes.hosts["cp1"].before = lambda command: ran.append(command.argv[0]) if command.changes else None
    planes.step("rollback/cp1/swap").act(planes.facts())
    assert ran == ["mv", "mv", "sync"]


def test_between_the_two_renames_it_is_not_done_and_can_be_gone_on_with(planes: Planes) -> None:
    planes.restore()
    planes.data("cp1").rename(planes.beside("cp1", "old"))
    step = planes.step("rollback/cp1/swap")
    assert isinstance(step.probe(planes.facts()), NotDone)
    step.act(planes.facts())
    assert isinstance(step.probe(planes.facts()), Done)
    assert (planes.beside("cp1", "old") / "member" / "snap" / "db").read_text() == "live data of cp1"


def test_where_the_live_data_is_lost_an_empty_directory_stands_for_it(planes: Planes) -> None:
    planes.restore()
    planes.data("cp1").rename(planes.directory / "gone")
    step = planes.step("rollback/cp1/swap")
    step.act(planes.facts())
    assert list(planes.beside("cp1", "old").iterdir()) == []
    assert (planes.data("cp1") / "member" / "snap" / "db").read_bytes() == snapshot_bytes()
    assert isinstance(step.probe(planes.facts()), Done)


def test_nothing_is_moved_where_the_restored_data_is_gone(planes: Planes) -> None:
    with pytest.raises(StepFailed, match=r"cp1 is gone"):
        planes.step("rollback/cp1/swap").act(planes.facts())
    assert (planes.data("cp1") / "member" / "snap" / "db").exists()
    assert not planes.beside("cp1", "old").exists()


def test_nothing_is_moved_while_etcd_runs(planes: Planes) -> None:
    planes.restore()
    planes.runs(RUNNING)
    with pytest.raises(StepFailed, match="etcd on cp1 still runs"):
        planes.step("rollback/cp1/swap").act(planes.facts())
    assert (planes.data("cp1") / "member" / "snap" / "db").read_text() == "live data of cp1"


def test_a_process_that_has_seen_the_rest_does_not_look_again(planes: Planes) -> None:
    planes.restore()
    planes.runs(RUNNING)
    [step, _] = swap_all(planes.site, planes.cluster, "r1", Rest(seen=True)).steps
    step.act(planes.facts())
    assert isinstance(step.probe(planes.facts()), Done)


# A member that was given up.


def listed(*members: tuple[int, str]) -> str:
    return json.dumps({"members": [{"ID": number, "name": "", "peerURLs": [url]} for number, url in members]})


def test_the_member_of_a_node_that_was_given_up_is_known_by_its_peer_url(planes: Planes) -> None:
    members = planes.directory / "members"
    members.write_text(listed((10, "https://cp1:2380"), (11, "https://cp2:2380")))
    step = remove_member(planes.site, planes.cluster, planes.nodes[1])
    assert (step.name, step.changes_node) == ("rollback/cp2/remove-member", True)
    assert isinstance(step.probe(planes.facts()), NotDone)
    step.act(planes.facts())
    [removed] = (planes.directory / "removed").read_text().splitlines()
    assert removed.endswith(" member remove b")
    members.write_text(listed((10, "https://cp1:2380")))
    assert step.probe(planes.facts()) == Done({"member": "etcd-cp2"})


def test_the_member_is_removed_through_one_that_serves(planes: Planes) -> None:
    (planes.directory / "members").write_text(listed((11, "https://cp2:2380")))
    remove_member(planes.site, planes.cluster, planes.nodes[1]).act(planes.facts())
    assert list(planes.hosts) == ["cp1"]
