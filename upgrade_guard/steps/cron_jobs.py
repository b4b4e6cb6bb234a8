"""CronJobs of a restored cluster learn what they ran since the snapshot, before their controller sees them.

The controller makes up for the newest run that it does not know of (Kubernetes, pkg/controller/cronjob/utils.go,
mostRecentScheduleTime, from `status.lastScheduleTime` on). A restored CronJob has forgotten its runs since the
snapshot, so its last one would happen a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from upgrade_guard.errors import StepFailed
from upgrade_guard.model.cluster import Cluster, Node
from upgrade_guard.model.etcd import Key
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps import failure_archive, kubelet, lost_writes
from upgrade_guard.steps.files_back import bundled_files_back
from upgrade_guard.steps.snapshot import bundle_of
from upgrade_guard.tools.kubectl_objects import CronJobRow

NAME = "rollback/cron-jobs"
JOBS = "/registry/jobs/"
CONTROLLER_MANAGER = "kube-controller-manager.yaml"


@dataclass(frozen=True)
class Ran:
    """When a CronJob ran last; `seen` by its Job, else taken for granted."""

    at: datetime
    seen: bool


def runs_since(
    rows: Iterable[CronJobRow], keys: Iterable[Key] | None, revision: int, stopped: datetime
) -> dict[CronJobRow, Ran]:
    """The CronJobs that ran after the snapshot of `revision`, and when. `keys`: of etcd when it was stopped.

    A Job is called after its CronJob and the minute for which it was made (Kubernetes, cronjob/utils.go, getJobName).
    Where a CronJob changed since and no Job of it is left, and where nothing is known (`keys` is None), its last run is
    taken to have been when the control plane was `stopped`: a run that is left out does less harm than a second one.
    """
    had = None if keys is None else {key.name: key for key in keys}
    minutes = _newest_jobs(had.values() if had else (), revision)
    found = {}
    for row in rows:
        ran = _ran(row, had, minutes, revision, stopped)
        if ran is not None and not row.suspended and (row.last is None or row.last < ran.at):
            found[row] = ran
    return found


def _newest_jobs(keys: Iterable[Key], revision: int) -> dict[str, int]:
    """`namespace/name` of what made Jobs after `revision`, with the latest minute that a name says."""
    newest: dict[str, int] = {}
    for key in keys:
        owner, _, minute = key.name.removeprefix(JOBS).rpartition("-")
        if key.name.startswith(JOBS) and key.created > revision and minute.isdigit():
            newest[owner] = max(int(minute), newest.get(owner, 0))
    return newest


def _ran(
    row: CronJobRow, had: Mapping[str, Key] | None, minutes: Mapping[str, int], revision: int, stopped: datetime
) -> Ran | None:
    if had is None:
        return Ran(stopped, seen=False)
    name = f"{row.namespace}/{row.name}"
    if name in minutes:
        return Ran(datetime.fromtimestamp(minutes[name] * 60, UTC), seen=True)
    own = had.get(f"/registry/cronjobs/{name}")
    changed = own is not None and own.created <= revision < own.changed
    return Ran(stopped, seen=False) if changed else None


def before_their_controller(site: Site, cluster: Cluster) -> Phase:
    """Tell them, and only then let the controller manager of each control plane start."""
    managers = tuple(_controller_manager(site, node) for node in cluster.control_planes)
    return Phase("rollback-controllers", "CronJobs and their controller", (tell(site, cluster), *managers))


def but_their_controller(path: str) -> bool:
    """Is the file anything else than the manifest of the controller manager?"""
    return not path.endswith(f"/{CONTROLLER_MANAGER}")


def _controller_manager(site: Site, node: Node) -> Step:
    name = f"rollback/{node.name}/controller-manager"
    step = bundled_files_back(site, node, manifests=True, which=lambda path: not but_their_controller(path), name=name)
    return replace(step, summary=f"start the controller manager of {node.name}")


def tell(site: Site, cluster: Cluster) -> Step:
    """Write the last run into each CronJob that has forgotten it. What fails is noted: it holds nothing up."""
    found: list[Mapping[str, object]] = []

    def probe(_: Facts) -> Seen:
        return Done(found[-1]) if found else NotDone("CronJobs were not told yet what they ran")

    def act(facts: Facts) -> None:
        try:
            found.append(_tell(site, cluster, facts))
        except StepFailed as problem:
            found.append({"why": problem.message})

    return Step(NAME, "tell CronJobs what they ran since the snapshot", probe, act)


def _tell(site: Site, cluster: Cluster, facts: Facts) -> Mapping[str, object]:
    kubectl = kubelet.answering_api(site, cluster)
    revision = bundle_of(site, facts).manifest.revision
    stopped = failure_archive.when(cluster, facts) or site.clock.now()
    try:
        keys = lost_writes.keys_before(site, facts.run_id)
    except (OSError, ValueError):
        keys = None  # too many of them, or damaged
    told: dict[str, list[str]] = {"seen": [], "assumed": [], "failed": []}
    for row, ran in runs_since(kubectl.cron_jobs(), keys, revision, stopped).items():
        kind = "seen" if ran.seen else "assumed"
        try:
            kubectl.set_last_schedule(row.namespace, row.name, ran.at)
        except StepFailed:
            kind = "failed"
        told[kind].append(f"{row.namespace}/{row.name} {ran.at:%Y-%m-%dT%H:%M:%SZ}")
    return {kind: names for kind, names in told.items() if names}
