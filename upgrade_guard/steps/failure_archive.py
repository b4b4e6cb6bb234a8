"""What the failed upgrade left behind, kept before it is taken back: an operator will ask why.

Nothing here may hold a rollback up: what cannot be had is noted and passed over.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path

from upgrade_guard.errors import GuardError, StepFailed
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.components import components
from upgrade_guard.vault.disk import private_directories, sync_directory, write_synced

SNAPSHOT_TIMEOUT = 20.0
"""Seconds for a last snapshot: the cluster is already failing, and every second of it is downtime."""

KEYS = "keys.json"
KEYS_TIMEOUT = 10.0
"""Seconds for the names of what etcd has: from them is told what the restore takes back."""

ROOM = 2
"""How many times the size of etcd's database has to be free for it: the restore needs its room on that disk too."""


def keep(site: Site, cluster: Cluster, *, etcd_answers: bool = True) -> Phase:
    """Container logs of every control plane, and a last snapshot of one member, which stays on its node, if etcd still
    answers (False: it was just asked): every member has the same, and to fetch a large one would take minutes.
    """
    first = cluster.control_planes[0]
    return Phase(
        "rollback-evidence",
        "Keep what failed",
        tuple(keep_of(site, node, snapshot=etcd_answers and node is first) for node in cluster.control_planes),
        at_once=len(cluster.control_planes),
    )


def directory(site: Site, run_id: str) -> Path:
    """Where it is kept on this machine."""
    return Path(site.config.state_dir) / "failed" / run_id


def keep_of(site: Site, node: Node, *, snapshot: bool) -> Step:
    """The same for one control plane."""
    missing: list[str] = []
    taken: list[str] = []
    tried: list[datetime] = []

    def probe(facts: Facts) -> Seen:
        if not tried:
            return NotDone(f"nothing of {node.name} is kept yet")
        kept = sorted(path.name for path in directory(site, facts.run_id).glob(f"{node.name}-*"))
        return Done(
            {
                "directory": str(directory(site, facts.run_id)),
                "kept": kept,
                "missing": list(missing),
                "snapshot": "".join(taken[-1:]),
                "at": tried[-1].isoformat(),
            }
        )

    def act(facts: Facts) -> None:
        place = directory(site, facts.run_id)
        private_directories(place)
        began = site.clock.now()
        try:
            _logs(site, node, place)
        except GuardError as problem:
            missing.append(problem.message)
        try:
            if snapshot:
                # First: what is asked of an etcd that is away waits for all its time.
                [status] = site.etcdctl(node).endpoint_status(cluster=False)
                missing.extend(_keys(site, node, place))
                taken.append(_snapshot(site, node, facts.run_id, status.db_size))
        except GuardError as problem:
            missing.append(problem.message)
        with suppress(OSError):
            sync_directory(place)
        tried.append(began)

    return Step(_name(node), f"keep the logs of {node.name}", probe, act, lane=node.name)


def when(cluster: Cluster, facts: Facts) -> datetime | None:
    """When it was kept, which is when the first control plane was about to be stopped; None in a run of a version that
    did not write it down.
    """
    kept = (facts.of(_name(node)) for node in cluster.control_planes if facts.has(_name(node)))
    return min((datetime.fromisoformat(one["at"]) for one in kept if "at" in one), default=None)


def _name(node: Node) -> str:
    return f"rollback/{node.name}/evidence"


def _logs(site: Site, node: Node, place: Path) -> None:
    tools = site.on(node)
    for one in components(tools, node):
        path = place / f"{node.name}-{one.name}-{one.id[:12]}.log"
        write_synced(path, tools.containers.logs(one.id).encode(errors="replace"))


def _keys(site: Site, node: Node, place: Path) -> list[str]:
    """The names of what etcd has, on this machine; or why they could not be had."""
    path = place / f"{node.name}-{KEYS}"
    try:
        site.etcdctl(node).keys_to(path, timeout=KEYS_TIMEOUT)
    except GuardError as problem:
        path.unlink(missing_ok=True)
        return [problem.message]
    return []


def _snapshot(site: Site, node: Node, run_id: str, size: int) -> str:
    """Where it is on the node. Raises StepFailed where it would take the room that the restore needs; `size` in bytes
    is that of etcd's database.
    """
    tools = site.on(node)
    there = f"{tools.settings.work_dir}/snapshots"
    tools.files.make_dir(there)
    if tools.files.free_bytes(there) < ROOM * size:
        raise StepFailed(f"no last snapshot of {node.name}: there is no room for it in {there}")
    remote = f"{there}/{run_id}-failed.db"
    site.etcdctl(node).snapshot_save(remote, timeout=SNAPSHOT_TIMEOUT)
    return remote
