"""Clusters for the tests of the proving ground: one for each file, built on first use and removed at its end.

The tests of a file share the cluster in the order in which they stand there; each leaves it in a state that the next
one asserts before it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from proving import measured, ordinary
from proving.cluster import Cluster
from proving.ground import NotHereError, alone, cache, prepare
from proving.operators import Operator


@pytest.fixture(scope="session")
def proving_ground() -> Path:
    with alone("building"):
        try:
            prepare()
        except NotHereError as missing:
            pytest.fail(str(missing))
    return cache()


@pytest.fixture(scope="module")
def plain_etcd(proving_ground: Path) -> Iterator[Cluster]:
    """A cluster whose etcd directory is a plain one, in another place."""
    yield from booted(Cluster("ug-prove-a", proving_ground / "clusters" / "a", "10.93.1", etcd_dir="/srv/etcd-data"))


@pytest.fixture(scope="module")
def mounted_etcd(proving_ground: Path) -> Iterator[Cluster]:
    """A cluster whose etcd directory is a mount point, as on a disk of its own."""
    yield from booted(Cluster("ug-prove-b", proving_ground / "clusters" / "b", "10.93.2"))


@pytest.fixture(scope="module")
def three_planes(proving_ground: Path) -> Iterator[Cluster]:
    """A cluster of three control planes behind a balancer, with what ordinary clusters have."""
    yield from booted(Cluster("ug-prove-c", proving_ground / "clusters" / "c", "10.93.3", members=3), ordinary.make)


def booted(cluster: Cluster, made: Callable[[Cluster], None] | None = None) -> Iterator[Cluster]:
    with alone(cluster.name):
        cluster.down()
        try:
            cluster.up()
            if made:
                made(cluster)
            yield cluster
        finally:
            cluster.down()


@pytest.fixture
def operators() -> Iterator[list[Operator]]:
    """Whoever types in this test; what they started is ended with it."""
    known: list[Operator] = []
    yield known
    for operator in known:
        operator.stop_all()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if measured.this_session:
        terminalreporter.write_line("\n" + measured.table(measured.this_session))
