"""The same snapshot into a fresh directory on every control plane, then swapped in by rename. Nothing is deleted."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from upgrade_guard.errors import CommandFailed, StepFailed
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.codec import from_json, to_json
from upgrade_guard.model.etcd import EtcdManifest, Member
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.model.step_results import ROLLBACK, of_node
from upgrade_guard.nodes.site import NodeTools, Site
from upgrade_guard.steps.quiesce import Rest, refuse_unless_at_rest
from upgrade_guard.steps.snapshot import bundle_of
from upgrade_guard.steps.step_helpers import observation

BUMP = 1_000_000_000
"""What etcd's documentation adds to the revision: a week at 1500 writes a second (etcd.io, recovery)."""

WRITES_A_SECOND = 1500
"""The most that etcd's documentation reckons with when it recommends BUMP."""

REMOVE_MEMBER = "remove-member"
SETTLED = "rollback/restore-settings"


@dataclass(frozen=True)
class RestoreSettings:
    """What every member must share; journalled, so that one that was down can be restored the same way later."""

    snapshot_sha256: str
    initial_cluster: str
    token: str
    bump: int | None


@dataclass(frozen=True)
class Places:
    """Where one member's data is, goes and comes from, on its node."""

    live: str
    fresh: str
    aside: str
    snapshot: str


def bump_beyond(age: float, revision: int, highest: int) -> int:
    """What to add to a snapshot's revision so that nobody has seen a higher one, also after earlier restores.

    `age` of the snapshot in seconds, `highest` is the highest revision of this cluster that is known of.
    """
    return BUMP + WRITES_A_SECOND * max(0, round(age)) + max(0, highest - revision)


def usual_bump(_: Facts) -> int:
    """For a snapshot that is as young as a run."""
    return BUMP


def prepare(
    site: Site,
    cluster: Cluster,
    run_id: str,
    bump: Callable[[Facts], int] = usual_bump,
    members: Cluster | None = None,
) -> tuple[Phase, ...]:
    """Settings first, then every member beside its live data: what may fail or last, while etcd may still serve.

    `members` has also those control planes that are restored later; without it the cluster's own are all.
    """
    planes = cluster.control_planes
    return (
        Phase("rollback-restore-settings", "Restore settings", (settle(site, cluster, members or cluster, bump),)),
        Phase(
            "rollback-restore",
            "Restore etcd",
            tuple(step for node in planes for step in (bring(site, node, run_id), restore_member(site, node, run_id))),
            at_once=len(planes),
        ),
    )


def swap_all(site: Site, cluster: Cluster, run_id: str, rest: Rest) -> Phase:
    """The restored data in the place of the live one on every control plane. They must be at rest: where this process
    has not seen it, each looks again.
    """
    planes = cluster.control_planes
    steps = tuple(swap(site, node, run_id, rest) for node in planes)
    return Phase("rollback-swap", "Swap etcd's data", steps, at_once=len(planes))


def places(tools: NodeTools, etcd: EtcdManifest, run_id: str) -> Places:
    """Beside the data directory, or inside it where it is a mount point, which cannot be renamed (EBUSY).

    Where it is a symbolic link, beside what it leads to: on the disk that was chosen for it.
    """
    snapshot = f"{tools.settings.work_dir}/rollback-{run_id}/snapshot.db"
    data_dir = tools.files.real_path(etcd.data_dir)
    if tools.files.is_mount_point(data_dir):
        return Places(
            live=f"{data_dir}/member",
            fresh=f"{data_dir}/.upgrade-guard-{run_id}-new",
            aside=f"{data_dir}/.upgrade-guard-{run_id}-old",
            snapshot=snapshot,
        )
    return Places(
        live=data_dir,
        fresh=f"{data_dir}.upgrade-guard-{run_id}-new",
        aside=f"{data_dir}.upgrade-guard-{run_id}-old",
        snapshot=snapshot,
    )


