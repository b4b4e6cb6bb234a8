"""etcd as kubeadm runs it and as etcdctl describes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EtcdManifest:
    """What the static pod manifest of one control plane says. Paths are absolute on that node."""

    image: str
    name: str
    data_dir: str
    cert_file: str
    key_file: str
    trusted_ca_file: str
    listen_client_urls: tuple[str, ...]
    initial_advertise_peer_urls: str

    @property
    def endpoint(self) -> str:
        """The client URL to use on the node itself: loopback where etcd listens there."""
        for url in self.listen_client_urls:
            if "://127.0.0.1:" in url or "://localhost:" in url or "://[::1]:" in url:
                return url
        return self.listen_client_urls[0]


@dataclass(frozen=True)
class Member:
    """One row of `member list`. An unstarted member has no name and no client URLs."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool = False


@dataclass(frozen=True)
class MemberStatus:
    """One row of `endpoint status`; sizes in bytes."""

    endpoint: str
    cluster_id: int
    member_id: int
    revision: int
    raft_term: int
    version: str
    db_size: int
    leader: int
    raft_index: int
    raft_applied_index: int
    db_size_in_use: int = 0
    is_learner: bool = False
    errors: tuple[str, ...] = ()

    @property
    def is_leader(self) -> bool:
        """This member leads its cluster."""
        return self.leader == self.member_id and self.member_id != 0


@dataclass(frozen=True)
class MemberHealth:
    """One row of `endpoint health`."""

    endpoint: str
    healthy: bool
    error: str = ""


@dataclass(frozen=True)
class MemberHash:
    """One row of `endpoint hashkv`. Compare only at one revision and one compact revision (-1: never compacted)."""

    endpoint: str
    hash: int
    compact_revision: int
    revision: int


@dataclass(frozen=True)
class Alarm:
    """One alarm: NOSPACE or CORRUPT."""

    member_id: int
    kind: str


@dataclass(frozen=True)
class SnapshotStatus:
    """What `snapshot status` says. `total_keys` changed its meaning in 3.6; do not compare across tool versions."""

    hash: int
    revision: int
    total_keys: int
    total_size: int
