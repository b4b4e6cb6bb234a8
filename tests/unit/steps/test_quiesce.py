"""A control plane at rest: seen by the process that swaps etcd's data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from unit.nodes.test_site import CP1, CP2

from upgrade_guard.errors import StepFailed
from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.step import Done, Facts, NotDone
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.etcd_restore import swap
from upgrade_guard.steps.quiesce import Rest, at_rest
from upgrade_guard.tools.containers import Container

CLUSTER = Cluster("prod", "v1.27.16", (CP1, CP2), "1", "3.5.24", 1)
LIVE = "/d"
ETCD = Container("1", "etcd", "registry.k8s.io/etcd:3.5.24-0", True, 0, "etcd-cp1", "kube-system", "uid-1")


@dataclass
class Disk:
    """One node's files, with the restored data beside the live data. `held`: a process holds etcd's database."""

    held: bool = False
    moves: list[tuple[str, str]] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)

    def real_path(self, path: str) -> str:
        return path

    def is_mount_point(self, _: str) -> bool:
        return False

    def exists(self, path: str) -> bool:
        return path not in self.gone

    def existing(self, *paths: str) -> frozenset[str]:
        return frozenset(path for path in paths if "-old" not in path)

    def flock_held(self, _: str) -> bool:
        return self.held

    def move(self, path: str, to: str) -> None:
        self.moves.append((path, to))

    def sync(self) -> None:
        """On the disk already."""


@dataclass
class Place:
    disk: Disk = field(default_factory=Disk)
    containers: tuple[Container, ...] = ()

    def on(self, _: Any) -> Any:
        place = self

        class Tools:
            files = place.disk

            class settings:  # noqa: N801 - stands for a value
                work_dir = "/var/lib/upgrade-guard"

            class containers:  # noqa: N801 - stands for a value
                @staticmethod
                def all() -> tuple[Container, ...]:
                    return place.containers

        return Tools()


def swapped(place: Place, rest: Rest) -> list[tuple[str, str]]:
    swap(cast("Site", place), CP1, "r1", rest).act(Facts("r1"))
    return place.disk.moves


def test_what_holds_the_database_or_runs_is_no_rest() -> None:
    for place, why in (
        (Place(), ""),
        (Place(Disk(held=True)), "a process on cp1 still holds /d/member/snap/db"),
        (Place(containers=(ETCD,)), "etcd on cp1 still runs"),
    ):
        rest = Rest()
        seen = at_rest(cast("Site", place), CLUSTER, "rollback/at-rest", rest).probe(Facts("r1"))
        assert isinstance(seen, NotDone if why else Done)
        assert getattr(seen, "why", "") == why
        assert rest.seen is not bool(why)


def test_a_process_that_has_seen_the_rest_swaps_at_once() -> None:
    fresh, old = f"{LIVE}.upgrade-guard-r1-new", f"{LIVE}.upgrade-guard-r1-old"
    assert swapped(Place(containers=(ETCD,)), Rest(seen=True)) == [(LIVE, old), (fresh, LIVE)]


@pytest.mark.parametrize("place", [Place(containers=(ETCD,)), Place(Disk(held=True))])
def test_what_was_started_since_keeps_its_data(place: Place) -> None:
    """An earlier process saw the rest; since then the machine was started again, or a person was at work."""
    with pytest.raises(StepFailed, match="started again after it had been stopped"):
        swapped(place, Rest())
    assert place.disk.moves == []


def test_a_rest_that_still_holds_is_swapped_after_a_resume() -> None:
    assert len(swapped(Place(), Rest())) == 2
