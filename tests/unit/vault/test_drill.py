from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from unit.vault.builds import TOOLS, LiveEtcd, RealClock, live_etcd, made_up_manifest, manifest_for, published

from upgrade_guard.errors import Refused
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.model.command import Command, Result
from upgrade_guard.vault.bundle import Bundle, Vault
from upgrade_guard.vault.drill import COUNTED, Drill, drill

SECRET = "aSecretThatNobodyReads"
OBJECTS = {
    "/registry/namespaces/default": 1,
    "/registry/namespaces/kube-system": 1,
    "/registry/minions/cp1": 1,
    "/registry/deployments/default/web": 1,
    "/registry/daemonsets/kube-system/kube-proxy": 1,
    "/registry/statefulsets/default/db": 1,
    "/registry/pods/default/web-1": 1,
    "/registry/pods/default/web-2": 1,
    "/registry/secrets/default/token": 1,
    "/registry/podtemplates/default/not-a-pod": 1,
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveEtcd]:
    """An etcd with the objects above and five configmaps."""
    with live_etcd(tmp_path_factory.mktemp("cluster"), keys=5) as live:
        for key in OBJECTS:
            live.run("put", key, SECRET)
        yield live


@pytest.fixture
def bundle(cluster: LiveEtcd, tmp_path: Path) -> Bundle:
    snapshot = tmp_path / "saved.db"
    cluster.etcdctl.snapshot_save(str(snapshot))
    manifest = manifest_for(cluster, snapshot)
    hashkv = cluster.etcdctl.hashkv(manifest.revision)[0]
    return published(Vault(tmp_path / "vault"), replace(manifest, hashkv=hashkv), snapshot.read_bytes())


class Watching:
    """This machine, keeping everything that commands printed."""

    def __init__(self) -> None:
        self.name = "here"
        self.printed = ""
        self._here = LocalHost("here")

    def run(self, command: Command) -> Result:
        result = self._here.run(command)
        self.printed += result.stdout + result.stderr
        return result


def drilled(bundle: Bundle, scratch: Path, host: Watching | None = None) -> Drill:
    return drill(
        bundle,
        tools=TOOLS,
        host=host or Watching(),
        scratch=scratch,
        clock=RealClock(),
        progress=lambda _: None,
    )


def test_a_good_bundle_is_restored_compared_and_counted(bundle: Bundle, tmp_path: Path) -> None:
    here = Watching()

    found = drilled(bundle, tmp_path / "scratch", here)

    assert found.proof.ok, found.proof.message
    assert found.proof.revision == bundle.manifest.revision
    assert found.proof.restore_seconds > 0
    assert found.counts == {
        "namespaces": 2,
        "nodes": 1,
        "deployments": 1,
        "daemonsets": 1,
        "statefulsets": 1,
        "pods": 2,
        "secrets": 1,
        "configmaps": 5,
    }
    assert tuple(found.counts) == tuple(COUNTED)
    assert SECRET not in here.printed
    assert "default/token" not in here.printed


def test_a_bundle_that_holds_something_else_is_told_by_its_level(bundle: Bundle, tmp_path: Path) -> None:
    hashkv = bundle.manifest.hashkv
    assert hashkv is not None
    other = replace(bundle, manifest=replace(bundle.manifest, hashkv=replace(hashkv, hash=hashkv.hash + 1)))

    found = drilled(other, tmp_path / "scratch")

    assert not found.proof.ok
    assert found.proof.levels[-1].name == "hashkv"
    assert found.counts == {}


def test_a_damaged_bundle_fails_before_anything_is_restored(bundle: Bundle, tmp_path: Path) -> None:
    with bundle.snapshot.open("r+b") as file:
        file.seek(5000)
        file.write(b"rot")

    found = drilled(bundle, tmp_path / "scratch")

    assert [level.name for level in found.proof.levels] == ["digest"]
    assert "In an emergency" in found.proof.message or "could be brought back" in found.proof.message


def test_a_manifest_without_a_hash_cannot_be_drilled(tmp_path: Path) -> None:
    bundle = published(Vault(tmp_path), made_up_manifest(hashkv=None))
    with pytest.raises(Refused, match="nothing to compare"):
        drilled(bundle, tmp_path / "scratch")
