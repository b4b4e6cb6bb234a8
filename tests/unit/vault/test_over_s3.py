"""Copies in a bucket of a real S3 server, which dies in the middle of an upload."""

from __future__ import annotations

import os
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path

import pytest
from servers import S3
from unit.vault.builds import made_up_manifest, published, snapshot_bytes
from unit.vault.media import CLEAR, quiet

from upgrade_guard.errors import GuardError, HostUnreachable, Refused, StepFailed
from upgrade_guard.model.command import Secret
from upgrade_guard.vault.addresses import parse_place
from upgrade_guard.vault.bundle import Bundle, Vault, examine
from upgrade_guard.vault.medium_objects import ObjectMedium
from upgrade_guard.vault.object_store import S3Settings
from upgrade_guard.vault.targets import Target

PARTS = 5 * 8 << 20  # bytes: five parts of an upload


@dataclass
class Store:
    """A bucket of its own for one test: through the product, and as the server's directory."""

    server: S3
    bucket: Path

    @property
    def settings(self) -> S3Settings:
        secret = Secret(self.server.secret)
        return S3Settings("the tests", self.server.access, secret, endpoint_url=self.server.endpoint)

    def target(self, pause: Callable[[float], None] = lambda _: None, **other: object) -> Target:
        url = f"s3://{self.bucket.name}/etcd/prod"
        settings = changed(self.settings, **other)  # type: ignore[arg-type]
        return Target(ObjectMedium(parse_place(url), settings, pause=pause), CLEAR)

    @property
    def prefix(self) -> Path:
        return self.bucket / "etcd" / "prod"


@pytest.fixture
def store(s3: S3, request: pytest.FixtureRequest) -> Store:
    return Store(s3, s3.bucket(f"b{abs(hash(request.node.name))}"))


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Store]:
    """A server of its own, which the test may kill."""
    server = S3(tmp_path / "s3" / "buckets")
    bucket = server.bucket()
    server.start()
    yield Store(server, bucket)
    server.kill()


@pytest.fixture
def large(tmp_path: Path) -> Bundle:
    return published(Vault(tmp_path / "vault"), made_up_manifest(), snapshot_bytes(PARTS))


def test_there_and_back(bundle: Bundle, store: Store, tmp_path: Path) -> None:
    target = store.target()
    assert target.usable() == ()
    assert target.listing().copies == ()

    said: list[str] = []
    copied = target.copy(bundle, said.append)

    assert copied.location == f"{target.url}/{bundle.name}"
    assert [line.split()[0] for line in said] == ["files-cp1.tar.gz", "snapshot.db", "manifest.json"]
    assert target.read_back(bundle) == target.check(bundle.name) == ()
    (copy,) = target.listing().copies
    assert (copy.name, copy.manifest_sha256) == (bundle.name, bundle.manifest_sha256)
    said.clear()
    target.copy(bundle, said.append)
    assert said == []  # an equal copy is left alone
    vault = Vault(tmp_path / "other")
    assert examine(target.fetch(bundle.name, vault, quiet)) == ()
    target.remove(bundle.name)
    assert target.listing().copies == ()
    assert not target.holds(bundle.name)
    target.remove(bundle.name)


def test_a_large_snapshot_goes_in_parts_and_comes_back(large: Bundle, store: Store, tmp_path: Path) -> None:
    target = store.target()
    target.copy(large, quiet)
    assert target.read_back(large) == ()
    assert examine(target.fetch(large.name, Vault(tmp_path / "other"), quiet)) == ()


