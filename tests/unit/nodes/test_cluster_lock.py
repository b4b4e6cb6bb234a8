"""The lock of a cluster: two control planes that are directories here, and runs of two operators."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from unit.nodes.captured_cluster import PassingClock
from unit.nodes.test_site import CP1, CP2, W1, Reached, config, site

from upgrade_guard.errors import HostUnreachable, LockHeld, UnexpectedOutput
from upgrade_guard.hosts.base import Host
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.command import Command, Result
from upgrade_guard.model.lock import LockOwner
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.nodes.cluster_lock import BELIEVED, LAST, NAME, ClusterLock
from upgrade_guard.tools.files import Files
from upgrade_guard.tools.lock_file import LockFile, parse_owner

CLUSTER = Cluster("prod", "v1.27.16", (CP1, CP2, W1), "1", "3.5.24", 1)
ANNE = LockOwner("20260301-aaaaaa", "anne", "bastion-1", 11, "2026-03-01T02:00:00+00:00", "upgrade to v1.28.0")
BEN = LockOwner("20260302-bbbbbb", "ben", "bastion-2", 22, "2026-03-02T02:00:00+00:00", "upgrade to v1.28.1")


class Place:
    """Two control planes, and the locks of operators who come in through one of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.away: set[str] = set()
        self.clock = PassingClock()

    def file(self, node: str) -> Path:
        return self.directory / node / NAME

    def owners(self) -> dict[str, LockOwner]:
        found = {node: self.file(node) for node in ("cp1", "cp2")}
        return {node: parse_owner(path.read_text()) for node, path in found.items() if path.exists()}

    def lock(
        self,
        owner: LockOwner,
        entrance: str = "cp1",
        over: Callable[[str], bool] | None = None,
        head: Callable[[], str] = str,
    ) -> ClusterLock:
        nodes = {
            name: NodeSettings(address=f"root@{address}", work_dir=str(self.directory / name))
            for name, address in (("cp1", "10.0.0.1"), ("cp2", "10.0.0.2"))
        }
        settings = config(self.directory, nodes[entrance].address, node=entrance, **nodes)
        return ClusterLock(
            site(settings, _Reached(self.away), clock=self.clock), owner, over or (lambda _: False), head
        )


class _Node:
    """This machine under a node's name, when it can be reached."""

    def __init__(self, name: str, away: set[str]) -> None:
        self._host: Host = LocalHost(name)
        self._away = away

    @property
    def name(self) -> str:
        return self._host.name

    def run(self, command: Command) -> Result:
        if self.name in self._away:
            raise HostUnreachable(f"{self.name} cannot be reached")
        return self._host.run(command)


class _Reached(Reached):
    """Every node is a directory of this machine."""

    def __init__(self, away: set[str]) -> None:
        super().__init__()
        self._away = away

    def __call__(self, name: str, settings: NodeSettings) -> Host:
        return _Node(name, self._away)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_lock_says_who_and_since_when_and_lets_nobody_else_in(place: Place) -> None:
    place.lock(ANNE).take(CLUSTER)
    assert place.owners() == {"cp1": ANNE, "cp2": ANNE}
    assert {stat.S_IMODE(place.file(node).stat().st_mode) for node in ("cp1", "cp2")} == {0o600}
    with pytest.raises(LockHeld) as refused:
        place.lock(BEN).take(CLUSTER)
    for word in ("anne", "bastion-1", "process 11", "2026-03-01T02:00:00+00:00", ANNE.run, "upgrade to v1.28.0"):
        assert word in refused.value.message
    assert "upgrade-guard resume --take-over" in refused.value.hint
    assert place.owners() == {"cp1": ANNE, "cp2": ANNE}
    assert [path.name for path in (place.directory / "cp1").iterdir()] == [NAME]


def test_a_resumed_run_has_its_lock_and_the_first_since_stays(place: Place) -> None:
    place.lock(ANNE).take(CLUSTER)
    later = replace(ANNE, pid=99, since="2026-03-08T02:00:00+00:00")
    place.lock(later).take(CLUSTER)
    place.lock(later).still_held(CLUSTER)
    assert place.owners()["cp1"] == ANNE


def test_every_control_plane_keeps_the_head_of_history_while_it_is_held_and_afterwards(place: Place) -> None:
    heads = iter(digit * 64 for digit in "abcdefgh")
    place.lock(ANNE, head=lambda: "1" * 64).take(CLUSTER)
    assert {owner.head for owner in place.owners().values()} == {"1" * 64}
    place.lock(replace(ANNE, pid=99), head=lambda: "2" * 64).take(CLUSTER)
    assert place.owners() == dict.fromkeys(("cp1", "cp2"), replace(ANNE, head="2" * 64))
    place.lock(ANNE, head=lambda: next(heads)).release(CLUSTER)
    assert place.owners() == {}
    kept, problems = place.lock(BEN).kept_heads(CLUSTER)
    assert [(one.head, one.run) for one in kept] == [("a" * 64, ANNE.run), ("b" * 64, ANNE.run)]
    assert [one.where for one in kept] == [f"{place.directory}/{name}/{LAST} on {name}" for name in ("cp1", "cp2")]
    assert problems == ()


def test_heads_of_a_control_plane_that_is_away_or_lies_are_none(place: Place) -> None:
    place.lock(ANNE, head=lambda: "1" * 64).take(CLUSTER)
    place.file("cp1").write_text(json.dumps({**asdict(ANNE), "head": "\x1b[2J" + "1" * 60}))
    place.away.add("cp2")
    kept, [problem] = place.lock(BEN).kept_heads(CLUSTER)
    assert kept == ()
    assert "cp2 cannot be reached" in problem


