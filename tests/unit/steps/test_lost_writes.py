"""What a restore takes back, told from keys and their revisions."""

from __future__ import annotations

import base64
import json

import pytest

from upgrade_guard.model.etcd import Key
from upgrade_guard.steps.lost_writes import Lost, compare, object_of, text
from upgrade_guard.tools.etcdctl import parse_keys


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("/registry/pods/shop/db-0", ("pods", "shop/db-0")),
        ("/registry/minions/cp1.lab.example", ("nodes", "cp1.lab.example")),
        ("/registry/services/specs/shop/web", ("services", "shop/web")),
        ("/registry/services/endpoints/shop/web", ("endpoints", "shop/web")),
        ("/registry/clusterroles/system:node", ("clusterroles", "system:node")),
        ("/registry/crd.projectcalico.org/ippools/default", ("ippools.crd.projectcalico.org", "default")),
        ("/registry/cert-manager.io/certificates/shop/tls", ("certificates.cert-manager.io", "shop/tls")),
        ("/other/pods/shop/db-0", ("pods", "shop/db-0")),
        ("/registry/health", ("health", "")),
    ],
)
def test_an_object_is_told_by_its_key(key: str, found: tuple[str, str]) -> None:
    assert object_of(key) == found


def test_keys_as_etcdctl_prints_them() -> None:
    row = {"key": base64.b64encode(b"/registry/pods/shop/db-0").decode(), "create_revision": 7, "mod_revision": 9}
    assert parse_keys(json.dumps({"header": {}, "kvs": [row]})) == (Key("/registry/pods/shop/db-0", 7, 9),)
    assert parse_keys('{"header": {}}') == ()


def pod(name: str, created: int, changed: int = 0) -> Key:
    return Key(f"/registry/pods/shop/{name}", created, changed or created)


def test_what_is_newer_than_the_snapshot_is_gone_and_what_was_deleted_since_is_back() -> None:
    before = [
        pod("same", 3),
        pod("changed", 3, 12),
        pod("new", 11),
        pod("again", 13),
        Key("/registry/events/a/b", 12, 12),
    ]
    restored = [pod("same", 3), pod("changed", 3, 8), pod("deleted", 5), pod("again", 4), pod("since-then", 1_000_014)]
    assert compare(before, restored, revision=10) == Lost(
        gone=("pods shop/again", "pods shop/new"),
        back=("pods shop/again", "pods shop/deleted"),
        before=("pods shop/changed",),
        noise=1,
    )


def test_the_list_says_what_may_be_doubled() -> None:
    lost = Lost(gone=("persistentvolumes pvc-1", "pods shop/new"), back=("jobs shop/report",), before=(), noise=4)
    said = text(lost, "2026-01-01 00:00:00Z, revision 10")
    assert "  persistentvolumes pvc-1  (its storage stays, and nothing names it any more)" in said
    assert "  jobs shop/report  (it may run a second time)" in said
    assert "since: 0" in said
    assert "Left out: 4 keys" in said
