"""What the failed upgrade left behind, kept before it is taken back: an operator will ask why.

Nothing here may hold a rollback up: what cannot be had is noted and passed over.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from upgrade_guard.errors import GuardError
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.phases.components import components
from upgrade_guard.phases.site import Site
from upgrade_guard.vault.disk import private_directories, sync_directory, sync_file, write_synced

SNAPSHOT_TIMEOUT = 30.0
"""Seconds for a last snapshot: the cluster is already failing, and every second of it is downtime."""


def keep(site: Site, cluster: Cluster, *, etcd_answers: bool = True) -> Phase:
    """Container logs of every control plane, and a last snapshot if etcd still answers (False: it was just asked)."""
    return Phase(
        "rollback-evidence",
        "Keep what failed",
        tuple(keep_of(site, node, etcd_answers=etcd_answers) for node in cluster.control_planes),
        at_once=len(cluster.control_planes),
    )


def directory(site: Site, run_id: str) -> Path:
    """Where it is kept on this machine."""
    return Path(site.config.state_dir) / "failed" / run_id


def keep_of(site: Site, node: Node, *, etcd_answers: bool) -> Step:
    """The same for one control plane."""
    missing: list[str] = []
    tried: list[bool] = []

    def probe(facts: Facts) -> Seen:
        if not tried:
            return NotDone(f"nothing of {node.name} is kept yet")
        kept = sorted(path.name for path in directory(site, facts.run_id).glob(f"{node.name}-*"))
        return Done({"directory": str(directory(site, facts.run_id)), "kept": kept, "missing": list(missing)})

    def act(facts: Facts) -> None:
        place = directory(site, facts.run_id)
        private_directories(place)
        for attempt in (_logs, _snapshot) if etcd_answers else (_logs,):
            try:
                attempt(site, node, place, facts.run_id)
            except GuardError as problem:
                missing.append(problem.message)
        with suppress(OSError):
            sync_directory(place)
        tried.append(True)

    return Step(f"rollback/{node.name}/evidence", f"keep the logs of {node.name}", probe, act, lane=node.name)


def _logs(site: Site, node: Node, place: Path, _run_id: str) -> None:
    tools = site.on(node)
    for one in components(tools, node):
        path = place / f"{node.name}-{one.name}-{one.id[:12]}.log"
        write_synced(path, tools.containers.logs(one.id).encode(errors="replace"))


def _snapshot(site: Site, node: Node, place: Path, run_id: str) -> None:
    tools = site.on(node)
    etcdctl = site.etcdctl(node)
    etcdctl.endpoint_status(cluster=False)  # asked first: a save from an etcd that is away waits for all its time
    there = f"{tools.settings.work_dir}/snapshots"
    remote = f"{there}/{run_id}-failed.db"
    tools.files.make_dir(there)
    etcdctl.snapshot_save(remote, timeout=SNAPSHOT_TIMEOUT)
    local = place / f"{node.name}-failed-state.db"
    tools.files.fetch(remote, local)
    sync_file(local)
    tools.files.remove_own(remote)
