from __future__ import annotations

from collections.abc import Iterator

import pytest
from unit.vault.builds import LiveEtcd, live_etcd


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveEtcd]:
    """One real etcd for all tests that only read from it."""
    with live_etcd(tmp_path_factory.mktemp("live")) as live:
        yield live