def test_a_lock_is_released_by_its_run_only(place: Place) -> None:
    place.lock(ANNE).take(CLUSTER)
    assert place.lock(BEN).release(CLUSTER) == ()
    assert place.owners() == {"cp1": ANNE, "cp2": ANNE}
    assert place.lock(ANNE).release(CLUSTER) == ()
    assert place.owners() == {}
    place.lock(BEN).take(None)
    assert place.owners() == {"cp1": BEN}


def test_taking_over_is_recorded_before_it_happens_and_stops_the_other(place: Place) -> None:
    anne, ben = place.lock(ANNE), place.lock(BEN)
    anne.take(CLUSTER)
    recorded: list[tuple[LockOwner, LockOwner]] = []
    ben.take(CLUSTER, take_over=lambda owner: recorded.append((owner, place.owners()["cp1"])))
    assert recorded == [(ANNE, ANNE)]
    assert place.owners() == {"cp1": BEN, "cp2": BEN}
    with pytest.raises(LockHeld, match="ben on bastion-2"):
        anne.still_held(CLUSTER)
    assert anne.release(CLUSTER) == ()
    assert place.owners() == {"cp1": BEN, "cp2": BEN}


def test_a_take_over_on_the_way_in_holds_for_the_control_planes_that_are_found_later(place: Place) -> None:
    place.lock(ANNE).take(CLUSTER)
    ben = place.lock(BEN)
    ben.take(None, take_over=lambda _: None)
    assert place.owners() == {"cp1": BEN, "cp2": ANNE}
    ben.still_held(CLUSTER)
    ben.take(CLUSTER)
    assert place.owners() == {"cp1": BEN, "cp2": BEN}


def test_operators_who_come_in_by_different_control_planes_meet_before_a_change(place: Place) -> None:
    anne, ben = place.lock(ANNE, "cp1"), place.lock(BEN, "cp2")
    anne.take(None)
    ben.take(None)
    with pytest.raises(LockHeld, match="ben"):
        anne.still_held(CLUSTER)
    with pytest.raises(LockHeld, match="anne"):
        ben.still_held(CLUSTER)


def test_a_lock_of_a_run_that_ended_in_our_own_journal_is_stale(place: Place) -> None:
    place.lock(ANNE).take(CLUSTER)
    ben = place.lock(BEN, over=lambda run: run == ANNE.run)
    assert ben.stranger(CLUSTER) is None
    ben.take(CLUSTER)
    assert place.owners() == {"cp1": BEN, "cp2": BEN}


@pytest.mark.parametrize("content", [b"", b"\x1b[2J", b"{}", b'{"run": ""}', b"[]", b"\xff" * 100])
def test_what_cannot_be_read_is_somebodys_and_can_be_taken_over(place: Place, content: bytes) -> None:
    place.file("cp1").parent.mkdir()
    place.file("cp1").write_bytes(content)
    with pytest.raises(LockHeld, match="cannot be read"):
        place.lock(ANNE).take(CLUSTER)
    place.lock(ANNE).take(CLUSTER, take_over=lambda _: None)
    assert place.owners() == {"cp1": ANNE, "cp2": ANNE}


def test_what_was_seen_is_believed_for_seconds_and_no_longer(place: Place) -> None:
    anne, ben = place.lock(ANNE), place.lock(BEN)
    anne.take(CLUSTER)
    anne.still_held(CLUSTER)
    ben.take(CLUSTER, take_over=lambda _: None)
    anne.still_held(CLUSTER)
    place.clock.pause(BELIEVED)
    with pytest.raises(LockHeld, match="ben on bastion-2"):
        anne.still_held(CLUSTER)


def test_a_lock_that_was_removed_by_hand_is_made_again(place: Place) -> None:
    anne = place.lock(ANNE)
    anne.take(CLUSTER)
    place.file("cp1").unlink()
    anne.still_held(CLUSTER)
    assert place.owners() == {"cp1": ANNE, "cp2": ANNE}


def test_a_control_plane_that_is_away_stops_nothing_while_another_one_answers(place: Place) -> None:
    anne = place.lock(ANNE)
    place.away.add("cp2")
    anne.take(CLUSTER)
    anne.still_held(CLUSTER)
    assert place.owners() == {"cp1": ANNE}
    place.away.add("cp1")
    anne.still_held(CLUSTER)  # the step itself will meet the same trouble
    assert len(anne.release(CLUSTER)) == 2
    with pytest.raises(HostUnreachable):
        place.lock(BEN).take(CLUSTER)


def test_a_lock_from_a_clock_that_is_ahead_says_so(place: Place) -> None:
    place.lock(replace(ANNE, since="2099-01-01T00:00:00+00:00")).take(CLUSTER)
    with pytest.raises(LockHeld, match="a clock that is ahead of this one"):
        place.lock(BEN).take(CLUSTER)
    assert place.clock.now().year < 2099


def test_of_many_who_come_at_once_one_gets_it(tmp_path: Path) -> None:
    owners = [replace(ANNE, run=f"run-{number}") for number in range(8)]
    made: list[LockOwner] = []
    start = threading.Barrier(len(owners))

    def come(owner: LockOwner) -> None:
        file = LockFile(Files(LocalHost("cp1"), work_dir=str(tmp_path)), str(tmp_path / NAME))
        start.wait()
        if file.make(owner):
            made.append(owner)

    threads = [threading.Thread(target=come, args=(owner,)) for owner in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert parse_owner((tmp_path / NAME).read_text()) == made[0]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_only_a_whole_owner_is_read() -> None:
    with pytest.raises(UnexpectedOutput):
        parse_owner('{"run": "x", "operator": "y"}')
