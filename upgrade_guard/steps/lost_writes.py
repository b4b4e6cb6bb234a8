"""What a restore takes back, object by object: told from the keys of etcd alone, no value is ever read.

Before the control plane is stopped the keys are kept with the revisions at which they were created and changed; what is
newer than the snapshot is gone afterwards, and what the restored etcd has beyond them is back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from upgrade_guard.errors import GuardError
from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.etcd import Key
from upgrade_guard.model.step import Done, Facts, NotDone, Seen, Step
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps import failure_archive
from upgrade_guard.steps.snapshot import bundle_of
from upgrade_guard.tools.etcdctl import KEYS, parse_keys
from upgrade_guard.vault.disk import write_synced

NAME = "rollback/lost"
FILE = "lost.txt"
RESTORED = f"restored-{failure_archive.KEYS}"

_NOISE = ("events", "leases", "masterleases", "peerserverleases", "ranges", "endpoints", "endpointslices")
_GONE = {
    "volumeattachments": "its volume may still be attached to that node",
    "pods": "kubelet stops what runs of it",
    "jobs": "it ran, and may run again",
    "persistentvolumes": "its storage stays, and nothing names it any more",
    "persistentvolumeclaims": "its storage stays, and nothing names it any more",
}
_BACK = {
    "volumeattachments": "its volume may be attached to another node since",
    "pods": "it is started again",
    "jobs": "it may run a second time",
    "persistentvolumes": "it may name storage that is gone",
    "persistentvolumeclaims": "it may name storage that is gone",
}


@dataclass(frozen=True)
class Lost:
    """Objects as `resource namespace/name`: `gone` were created since the snapshot, `back` deleted, `before` changed.

    `noise` is how many keys of events, leases and the like were left out.
    """

    gone: tuple[str, ...]
    back: tuple[str, ...]
    before: tuple[str, ...]
    noise: int


def object_of(key: str) -> tuple[str, str]:
    """Resource and name of an object by its key: `/registry/pods/shop/db-0` is `pods` and `shop/db-0`.

    Resources of API groups with a dot in their name come behind their group, built-in ones have none (Kubernetes,
    pkg/registry, ResourcePrefix).
    """
    _, _, path = key.lstrip("/").partition("/")
    first, _, rest = path.partition("/")
    if "." in first:
        plural, _, name = rest.partition("/")
        return f"{plural}.{first}", name
    if first == "services":
        kind, _, name = rest.partition("/")
        return ("services" if kind == "specs" else kind), name
    return ("nodes" if first == "minions" else first), rest


def compare(before: Iterable[Key], restored: Iterable[Key], revision: int) -> Lost:
    """`before` are the keys when the control plane was stopped, `restored` those of now; `revision` the snapshot's."""
    had = {key.name: key for key in before}
    created = [key.name for key in had.values() if key.created > revision]
    changed = [key.name for key in had.values() if key.created <= revision < key.changed]
    # What was made again since under the same name is both: its new self is gone, its old self is back.
    deleted = [key.name for key in restored if key.created <= revision and _is_gone(had.get(key.name), revision)]
    found = {kind: _told(names) for kind, names in (("gone", created), ("back", deleted), ("before", changed))}
    everything = len(created) + len(changed) + len(deleted)
    return Lost(**found, noise=everything - sum(map(len, found.values())))


def _is_gone(key: Key | None, revision: int) -> bool:
    return key is None or key.created > revision


def _told(names: Iterable[str]) -> tuple[str, ...]:
    told = (object_of(name) for name in names)
    return tuple(sorted(f"{kind} {name}" for kind, name in told if kind.partition(".")[0] not in _NOISE and name))


def write_down(site: Site, cluster: Cluster) -> Step:
    """Compare, and write the list where the logs of the failed state are. What cannot be had is said: it holds nothing
    up.
    """
    found: list[Mapping[str, object]] = []

    def probe(_: Facts) -> Seen:
        return Done(found[-1]) if found else NotDone("what was taken back is not written down yet")

    def act(facts: Facts) -> None:
        try:
            found.append(_write(site, cluster, facts))
        except (GuardError, OSError, ValueError) as problem:
            found.append({"list": "", "why": getattr(problem, "message", "") or str(problem)})

    return Step(NAME, "write down what was taken back", probe, act, lane="etcd")


def _write(site: Site, cluster: Cluster, facts: Facts) -> Mapping[str, object]:
    place = failure_archive.directory(site, facts.run_id)
    before = keys_before(site, facts.run_id)
    if before is None:
        return {"list": "", "why": "etcd did not answer before it was stopped, so its keys are not known"}
    manifest = bundle_of(site, facts).manifest
    restored = place / RESTORED
    site.etcdctl(cluster.control_planes[0]).keys_to(restored, timeout=failure_archive.SNAPSHOT_TIMEOUT)
    lost = compare(before, _read(restored), manifest.revision)
    path = place / FILE
    write_synced(path, text(lost, f"{manifest.taken_at:%Y-%m-%d %H:%M:%SZ}, revision {manifest.revision}").encode())
    counts = {"gone": len(lost.gone), "back": len(lost.back), "before": len(lost.before)}
    return {"list": str(path), "why": "", **counts}


def keys_before(site: Site, run_id: str) -> tuple[Key, ...] | None:
    """What etcd had when it was stopped; None where it did not answer. Raises ValueError where it is too much."""
    kept = sorted(failure_archive.directory(site, run_id).glob(f"*-{failure_archive.KEYS}"))
    kept = [path for path in kept if path.name != RESTORED]
    return _read(kept[0]) if kept else None


def _read(path: Path) -> tuple[Key, ...]:
    keys = parse_keys(path.read_text())
    if len(keys) >= KEYS:
        raise ValueError(f"etcd has {KEYS} keys and more, which are too many to be compared one by one")
    return keys


def text(lost: Lost, since: str) -> str:
    """The list as a person reads it."""
    parts = [
        f"What was taken back to the snapshot of {since}. Names alone: no value of etcd was read.\n",
        _part("Gone, because it was created since", lost.gone, _GONE),
        _part("Back, because it was deleted since", lost.back, _BACK),
        _part("As it was then, because it was changed since", lost.before, {}),
        f"Left out: {lost.noise} keys of {', '.join(_NOISE)}.\n",
    ]
    return "\n".join(parts)


def _part(title: str, objects: tuple[str, ...], remarks: Mapping[str, str]) -> str:
    lines = [f"{title}: {len(objects)}"]
    for one in objects:
        remark = remarks.get(one.partition(" ")[0])
        lines.append(f"  {one}" + (f"  ({remark})" if remark else ""))
    return "\n".join(lines) + "\n"
