from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.vault.builds import LiveEtcd, live_etcd, made_up_manifest, published
from unit.vault.media import KINDS, LISTING
from unit.vault.on_disk import OnDisk, on_disk

from upgrade_guard.vault.bundle import Bundle, Vault
from upgrade_guard.vault.targets import Target


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveEtcd]:
    """One real etcd for all tests that only read from it."""
    with live_etcd(tmp_path_factory.mktemp("live")) as live:
        yield live


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return published(Vault(tmp_path / "vault"), made_up_manifest(node_files={"cp1": LISTING}))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "off site" / "etcd"
    path.parent.mkdir()
    return path


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, place: Path) -> Target:
    return KINDS[request.param](place)


@pytest.fixture
def disk() -> Iterator[OnDisk]:
    """On a disk: other tests' files may lie below /dev, of which no file is captured."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        yield on_disk(Path(directory))
