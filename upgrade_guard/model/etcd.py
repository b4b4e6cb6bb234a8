"""etcd as kubeadm runs it and as etcdctl describes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EtcdManifest:
    """What the static pod manifest of one control plane says. Paths are absolute on that node.

    `wal_dir` is where its log is, "" when it is in the data directory.
    """

    image: str
    name: str
    data_dir: str
    cert_file: str
    key_file: str
    trusted_ca_file: str
    listen_client_urls: tuple[str, ...]
    initial_advertise_peer_urls: str
    wal_dir: str = ""

    @property
    def endpoint(self) -> str:
        """The client URL to use on the node itself: loopback where etcd listens there, which "everywhere" includes.

        kubeadm's server certificate names 127.0.0.1, ::1 and localhost, and never 0.0.0.0 or ::
        (cmd/kubeadm/app/util/pkiutil, GetEtcdAltNames).
        """
        own = tuple(_at_loopback(url) for url in self.listen_client_urls)
        for url in own:
            if any(f"://{name}:" in url for name in _LOOPBACK):
                return url
        return own[0]

    @property
    def peer_urls(self) -> tuple[str, ...]:
        """What other members reach it at."""
        return tuple(url for url in self.initial_advertise_peer_urls.split(",") if url)


_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - what people write for "on every address"


def _at_loopback(url: str) -> str:
    for everywhere, loopback in _EVERYWHERE.items():
        url = url.replace(f"://{everywhere}:", f"://{loopback}:")
    return url


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
class Key:
    """A key, and the revisions at which it was created and last changed."""

    name: str
    created: int
    changed: int


@dataclass(frozen=True)
class SnapshotStatus:
    """What `snapshot status` says. `total_keys` changed its meaning in 3.6; do not compare across tool versions."""

    hash: int
    revision: int
    total_keys: int
    total_size: int