def flip(path: Path) -> None:
    content = bytearray((path / "snapshot.db").read_bytes())
    content[5000] ^= 1
    (path / "snapshot.db").write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed": (flip, "snapshot.db has another SHA-256"),
    "cut": (lambda path: os.truncate(path / "snapshot.db", 100), "snapshot.db has 100 bytes instead of"),
    "emptied": (lambda path: os.truncate(path / "snapshot.db", 0), "snapshot.db has 0 bytes instead of"),
    "deleted": (lambda path: (path / "files-cp1.tar.gz").unlink(), "lacks files-cp1.tar.gz"),
    "unpublished": (lambda path: (path / "manifest.json").unlink(), "lacks manifest.json"),
    "swapped": (lambda path: (path / "snapshot.db").rename(path / "files-cp1.tar.gz"), "lacks snapshot.db"),
    "more": (lambda path: (path / "more").write_text("x"), "'more', which does not belong to it"),
    "gone": (shutil.rmtree, "is missing at"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_changed_later_is_found_and_kept_beside_a_new_copy(bundle: Bundle, store: Store, damage: str) -> None:
    target = store.target()
    target.copy(bundle, quiet)
    harm, sentence = DAMAGES[damage]
    harm(store.prefix / bundle.name)

    assert sentence in " ".join(target.read_back(bundle))

    target.copy(bundle, quiet)
    assert target.read_back(bundle) == ()
    assert (store.prefix / f"{bundle.name}.differs-1").exists() is (damage not in ("unpublished", "gone"))
    assert [copy.name for copy in target.listing().copies] == [bundle.name]


def test_a_server_that_dies_in_the_middle_of_an_upload_is_tried_again(large: Bundle, mortal: Store) -> None:
    waited: list[float] = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        mortal.server.start()

    def dies(sentence: str) -> None:
        if "snapshot.db to" in sentence and mortal.server.running and not waited:
            mortal.server.kill()

    target = mortal.target(pause)
    target.copy(large, dies)

    assert waited == [1.0]
    assert target.read_back(large) == ()


def test_an_upload_that_was_cut_short_is_no_copy(large: Bundle, mortal: Store) -> None:
    target = mortal.target()
    with pytest.raises(HostUnreachable) as failed:
        target.copy(large, lambda sentence: mortal.server.kill() if "snapshot.db" in sentence else None)
    assert "cannot be reached, or broke off" in failed.value.message
    assert mortal.server.secret not in failed.value.message + failed.value.hint
    mortal.server.start()
    for left_behind in ("files-cp1.tar.gz", "leftover"):  # as of an attempt that died before its manifest
        (mortal.prefix / large.name).mkdir(parents=True, exist_ok=True)
        (mortal.prefix / large.name / left_behind).write_bytes(b"x")

    assert target.listing().copies == ()
    with pytest.raises(GuardError, match="there is no copy"):
        target.manifest(large.name)
    assert target.holds(large.name)
    target.copy(large, quiet)
    assert target.read_back(large) == ()


def test_a_bundle_that_changed_here_is_not_published(large: Bundle, store: Store) -> None:
    os.truncate(large.snapshot, PARTS - 10)
    with pytest.raises(StepFailed, match=r"snapshot\.db is not what its manifest says"):
        store.target().copy(large, quiet)
    assert store.target().listing().copies == ()
    assert not (store.prefix / large.name / "snapshot.db").exists()


REFUSALS: dict[str, tuple[dict[str, object], str]] = {
    "wrong secret": (
        {"secret_access_key": Secret("a-wrong-secret")},
        "refused the credentials (SignatureDoesNotMatch)",
    ),
    "wrong key": ({"access_key_id": "nobody"}, "refused the credentials"),
    "nothing listens": ({"endpoint_url": "http://127.0.0.1:1"}, "cannot be reached, or broke off: Connection refused"),
    "no such host": ({"endpoint_url": "http://nowhere.invalid"}, "failed to lookup address information"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_what_cannot_work_is_said_without_the_secret(bundle: Bundle, store: Store, what: str) -> None:
    other, sentence = REFUSALS[what]
    target = store.target(**other)

    (problem,) = target.usable()
    assert sentence in problem
    with pytest.raises(StepFailed) as failed:
        target.copy(bundle, quiet)
    said = f"{failed.value.message} {failed.value.hint} {problem}"
    assert sentence in said
    assert failed.value.hint
    assert "wrong-secret" not in said
    assert store.server.secret not in said


def test_a_bucket_that_is_not_there(bundle: Bundle, store: Store) -> None:
    store.bucket.rmdir()
    target = store.target()
    assert f"there is no bucket {store.bucket.name} at {store.server.endpoint}" in target.usable()[0]
    with pytest.raises(StepFailed, match="there is no bucket") as failed:
        target.copy(bundle, quiet)
    assert "upgrade-guard config show" in failed.value.hint
    with pytest.raises(StepFailed, match="there is no bucket"):
        target.listing()
    with pytest.raises(StepFailed, match="there is no bucket"):
        target.manifest(bundle.name)


def test_the_endpoint_may_be_a_control_plane() -> None:
    def judged(endpoint: str, *, local: bool = False) -> bool:
        settings = S3Settings("the tests", endpoint_url=endpoint)
        medium = ObjectMedium(parse_place("s3://backups/x"), settings, resolve=lambda _: frozenset())
        return medium.off_control_plane(["10.0.0.11", "cp2"], local_is_control_plane=local)[0]

    assert judged("")
    assert judged("https://minio.internal:9000")
    assert not judged("https://10.0.0.11:9000")
    assert not judged("http://cp2:9000")
    assert judged("http://127.0.0.1:9000")
    assert not judged("http://127.0.0.1:9000", local=True)


def test_a_huge_manifest_in_a_bucket_is_refused_and_not_brought_here(bundle: Bundle, store: Store) -> None:
    target = store.target()
    target.copy(bundle, quiet)
    os.truncate(store.prefix / bundle.name / "manifest.json", 256 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match=r"manifest\.json of the copy .* is larger than 32 MiB"):
            target.manifest(bundle.name)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()
    assert "is larger than 32 MiB" in target.listing().problems[0]
    target.copy(bundle, quiet)
    assert target.read_back(bundle) == ()
