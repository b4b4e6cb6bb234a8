"""What stands in the way of a restore: pure judgements over what was gathered before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from upgrade_guard.checks.gathered import Room
from upgrade_guard.model.etcd import MemberStatus
from upgrade_guard.vault.manifest import BundleManifest
from upgrade_guard.vault.proof import WAL_SIZE

_MIB = 1 << 20


@dataclass(frozen=True)
class Obstacle:
    """One reason against, a full sentence, and what cures it."""

    reason: str
    cure: str


@dataclass(frozen=True)
class Survey:
    """One control plane as it was found.

    `member` is what the manifest there calls its etcd member ("" without a manifest); `authorities` are the SHA-256 of
    the certificate authorities that are there, by path; `wanted_authorities` those of the bundle. `addresses` are the
    node's (none where it does not say), `wanted_address` the one for which the bundle's etcd and certificates are made.
    `data_room` is where the restored data goes, `work_room` where the snapshot goes first. `lost`: there is no etcd
    data.
    """

    node: str
    packages: Mapping[str, str] = field(default_factory=dict)
    wanted_packages: Mapping[str, str] = field(default_factory=dict)
    authorities: Mapping[str, str] = field(default_factory=dict)
    wanted_authorities: Mapping[str, str] = field(default_factory=dict)
    member: str = ""
    wanted_member: str = ""
    addresses: frozenset[str] = frozenset()
    wanted_address: str = ""
    data_room: Room | None = None
    work_room: Room | None = None
    missing_images: tuple[str, ...] = ()
    lost: bool = False
    unreachable: str = ""
    runtime_problem: str = ""


@dataclass(frozen=True)
class EtcdNow:
    """The live etcd, when one answers. `members` are the names of those that are in its list."""

    status: MemberStatus | None = None
    members: tuple[str, ...] = ()


def obstacles(
    manifest: BundleManifest, configured_name: str, grounds: tuple[Survey, ...], now: EtcdNow, size: int
) -> tuple[Obstacle, ...]:
    """Everything that stands in the way, not only the first. `size` is the snapshot's, in bytes."""
    found = [*_of_the_cluster(manifest, configured_name, now)]
    for ground in grounds:
        if ground.unreachable:
            found.append(
                Obstacle(
                    f"{ground.node} cannot be reached, and every control plane of the bundle is restored together: "
                    f"{ground.unreachable}.",
                    f"check the network and ssh to {ground.node}, then: upgrade-guard resume",
                )
            )
            continue
        found += [*_identity(ground), *_packages(manifest, ground), *_runtime(ground), *_room(ground, now, size)]
    return tuple(found)


def notes(manifest: BundleManifest, grounds: tuple[Survey, ...], now: EtcdNow) -> tuple[str, ...]:
    """What an operator should know before saying yes, and what does not stand in the way."""
    found = []
    if now.status is not None and str(now.status.cluster_id) != manifest.cluster_id:
        found.append(
            "etcd has another cluster id than the snapshot, with the same certificate authorities: it was restored "
            "since the snapshot was taken."
        )
    found += [
        f"{ground.node} has to pull {', '.join(ground.missing_images)} before it can start."
        for ground in grounds
        if ground.missing_images
    ]
    return tuple(found)


def _of_the_cluster(manifest: BundleManifest, configured: str, now: EtcdNow) -> list[Obstacle]:
    found = []
    if configured and configured != manifest.cluster:
        found.append(
            Obstacle(
                f"The bundle is of cluster {manifest.cluster}, and the configuration names {configured}.",
                "name a bundle of this cluster: upgrade-guard backup list",
            )
        )
    strangers = sorted(set(now.members) - {member.name for member in manifest.members} - {""})
    if strangers:
        found.append(
            Obstacle(
                f"etcd has members that the bundle does not know: {', '.join(strangers)}. They would go on with the "
                "data of now beside the restored ones.",
                f"take them out of service first (kubeadm reset on {', '.join(strangers)}), then: upgrade-guard resume",
            )
        )
    return found


def _identity(ground: Survey) -> list[Obstacle]:
    found = []
    other = sorted(
        path for path, digest in ground.authorities.items() if ground.wanted_authorities.get(path, digest) != digest
    )
    if other:
        found.append(
            Obstacle(
                f"{ground.node} belongs to another cluster than the bundle, or its certificate authority was replaced "
                f"since: {', '.join(other)} is not the one of the bundle.",
                "name a bundle of this cluster: upgrade-guard backup list",
            )
        )
    if ground.member and ground.member != ground.wanted_member:
        found.append(
            Obstacle(
                f"The etcd member of {ground.node} is {ground.member}; in the bundle it is {ground.wanted_member}.",
                "name a bundle of this cluster: upgrade-guard backup list",
            )
        )
    if ground.addresses and not _has(ground.addresses, ground.wanted_address):
        found.append(
            Obstacle(
                f"{ground.node} has the address {', '.join(sorted(ground.addresses))}; the bundle's etcd and "
                f"certificates are made for {ground.wanted_address}.",
                f"give {ground.node} its address back, then: upgrade-guard resume",
            )
        )
    return found


def _has(addresses: frozenset[str], wanted: str) -> bool:
    """A name and a loopback address say nothing."""
    try:
        address = ip_address(wanted)
        return address.is_loopback or address in {ip_address(one.partition("%")[0]) for one in addresses}
    except ValueError:
        return True


def _packages(manifest: BundleManifest, ground: Survey) -> list[Obstacle]:
    other = {name: version for name, version in ground.wanted_packages.items() if ground.packages.get(name) != version}
    if not other:
        return []
    have = ", ".join(f"{name} {ground.packages.get(name, '(not installed)')}" for name in sorted(other))
    wanted = " ".join(f"{name}={version}" for name, version in sorted(other.items()))
    return [
        Obstacle(
            f"{ground.node} has {have}; the bundle is of Kubernetes {manifest.kubernetes_version} and needs {wanted}.",
            f"on {ground.node}: apt-get install --allow-downgrades --allow-change-held-packages {wanted}, "
            "then: upgrade-guard resume",
        )
    ]


def _runtime(ground: Survey) -> list[Obstacle]:
    if not ground.runtime_problem:
        return []
    return [
        Obstacle(
            f"The container runtime of {ground.node} does not answer: {ground.runtime_problem}.",
            f"start it on {ground.node}: systemctl start containerd, then: upgrade-guard resume",
        )
    ]


def _room(ground: Survey, now: EtcdNow, size: int) -> list[Obstacle]:
    """Beside the live data: the restored database and etcd's first WAL segment; in our directory the snapshot, and the
    one of the failed state where etcd still answers."""
    last = now.status.db_size if now.status is not None else 0
    needs = [(ground.data_room, size + WAL_SIZE), (ground.work_room, size + last)]
    by_device: dict[int, int] = {}
    for room, needed in needs:
        if room is not None:
            by_device[room.device] = by_device.get(room.device, 0) + needed
    found = []
    for room, _ in needs:
        if room is None:
            continue
        needed = by_device.pop(room.device, 0)
        if room.free < needed:
            found.append(
                Obstacle(
                    f"{room.path} on {ground.node} has {room.free // _MIB} MiB free; the restore needs "
                    f"{needed // _MIB + 1} MiB there, because nothing is deleted.",
                    f"free it on {ground.node} (df -h {room.path}), then: upgrade-guard resume",
                )
            )
    return found