def known_once(tools: NodeTools, etcd: EtcdManifest, run_id: str) -> Callable[[], Places]:
    """The same, looked at once: the control plane rests meanwhile, and every command takes its time."""
    found: list[Places] = []

    def known() -> Places:
        if not found:
            found.append(places(tools, etcd, run_id))
        return found[0]

    return known


def of(node: Node) -> EtcdManifest:
    """The etcd of a control plane. Raises StepFailed for a node without one."""
    if node.etcd is None:
        raise StepFailed(f"{node.name} has no etcd of its own")
    return node.etcd


def settle(site: Site, cluster: Cluster, everybody: Cluster, bump: Callable[[Facts], int]) -> Step:
    """Decide once what all members share: the snapshot, the cluster's make-up, a token that no cluster had before.

    etcd and etcdutl default to one and the same token, so that a stale member could talk to the restored cluster.
    """

    def look(facts: Facts) -> Seen:
        if facts.has(SETTLED):
            return Done(facts.of(SETTLED))
        refuse_apart(everybody)
        can_bump = all(site.etcdutl(node).can_bump() for node in cluster.control_planes)
        # A member with two peer URLs stands there twice (etcd: --initial-cluster).
        members = [f"{of(node).name}={url}" for node in everybody.control_planes for url in of(node).peer_urls]
        settings = RestoreSettings(
            snapshot_sha256=bundle_of(site, facts).snapshot_sha256,
            initial_cluster=",".join(members),
            token=f"upgrade-guard-{facts.run_id}-{secrets.token_hex(4)}",
            bump=bump(facts) if can_bump else None,
        )
        return Done(to_json(settings))

    return observation(SETTLED, "decide what every restored member shares", look, lasting=True)


def refuse_apart(cluster: Cluster) -> None:
    """Raises StepFailed for an etcd whose log is not in its data directory: it would replay the old one after a
    restore, and nothing would have been restored (tried with etcd 3.5).
    """
    apart = [f"{node.name} ({of(node).wal_dir})" for node in cluster.control_planes if of(node).wal_dir]
    if apart:
        raise StepFailed(
            f"etcd keeps its log apart from its data (--wal-dir) on {', '.join(apart)}; nothing was stopped",
            hint="restore by hand, with etcdutl snapshot restore --wal-dir: docs/explanation/rollback.md",
        )


def settings(facts: Facts) -> RestoreSettings:
    """What `settle` decided."""
    return from_json(RestoreSettings, facts.of(SETTLED))


def bring(site: Site, node: Node, run_id: str) -> Step:
    """The one snapshot on this node, compared by SHA-256."""
    tools = site.on(node)
    where = known_once(tools, of(node), run_id)

    def probe(facts: Facts) -> Seen:
        path = where().snapshot
        if not tools.files.exists(path):
            return NotDone(f"the snapshot is not on {node.name} yet")
        if tools.files.sha256(path)[path] != settings(facts).snapshot_sha256:
            return NotDone(f"the snapshot on {node.name} is not the one of this run")
        return Done({"path": path})

    def act(facts: Facts) -> None:
        path = where().snapshot
        tools.files.make_dir(path.rpartition("/")[0])
        tools.files.send(bundle_of(site, facts).snapshot, path)

    return Step(
        f"rollback/{node.name}/snapshot",
        f"bring the snapshot to {node.name}",
        probe,
        act,
        changes_node=True,
        lane=node.name,
    )


