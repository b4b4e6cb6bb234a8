from __future__ import annotations

import pytest

from upgrade_guard.errors import UsageProblem
from upgrade_guard.vault.addresses import addresses_of, is_this_machine, parse_place, same_machine

NAMES = {
    "cp1": {"10.0.0.11", "fe80::1"},
    "cp1.internal": {"10.0.0.11"},
    "nas": {"10.0.0.50"},
    "localhost": {"127.0.0.1", "::1"},
}


def resolve(name: str) -> frozenset[str]:
    return frozenset(NAMES.get(name, ()))


def test_urls_that_can_be_targets() -> None:
    assert parse_place("file:///mnt/nfs/etcd").path == "/mnt/nfs/etcd"
    assert parse_place("file://localhost/mnt/x/").path == "/mnt/x"
    assert parse_place("file:///mnt/a%20b").path == "/mnt/a b"
    place = parse_place("ssh://backup@nas:2222/srv//etcd/")
    assert (place.user, place.host, place.port, place.path) == ("backup", "nas", 2222, "/srv/etcd")
    assert parse_place("ssh://[2001:db8::5]/srv").host == "2001:db8::5"
    assert parse_place("ssh://nas/srv").user == ""
    place = parse_place("s3://minio@bucket.one/etcd//prod/")
    assert (place.scheme, place.user, place.host, place.path) == ("s3", "minio", "bucket.one", "/etcd/prod")
    assert parse_place("s3://bucket").path == parse_place("gs://bucket/").path == "/"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/mnt/nfs",
        "nas:/srv",
        "http://nas/srv",
        "s3://",
        "s3:///prefix",
        "s3://bucket:9000/prefix",
        "s3://Bucket_/../x",
        "s3://bucket/a/../../b",
        "s3://bucket/%0a",
        "gs://profile@bucket/x",
        "file://nas/srv",
        "file:///",
        "file:relative",
        "file:///mnt/../etc",
        "file:///mnt/%2e%2e/etc",
        "file:///mnt/a b",
        "file:///mnt/%0a",
        "file:///mnt?x=1",
        "ssh:///srv",
        "ssh://nas",
        "ssh://nas/",
        "ssh://nas:port/srv",
        "ssh://nas/srv#part",
        "ssh://-oProxyCommand=x/srv",
        "ssh://-x@nas/srv",
        "ssh://[::1/srv",
    ],
)
def test_urls_that_cannot(url: str) -> None:
    with pytest.raises(UsageProblem) as refused:
        parse_place(url)
    assert "file:///path" in refused.value.hint


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageProblem) as refused:
        parse_place("ssh://backup:topsecret@nas/srv")
    assert "topsecret" not in refused.value.message


@pytest.mark.parametrize(
    ("host", "same"),
    [
        ("10.0.0.11", "10.0.0.11"),
        ("cp1", "10.0.0.11"),
        ("CP1.internal", ""),  # unknown in this spelling here, and so another machine
        ("cp1.internal", "10.0.0.11"),
        ("nas", ""),
        ("unheard-of", ""),
        ("fe80:0::1", ""),
    ],
)
def test_control_planes_are_recognised_by_address(host: str, same: str) -> None:
    assert same_machine((host,), ("10.0.0.11", "10.0.0.12"), resolve) == same


def test_control_planes_are_recognised_by_name_user_and_long_addresses() -> None:
    assert same_machine(("10.0.0.11",), ("root@cp1",), resolve) == "root@cp1"
    assert same_machine(("nas", "10.0.0.12"), ("10.0.0.11", "10.0.0.12"), resolve) == "10.0.0.12"
    assert same_machine(("2001:0db8::0005",), ("2001:db8::5",), resolve) == "2001:db8::5"
    assert same_machine(("Master.",), ("master",), resolve) == "master"


def test_this_machine() -> None:
    assert is_this_machine(("localhost",), resolve)
    assert is_this_machine(("127.0.0.9",), resolve)
    assert not is_this_machine(("nas",), resolve)
    assert addresses_of("localhost") & {"127.0.0.1", "::1"}
    assert addresses_of("no-such-host.invalid") == frozenset()
