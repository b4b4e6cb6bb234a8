"""A drill: a bundle is restored as in an emergency, held against its own manifest, and what is in it is counted.

Unlike the proof of a run it asks no cluster: the cluster may be gone, which is what a drill is for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from upgrade_guard.errors import Refused
from upgrade_guard.hosts.base import Host
from upgrade_guard.model.clock import Clock
from upgrade_guard.tools.etcdctl import Etcdctl
from upgrade_guard.vault.bundle import Bundle
from upgrade_guard.vault.proof import prove
from upgrade_guard.vault.proof_types import Expected, LocalEtcdTools, Proof

# Where the API server keeps its objects: --etcd-prefix (/registry unless it is set) and the resource. Nodes are still
# kept under their first name, minions.
COUNTED: Mapping[str, tuple[str, ...]] = {
    "namespaces": ("/registry/namespaces/",),
    "nodes": ("/registry/minions/", "/registry/nodes/"),
    "deployments": ("/registry/deployments/",),
    "daemonsets": ("/registry/daemonsets/",),
    "statefulsets": ("/registry/statefulsets/",),
    "pods": ("/registry/pods/",),
    "secrets": ("/registry/secrets/",),
    "configmaps": ("/registry/configmaps/",),
}


@dataclass(frozen=True)
class Drill:
    """How a drill went. `counts` is what the restored etcd holds, by number; empty when the restore failed."""

    proof: Proof
    counts: Mapping[str, int] = field(default_factory=dict)


def drill(
    bundle: Bundle,
    *,
    tools: LocalEtcdTools,
    host: Host,
    scratch: Path,
    clock: Clock,
    progress: Callable[[str], None],
) -> Drill:
    """Restore the bundle into a directory under `scratch`, start a real etcd on it, compare and count.

    Every level of the proof, with the manifest in the place of the live cluster. No value is read. Raises what `prove`
    raises; a bundle that does not hold what its manifest says is an answer (`proof.ok`), not an error.
    """
    counts: dict[str, int] = {}

    def count(etcdctl: Etcdctl) -> None:
        progress("Counting what is in it")
        for name, prefixes in COUNTED.items():
            counts[name] = sum(etcdctl.count(prefix) for prefix in prefixes)

    found = prove(
        bundle,
        expected=stated(bundle),
        tools=tools,
        host=host,
        scratch=scratch,
        clock=clock,
        progress=progress,
        look=count,
    )
    return Drill(found, counts)


def stated(bundle: Bundle) -> Expected:
    """What the manifest says that the snapshot holds. Raises Refused for one without the hash of its content."""
    manifest = bundle.manifest
    if manifest.hashkv is None:
        raise Refused(
            f"{bundle.name} does not say what its content hashes to, so there is nothing to compare a restore with",
            hint="Drill another bundle: upgrade-guard backup list",
        )
    return Expected(manifest.revision, manifest.cluster_id, lambda _revision: manifest.hashkv)
