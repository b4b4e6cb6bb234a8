"""Clusters for the tests of the proving ground: built on first use, taken down at the end of each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from proving.cluster import Cluster
from proving.ground import NotHereError, cache, prepare


@pytest.fixture(scope="session")
def proving_ground() -> Path:
    try:
        prepare()
    except NotHereError as missing:
        pytest.fail(str(missing))
    return cache()


@pytest.fixture
def mounted_etcd(proving_ground: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster whose etcd directory is a mount point, as on a disk of its own."""
    yield from booted(Cluster("ug-prove-a", proving_ground / "clusters" / "a", "10.93.1"))


@pytest.fixture
def plain_etcd(proving_ground: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster whose etcd directory is a plain one, in another place."""
    yield from booted(Cluster("ug-prove-b", proving_ground / "clusters" / "b", "10.93.2", etcd_dir="/srv/etcd-data"))


def booted(cluster: Cluster) -> Iterator[Cluster]:
    cluster.down()
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()
