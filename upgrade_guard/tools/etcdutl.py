"""etcdutl, or etcdctl where there is no etcdutl (3.4): snapshot files, no live etcd."""

from __future__ import annotations

from upgrade_guard.hosts.base import Host
from upgrade_guard.model.etcd import SnapshotStatus
from upgrade_guard.tools.commands import parse_json, reads, run_checked
from upgrade_guard.tools.etcdctl import CLEAN_ENVIRONMENT, parse_version

FILE_TIMEOUT = 1800.0  # seconds: both read the whole database


class Etcdutl:
    """Both paths are programs of one etcd version on that host; etcdctl serves when `etcdutl` is None."""

    def __init__(self, host: Host, etcdutl: str | None, etcdctl: str) -> None:
        self._host = host
        self._binary = etcdutl or etcdctl

    def version(self) -> str:
        """`3.5.16`."""
        return parse_version(run_checked(self._host, (*CLEAN_ENVIRONMENT, self._binary, "version")).stdout)

    def snapshot_status(self, path: str) -> SnapshotStatus:
        """What the file says of itself. This is no verification: its digest is not looked at."""
        argv = (*CLEAN_ENVIRONMENT, self._binary, "snapshot", "status", path, "--write-out=json")
        return parse_snapshot_status(run_checked(self._host, argv, timeout=FILE_TIMEOUT).stdout)

    def can_bump(self) -> bool:
        """Can it raise the revision of what it restores? (etcdctl from 3.4.27, both from 3.5.10, etcdutl from 3.6.)"""
        argv = (*CLEAN_ENVIRONMENT, self._binary, "snapshot", "restore", "--help")
        text = run_checked(self._host, argv).stdout
        return "--bump-revision" in text and "--mark-compacted" in text

    def restore(
        self,
        snapshot: str,
        data_dir: str,
        name: str,
        initial_cluster: str,
        peer_urls: str,
        token: str,
        bump: int | None = None,
        *,
        timeout: float = FILE_TIMEOUT,
    ) -> None:
        """Restore into `data_dir`, which must not exist. All control planes get the same snapshot, cluster and token.

        `initial_cluster` is `name=url,…` of every member, `peer_urls` this member's own; `bump` is added to the latest
        revision, which is then marked as compacted, so that every watcher lists anew. A failed restore leaves a partial
        directory behind.
        """
        bumped = (f"--bump-revision={bump}", "--mark-compacted") if bump else ()
        argv = (
            *(*CLEAN_ENVIRONMENT, self._binary, "snapshot", "restore", snapshot),
            f"--data-dir={data_dir}",
            f"--name={name}",
            f"--initial-cluster={initial_cluster}",
            f"--initial-advertise-peer-urls={peer_urls}",
            f"--initial-cluster-token={token}",
            *bumped,
        )
        run_checked(self._host, argv, timeout=timeout, changes=True)


@reads("snapshot status")
def parse_snapshot_status(text: str) -> SnapshotStatus:
    """`{"hash":…,"revision":…,"totalKey":…,"totalSize":…}`; 3.6 adds a version."""
    answer = parse_json("snapshot status", text)
    return SnapshotStatus(
        hash=int(answer["hash"]),
        revision=int(answer["revision"]),
        total_keys=int(answer["totalKey"]),
        total_size=int(answer["totalSize"]),
    )
