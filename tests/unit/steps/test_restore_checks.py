"""What stands in the way of a restore, judged over values: every reason with its own cure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from upgrade_guard.checks.gathered import Room
from upgrade_guard.model.etcd import Member, MemberStatus
from upgrade_guard.steps.restore_checks import EtcdNow, Survey, notes, obstacles
from upgrade_guard.vault.bundle import BundleManifest

MIB = 1 << 20
SIZE = 100 * MIB
AUTHORITY = "/etc/kubernetes/pki/ca.crt"
MANIFEST = BundleManifest(
    cluster="prod",
    run_id="20250301-aaaaaa",
    taken_at=datetime(2025, 3, 1, tzinfo=UTC),
    revision=1000,
    hash=1,
    cluster_id="77",
    members=(Member(1, "cp1", ("https://10.0.0.1:2380",), ()),),
    etcd_version="3.5.7",
    kubernetes_version="v1.27.16",
    source_member="cp1",
)
SOUND = Survey(
    node="cp1",
    packages={"kubeadm": "1.27.16-1.1", "kubelet": "1.27.16-1.1"},
    wanted_packages={"kubeadm": "1.27.16-1.1", "kubelet": "1.27.16-1.1"},
    authorities={AUTHORITY: "aa"},
    wanted_authorities={AUTHORITY: "aa"},
    member="cp1",
    wanted_member="cp1",
    data_room=Room("/var/lib", 10_000 * MIB, 1),
    work_room=Room("/var/lib", 10_000 * MIB, 1),
)
AWAY = EtcdNow()


def status(*, cluster_id: int = 77, db_size: int = 0) -> MemberStatus:
    return MemberStatus("https://127.0.0.1:2379", cluster_id, 1, 2000, 2, "3.5.7", db_size, 1, 9, 9)


def reasons(*grounds: Survey, now: EtcdNow = AWAY, name: str = "") -> tuple[str, ...]:
    found = obstacles(MANIFEST, name, grounds, now, SIZE)
    assert all(one.cure for one in found)
    return tuple(one.reason for one in found)


def test_nothing_stands_in_the_way_of_a_sound_node_or_one_that_lost_everything() -> None:
    assert reasons(SOUND, name="prod") == ()
    assert reasons(replace(SOUND, member="", authorities={}, wanted_authorities={}, lost=True)) == ()


@pytest.mark.parametrize(
    ("ground", "expected"),
    [
        (replace(SOUND, authorities={AUTHORITY: "bb"}), f"{AUTHORITY} is not the one of the bundle"),
        (replace(SOUND, member="other"), "The etcd member of cp1 is other; in the bundle it is cp1."),
        (replace(SOUND, packages={"kubeadm": "1.28.0-1.1", "kubelet": "1.27.16-1.1"}), "needs kubeadm=1.27.16-1.1"),
        (replace(SOUND, packages={}), "kubelet (not installed)"),
        (
            replace(SOUND, addresses=frozenset({"10.0.0.9", "fe80::1%eth0"}), wanted_address="10.0.0.1"),
            "cp1 has the address 10.0.0.9, fe80::1%eth0; the bundle's etcd and certificates are made for 10.0.0.1",
        ),
        (replace(SOUND, runtime_problem="connection refused"), "The container runtime of cp1 does not answer"),
        (Survey("cp1", unreachable="no route to host"), "cp1 cannot be reached"),
    ],
)
def test_each_thing_that_does_not_fit_has_its_own_reason(ground: Survey, expected: str) -> None:
    [reason] = reasons(ground)
    assert expected in reason


@pytest.mark.parametrize(
    ("has", "wanted"),
    [
        ({"10.0.0.1", "10.1.0.1"}, "10.0.0.1"),
        ({"fd00::1"}, "fd00:0:0::1"),
        ({"10.0.0.9"}, "127.3.4.5"),
        ({"10.0.0.9"}, "cp1.internal"),
        (set(), "10.0.0.1"),
    ],
)
def test_an_address_that_is_there_or_that_nobody_can_tell_of_is_no_reason(has: set[str], wanted: str) -> None:
    assert reasons(replace(SOUND, addresses=frozenset(has), wanted_address=wanted)) == ()


def test_packages_are_cured_by_one_command() -> None:
    [found] = obstacles(MANIFEST, "", (replace(SOUND, packages={}),), AWAY, SIZE)
    assert "apt-get install --allow-downgrades" in found.cure
    assert "kubeadm=1.27.16-1.1 kubelet=1.27.16-1.1" in found.cure


def test_another_name_in_the_configuration_and_strange_members_are_of_the_whole_cluster() -> None:
    assert "the configuration names test" in reasons(SOUND, name="test")[0]
    now = EtcdNow(status(), ("cp1", "cp2", ""))
    [reason] = reasons(SOUND, now=now)
    assert "members that the bundle does not know: cp2" in reason


def test_every_reason_is_told_and_not_only_the_first() -> None:
    found = reasons(replace(SOUND, member="other", packages={}), Survey("cp2", unreachable="gone"), name="test")
    assert len(found) == 4


def test_room_is_counted_once_for_each_device() -> None:
    # The restored database and a WAL segment beside the data, the snapshot in our own directory.
    enough_apart = replace(SOUND, data_room=Room("/var/lib", SIZE + 64_000_000, 1), work_room=Room("/opt", SIZE, 2))
    assert reasons(enough_apart) == ()
    together = replace(enough_apart, work_room=Room("/var/lib", SIZE + 64_000_000, 1))
    [reason] = reasons(together)
    assert "/var/lib on cp1 has 161 MiB free; the restore needs 262 MiB" in reason
    [reason] = reasons(replace(enough_apart, work_room=Room("/opt", SIZE - 1, 2)))
    assert reason.startswith("/opt on cp1")


def test_the_last_snapshot_of_an_etcd_that_answers_needs_room_too() -> None:
    ground = replace(SOUND, work_room=Room("/opt", SIZE, 2))
    [reason] = reasons(ground, now=EtcdNow(status(db_size=50 * MIB), ("cp1",)))
    assert reason.startswith("/opt on cp1")


def test_a_cluster_id_that_an_earlier_restore_changed_is_told_and_stops_nothing() -> None:
    now = EtcdNow(status(cluster_id=78), ("cp1",))
    assert reasons(SOUND, now=now) == ()
    [note] = notes(MANIFEST, (SOUND,), now)
    assert "restored since the snapshot was taken" in note
    assert notes(MANIFEST, (SOUND,), EtcdNow(status(), ("cp1",))) == ()


def test_images_that_have_to_be_pulled_are_told() -> None:
    [note] = notes(MANIFEST, (replace(SOUND, missing_images=("registry.k8s.io/kube-apiserver:v1.27.16",)),), AWAY)
    assert note == "cp1 has to pull registry.k8s.io/kube-apiserver:v1.27.16 before it can start."