def restore_member(site: Site, node: Node, run_id: str) -> Step:
    """A fresh data directory, complete or absent. A restore that fails leaves a partial one, which is moved aside."""
    tools = site.on(node)
    located = known_once(tools, of(node), run_id)

    def finished(where: Places) -> str:
        """A note of ours that holds the token of this rollback: random, and in the journal before anything is restored,
        so that no note of before can have it.
        """
        return f"{where.snapshot}.restored"

    def probe(facts: Facts) -> Seen:
        where = located()
        if not tools.files.exists(finished(where)):
            return NotDone(f"etcd is not restored on {node.name} yet")
        if tools.files.read_text(finished(where)) != settings(facts).token:
            return NotDone(f"what is restored on {node.name} belongs to another attempt")
        moved_in = not tools.files.exists(where.fresh) and tools.files.exists(where.aside)
        if not moved_in and not tools.files.exists(f"{where.fresh}/member/snap/db"):
            return NotDone(f"the restored data of {node.name} is incomplete")
        return Done({"fresh": where.fresh, "aside": where.aside})

    def attempt(facts: Facts, where: Places) -> None:
        if tools.files.exists(where.fresh):
            tools.files.move(where.fresh, f"{where.fresh}-partial-{secrets.token_hex(4)}")
        shared = settings(facts)
        site.etcdutl(node).restore(
            where.snapshot,
            where.fresh,
            name=of(node).name,
            initial_cluster=shared.initial_cluster,
            peer_urls=of(node).initial_advertise_peer_urls,
            token=shared.token,
            bump=shared.bump,
        )
        if tools.files.exists(where.live):
            # etcd may run as a user of its own (kubeadm's feature gate RootlessControlPlane), who has to read it.
            tools.files.own_like(where.fresh, where.live)

    def act(facts: Facts) -> None:
        where = located()
        try:
            attempt(facts, where)
        except CommandFailed as problem:
            if problem.exit_status is None:
                raise
            attempt(facts, where)  # a full disk or a killed tool: the partial directory is out of the way now
        tools.files.sync()
        tools.files.write(finished(where), settings(facts).token.encode())

    return Step(
        f"rollback/{node.name}/restore",
        f"restore etcd on {node.name} beside the live data",
        probe,
        act,
        changes_node=True,
        lane=node.name,
    )


def swap(site: Site, node: Node, run_id: str, rest: Rest) -> Step:
    """Two renames: the live data aside, the restored data in its place. Where the live data is lost with its disk, an
    empty directory stands for it, so that what was done can be seen in the same way.
    """
    tools = site.on(node)
    located = known_once(tools, of(node), run_id)

    def probe(_: Facts) -> Seen:
        where = located()
        there = tools.files.existing(where.aside, fresh_member(where))
        if where.aside not in there:
            return NotDone(f"the data of {node.name} is not moved aside yet")
        if fresh_member(where) in there:
            return NotDone(f"the restored data of {node.name} is not in its place yet")
        return Done({"aside": where.aside, "live": where.live})

    def fresh_member(where: Places) -> str:
        return f"{where.fresh}/member"

    def act(_: Facts) -> None:
        where = located()
        there = tools.files.existing(fresh_member(where), where.aside, where.live)
        if fresh_member(where) not in there:
            raise StepFailed(f"the restored data of {node.name} is gone: {where.fresh}")
        if where.aside not in there:
            refuse_unless_at_rest(site, node, rest)
            if where.live in there:
                tools.files.move(where.live, where.aside)
            else:
                tools.files.make_dir(where.aside)
        inside = where.live.endswith("/member")
        tools.files.move(fresh_member(where) if inside else where.fresh, where.live)
        tools.files.sync()

    return Step(
        f"rollback/{node.name}/swap",
        f"put the restored data of {node.name} in place",
        probe,
        act,
        changes_node=True,
        lane=node.name,
    )


def remove_member(site: Site, cluster: Cluster, node: Node) -> Step:
    """Take the member of a control plane that was given up out of the restored etcd, through one that serves.

    A member that never started has no name, so it is known by its peer URL.
    """
    peers = set(of(node).peer_urls)

    def found() -> list[Member]:
        members = site.etcdctl(cluster.control_planes[0]).member_list()
        return [member for member in members if peers.intersection(member.peer_urls)]

    def probe(_: Facts) -> Seen:
        return NotDone(f"etcd still has the member of {node.name}") if found() else Done({"member": of(node).name})

    def act(_: Facts) -> None:
        for member in found():
            site.etcdctl(cluster.control_planes[0]).member_remove(member.id)

    return Step(
        of_node(ROLLBACK, node.name, REMOVE_MEMBER),
        f"remove the etcd member of {node.name}",
        probe,
        act,
        changes_node=True,
    )
