"""Is etcd well enough to be saved and upgraded? A snapshot of a sick member is a sick snapshot."""

from __future__ import annotations

from upgrade_guard.checks.findings import blocking, listed, ok, warning
from upgrade_guard.checks.gathered import Gathered
from upgrade_guard.model.etcd import MemberHash
from upgrade_guard.model.finding import Finding
from upgrade_guard.model.version import Version

LAG_NOTED = 500
LAG_REFUSED = 5000
"""Raft entries. etcd itself answers "too many requests" when 5000 committed entries wait to be applied."""


def members_healthy(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """Every member answers a linearizable read (`etcdctl endpoint health`)."""
    name = "etcd-members-healthy"
    sick = [health for health in gathered.etcd.healths if not health.healthy]
    if not gathered.etcd.healths:
        return ()
    if not sick:
        return (ok(name, f"{len(gathered.etcd.healths)} etcd member(s) healthy"),)
    return tuple(
        blocking(
            name,
            f"the etcd member at {health.endpoint} is not healthy: {health.error or 'no reason given'}",
            "look at the member: crictl ps --all --name etcd; crictl logs ID",
            where=health.endpoint,
        )
        for health in sick
    )


def one_leader(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """All members follow one and the same leader."""
    name = "etcd-one-leader"
    statuses = gathered.etcd.statuses
    if not statuses:
        return ()
    leaders = {status.leader for status in statuses}
    if len(leaders) == 1 and 0 not in leaders and sum(status.is_leader for status in statuses) == 1:
        leader = next(status for status in statuses if status.is_leader)
        return (ok(name, f"the member at {leader.endpoint} leads"),)
    seen = ", ".join(f"{status.endpoint} follows {status.leader or 'nobody'}" for status in statuses)
    return (
        blocking(
            name,
            f"the etcd members do not follow one leader: {seen}",
            "wait for the election to end, then look: etcdctl endpoint status --cluster --write-out=table",
        ),
    )


def members_level(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """No member lags behind the leader; the snapshot is taken from the leader, but a restart needs the others too."""
    name = "etcd-members-level"
    statuses = gathered.etcd.statuses
    if not statuses:
        return ()
    front = max(status.raft_applied_index for status in statuses)
    findings = []
    for status in statuses:
        behind = max(front, status.raft_index) - status.raft_applied_index
        if behind > LAG_NOTED:
            answer = blocking if behind > LAG_REFUSED else warning
            findings.append(
                answer(
                    name,
                    f"the etcd member at {status.endpoint} is {behind} entries behind",
                    "look at its disk and network: etcdctl endpoint status --cluster --write-out=table",
                    status.endpoint,
                )
            )
    return tuple(findings) or (ok(name, f"{len(statuses)} etcd member(s) level"),)


def no_alarm(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """No alarm is raised. NOSPACE is stored in the snapshot too: what is restored from it refuses writes."""
    name = "etcd-no-alarm"
    if not gathered.etcd.statuses and not gathered.etcd.alarms:
        return ()
    if not gathered.etcd.alarms:
        return (ok(name, "no etcd alarm"),)
    hints = {
        "NOSPACE": "compact, defragment each member, then: etcdctl alarm disarm",
        "CORRUPT": "replace the corrupt member: etcdctl member remove ID, then kubeadm join --control-plane",
    }
    return tuple(
        blocking(
            name,
            f"etcd has the alarm {alarm.kind} on member {alarm.member_id:x}",
            hints.get(alarm.kind, "look what it means before anything else: etcdctl alarm list"),
        )
        for alarm in gathered.etcd.alarms
    )


def no_learner(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """No member is still a learner: a restore ignores learners, and 3.6 refuses more than one."""
    name = "etcd-no-learner"
    etcd = gathered.etcd
    if not etcd.members:
        return ()
    learners = {member.name or f"{member.id:x}" for member in etcd.members if member.is_learner}
    learners |= {status.endpoint for status in etcd.statuses if status.is_learner}
    if not learners:
        return (ok(name, "no etcd member is a learner"),)
    return (
        blocking(
            name,
            f"still learning: {listed(sorted(learners))}",
            "promote it once it has caught up: etcdctl member promote ID",
        ),
    )


def members_agree(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """The members are exactly the control planes, and hold the same data (equal HashKV at one revision)."""
    name = "etcd-members-agree"
    if not gathered.etcd.members:
        return ()
    findings = [*_members_are_control_planes(gathered, name), *_hashes_equal(gathered, name)]
    return tuple(findings) or (ok(name, _agreement(gathered)),)


def _members_are_control_planes(gathered: Gathered, name: str) -> list[Finding]:
    members = {member.name for member in gathered.etcd.members if member.name}
    expected = {node.etcd.name for node in gathered.cluster.control_planes if node.etcd is not None}
    hint = "compare etcdctl member list with kubectl get nodes; remove what is gone: etcdctl member remove ID"
    findings = [
        blocking(name, f"etcd has a member that never started: {member.id:x} at {listed(member.peer_urls)}", hint)
        for member in gathered.etcd.members
        if not member.name
    ]
    if strangers := members - expected:
        findings.append(
            blocking(name, f"etcd members that are no control plane here: {listed(sorted(strangers))}", hint)
        )
    if absent := expected - members:
        findings.append(blocking(name, f"control planes that are no etcd members: {listed(sorted(absent))}", hint))
    return findings


def _hashes_equal(gathered: Gathered, name: str) -> list[Finding]:
    etcd = gathered.etcd
    groups: dict[int, list[MemberHash]] = {}
    for found in etcd.hashes:
        groups.setdefault(found.compact_revision, []).append(found)
    if any(len({found.hash for found in group}) > 1 for group in groups.values()):
        seen = ", ".join(f"{found.endpoint} {found.hash:08x}" for found in etcd.hashes)
        return [
            blocking(
                name,
                f"the etcd members hold different data at revision {etcd.hashes[0].revision}: {seen}",
                "replace the corrupt member first; find it: etcdctl endpoint hashkv --cluster --rev=REVISION",
            )
        ]
    if len(etcd.members) > 1 and (etcd.hash_problem or len(groups) > 1):
        why = etcd.hash_problem or "they were compacted at different revisions"
        return [
            warning(
                name,
                f"the data of the etcd members could not be compared: {why}",
                "run the check again; etcd compacts every five minutes: upgrade-guard check",
            )
        ]
    return []


def _agreement(gathered: Gathered) -> str:
    hashes = gathered.etcd.hashes
    if len(gathered.etcd.members) == 1:
        return "the only etcd member is the only control plane"
    return (
        f"{len(hashes)} etcd members hold the same data at revision {hashes[0].revision}" if hashes else "members known"
    )


def odd_members(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """An odd number of members: with two, each restart of one takes the API away until it is back."""
    name = "etcd-odd-members"
    count = len(gathered.etcd.members)
    if count == 0:
        return ()
    if count % 2 == 1:
        return (ok(name, f"{count} etcd member(s)"),)
    return (
        warning(
            name,
            f"{count} etcd members need {count // 2 + 1} at all times and so bear no more losses than {count - 1}",
            "expect the API to be away while one restarts, or add a control plane: kubeadm join --control-plane",
        ),
    )
