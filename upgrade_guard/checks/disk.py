"""Is there room for the snapshot, for its proof, for kubeadm's own copies, and for a restore beside the old data?"""

from __future__ import annotations

from collections.abc import Iterable

from upgrade_guard.checks.findings import blocking, ok, size
from upgrade_guard.checks.gathered import Gathered, Room
from upgrade_guard.model.finding import Finding
from upgrade_guard.model.version import Version

WAL = 64_000_000
"""Bytes that etcd preallocates for each write-ahead log file, also for a restored one."""

MARGIN = 64 * 1024**2


def disk_space_etcd(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """There is room for a restore beside the old data, and for kubeadm's copy of it in tmp/.

    That copy holds the data and two logs. Where both places are on one device their needs add up (kubernetes#125357:
    copies that were never deleted fill the disk).
    """
    name = "disk-space-etcd"
    database = gathered.cluster.etcd_db_size
    findings = []
    for node, look in gathered.control_planes:
        needs = [(look.data_room, 2 * database + WAL + MARGIN), (look.tmp_room, database + 2 * WAL + MARGIN)]
        found = _enough(name, needs, f"{node}: ", f"look on {node}: du -xsh /etc/kubernetes/tmp/* ; df -h", node)
        findings += found
    return tuple(findings)


def disk_space_vault(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """The vault has room for one more bundle, also when the proof runs on the same device."""
    name = "disk-space-vault"
    machine = gathered.machine
    database = gathered.cluster.etcd_db_size
    needs = [(machine.vault_room, database + MARGIN)]
    if machine.vault_room and machine.scratch_room and machine.vault_room.device == machine.scratch_room.device:
        needs.append((machine.scratch_room, 2 * database + WAL))
    return tuple(_enough(name, needs, "here: ", "make room, or set vault.path: df -h", ""))


def disk_space_scratch(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """The proof restores the snapshot and starts etcd on it: the data, once more the data, and one log."""
    name = "disk-space-scratch"
    needs = [(gathered.machine.scratch_room, 2 * gathered.cluster.etcd_db_size + WAL + MARGIN)]
    return tuple(_enough(name, needs, "here: ", "make room, or set another state_dir: df -h", ""))


def _enough(name: str, needs: Iterable[tuple[Room | None, int]], before: str, hint: str, where: str) -> list[Finding]:
    """One finding per device, with the needs of all that is written there."""
    wanted: dict[int, int] = {}
    rooms: dict[int, Room] = {}
    for room, need in needs:
        if room is not None:
            wanted[room.device] = wanted.get(room.device, 0) + need
            rooms.setdefault(room.device, room)
    findings = []
    for device, room in rooms.items():
        message = f"{before}{room.path} has {size(room.free)} free, {size(wanted[device])} are needed"
        short = room.free < wanted[device]
        findings.append(blocking(name, message, hint, where) if short else ok(name, message, where))
    return findings
