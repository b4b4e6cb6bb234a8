"""etcd itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.checks.healthy import (
    GIB,
    etcd_look,
    etcd_manifest,
    member_status,
    with_control_plane,
    with_etcd,
    with_flag,
    with_statuses,
)
from unit.checks.judging import B, Case, Good, V, W, assert_quiet, assert_said

from upgrade_guard.model.etcd import Alarm, Member, MemberHash, MemberHealth

members, statuses, hashes = etcd_look().members, etcd_look().statuses, etcd_look().hashes
sick = MemberHealth("https://x", healthy=False, error="context deadline exceeded")
unstarted = Member(9, "", ("https://q",), ())
stranger = Member(9, "old", (), ())
lagging = member_status(3, raft_applied_index=8400)
far_behind = member_status(3, raft_applied_index=3000)
full = str(20 * 1024**2)

CASES = [
    Case(
        "etcd-manifest-complete", B, "no etcd.yaml", with_control_plane("cp2", etcd=None, etcd_problem="no etcd.yaml")
    ),
    Case(
        "etcd-manifest-complete", B, "say --key-file", with_control_plane("cp2", etcd=etcd_manifest("cp2", key_file=""))
    ),
    Case("etcd-manifest-complete", B, "not there: /x", with_control_plane("cp2", missing_files=("/x",)), where="cp2"),
    Case("etcd-members-healthy", B, "context deadline", with_etcd(healths=(sick,))),
    Case("etcd-one-leader", B, "follows 2", with_statuses(*statuses[:2], member_status(3, leader=2))),
    Case("etcd-one-leader", B, "follows nobody", with_statuses(member_status(1, leader=0))),
    Case("etcd-members-level", W, "600 entries", with_statuses(*statuses[:2], lagging)),
    Case("etcd-members-level", B, "6000 entries", with_statuses(*statuses[:2], far_behind)),
    Case("etcd-no-alarm", B, "NOSPACE on member ff", with_etcd(alarms=(Alarm(255, "NOSPACE"),))),
    Case("etcd-no-alarm", B, "alarm 9 on", with_etcd(alarms=(Alarm(255, "9"),))),
    Case("etcd-no-learner", B, "still learning: cp3", with_etcd(members=(replace(members[2], is_learner=True),))),
    Case("etcd-members-agree", B, "never started", with_etcd(members=(*members, unstarted))),
    Case("etcd-members-agree", B, "no control plane here: old", with_etcd(members=(*members, stranger))),
    Case("etcd-members-agree", B, "no etcd members: cp3", with_etcd(members=members[:2])),
    Case("etcd-members-agree", B, "data at revision 5000", with_etcd(hashes=(*hashes[:2], replace(hashes[2], hash=1)))),
    Case("etcd-members-agree", W, "compared: it hangs", with_etcd(hashes=(), hash_problem="it hangs")),
    Case(
        "etcd-members-agree",
        W,
        "different rev",
        with_etcd(hashes=(*hashes[:2], MemberHash("https://z", 1, 4500, 5000))),
    ),
    Case("etcd-odd-members", W, "2 etcd members need 2", with_etcd(members=members[:2])),
    Case("etcd-version-sound", W, "runs etcd 3.5.1", with_statuses(member_status(1, version="3.5.1"))),
    Case("etcd-version-sound", B, "3.5.25", with_statuses(member_status(1, version="3.5.25")), V("v1.34.0")),
    Case("etcd-quota", W, "1.7 GiB of 2.0 GiB", with_statuses(member_status(1, db_size=int(1.7 * GIB)))),
    Case("etcd-quota", B, "1.9 GiB of 2.0 GiB", with_statuses(member_status(1, db_size=int(1.94 * GIB)))),
    Case("etcd-quota", B, "of 20.0 MiB", with_flag("etcd", "quota-backend-bytes", full)),
]

GOOD = [
    Good("etcd-version-sound", with_statuses(member_status(1, version="3.5.26")), V("v1.34.0")),
    Good("etcd-version-sound", with_statuses(member_status(1, version="3.6.4")), V("v1.34.0")),
    Good("etcd-quota", with_flag("etcd", "quota-backend-bytes", str(8 * GIB))),
    Good("etcd-members-agree", with_control_plane("cp2")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_wrong_is_said(case: Case) -> None:
    assert_said(case)


@pytest.mark.parametrize("good", GOOD, ids=str)
def test_what_is_right_is_not_held_against_it(good: Good) -> None:
    assert_quiet(good)
