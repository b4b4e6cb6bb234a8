"""etcdctl 3.4 to 3.7: argv and parsers for a live etcd."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from upgrade_guard.hosts.base import Host
from upgrade_guard.model.command import Result
from upgrade_guard.model.etcd import Alarm, Key, Member, MemberHash, MemberHealth, MemberStatus
from upgrade_guard.tools.commands import failure, parse_json, reads, run_checked, unexpected

# Flags and ETCDCTL_* variables for the same thing are fatal together, and a proxy variable would catch gRPC.
CLEAN_ENVIRONMENT = ("env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "ETCDCTL_API=3")
KEYS = 300_000
"""How many keys are listed at most: with their revisions about 50 MB."""

HASH_TIMEOUT = 120.0
"""Seconds: for its hash a member reads all of its data, and that may be 8 GiB."""

_ALARMS = {1: "NOSPACE", 2: "CORRUPT"}
_UNKNOWN_KEY = "/upgrade-guard/a-key-that-is-never-written"


class Etcdctl:
    """One etcdctl on one host, speaking to one endpoint; without certificates for a plain scratch etcd.

    `timeout` in seconds is etcdctl's own; the process gets a little longer.
    """

    def __init__(
        self,
        host: Host,
        binary: str,
        endpoint: str,
        trusted_ca_file: str = "",
        cert_file: str = "",
        key_file: str = "",
        *,
        timeout: float = 10.0,
    ) -> None:
        self._host = host
        self._binary = binary
        self._endpoint = endpoint
        self._tls = tuple(
            f"--{flag}={path}"
            for flag, path in (("cacert", trusted_ca_file), ("cert", cert_file), ("key", key_file))
            if path
        )
        self._timeout = timeout

    @property
    def endpoint(self) -> str:
        """The URL it speaks to."""
        return self._endpoint

    def version(self) -> str:
        """Its own version: `3.5.16`."""
        return parse_version(run_checked(self._host, (*CLEAN_ENVIRONMENT, self._binary, "version")).stdout)

    def member_list(self) -> tuple[Member, ...]:
        """The members of the cluster (linearizable: fails without a quorum)."""
        return parse_member_list(self._run("member", "list", "--write-out=json").stdout)

    def member_remove(self, member: int) -> None:
        """Take a member out of the cluster, by its id. Needs a quorum of the others."""
        argv = self._argv("member", "remove", f"{member:x}")
        run_checked(self._host, argv, timeout=self._timeout + 15, changes=True)

    def endpoint_status(self, *, cluster: bool = True) -> tuple[MemberStatus, ...]:
        """One row for each member that answers, or only this endpoint's. A member that is down has no row."""
        return parse_endpoint_status(self._rows("status", cluster=cluster))

    def endpoint_health(self, *, cluster: bool = True) -> tuple[MemberHealth, ...]:
        """One row for each member, the unhealthy ones with their error."""
        return parse_endpoint_health(self._rows("health", cluster=cluster))

    def hashkv(self, revision: int, *, cluster: bool = False) -> tuple[MemberHash, ...]:
        """The hash of all keys up to `revision` (0: the latest), of each member that answers.

        Raises CommandFailed when nobody answers, or when that revision was compacted away.
        """
        rows = self._rows("hashkv", f"--rev={revision}", cluster=cluster, timeout=HASH_TIMEOUT)
        return parse_hashkv(rows, revision)

    def alarms(self) -> tuple[Alarm, ...]:
        """The alarms that are raised now."""
        return parse_alarms(self._run("alarm", "list", "--write-out=json").stdout)

    def revision(self) -> int:
        """The cluster's revision now, by a linearizable read of a key that need not exist."""
        return parse_revision(self._run("get", _UNKNOWN_KEY, "--keys-only", "--write-out=json").stdout)

    def count(self, prefix: str) -> int:
        """How many keys begin so. Only the number is sent: no key, and no value that may be a secret."""
        return parse_count(self._run("get", prefix, "--prefix", "--count-only", "--write-out=fields").stdout)

    def keys_to(self, path: Path, *, timeout: float) -> None:
        """Every key with its revisions, as JSON into a local file (0600), and no value; at most KEYS of them."""
        words = ("get", "/", "--prefix", "--keys-only", f"--limit={KEYS}", "--write-out=json")
        run_checked(self._host, self._argv(*words, timeout=timeout), timeout=timeout + 15, stdout_to=path)

    def snapshot_save(self, path: str, timeout: float = 600.0) -> None:
        """Save this endpoint's database to an absolute path on the host (0600; `path`.part while it is incomplete).

        etcdctl does not apply its default timeout here, so it always gets one.
        """
        argv = self._argv("snapshot", "save", path, timeout=timeout)
        run_checked(self._host, argv, timeout=timeout + 15, changes=True)

    def _rows(self, verb: str, *more: str, cluster: bool, timeout: float = 0.0) -> str:
        """etcdctl exits 1 when one member fails, and still prints the rows of the others."""
        patience = max(timeout, self._timeout)
        words = ("endpoint", verb, *more, *(("--cluster",) if cluster else ()), "--write-out=json")
        argv = self._argv(*words, timeout=patience)
        result = run_checked(self._host, argv, timeout=3 * patience + 15, accept=(0, 1))
        if result.exit_status != 0 and not result.stdout.lstrip().startswith("[{"):
            raise failure(self._host, argv, result)
        return result.stdout

    def _run(self, *words: str) -> Result:
        return run_checked(self._host, self._argv(*words), timeout=self._timeout + 15)

    def _argv(self, *words: str, timeout: float | None = None) -> tuple[str, ...]:
        seconds = f"--command-timeout={timeout or self._timeout:g}s"
        return (*CLEAN_ENVIRONMENT, self._binary, f"--endpoints={self._endpoint}", *self._tls, seconds, *words)


def parse_version(text: str) -> str:
    """`etcdctl version: 3.5.16` (or etcdutl's) → `3.5.16`."""
    for line in text.splitlines():
        name, colon, version = line.partition(" version: ")
        if colon and name in ("etcdctl", "etcdutl"):
            return version.strip()
    raise unexpected("etcdctl version", text)


@reads("etcdctl member list")
def parse_member_list(text: str) -> tuple[Member, ...]:
    """Members as etcdctl prints them; an unstarted one has neither name nor client URLs."""
    return tuple(
        Member(
            id=int(row["ID"]),
            name=row.get("name", ""),
            peer_urls=tuple(row.get("peerURLs", ())),
            client_urls=tuple(row.get("clientURLs", ())),
            is_learner=row.get("isLearner", False),
        )
        for row in _list(parse_json("etcdctl member list", text).get("members"), text, "ID")
    )


@reads("etcdctl get --keys-only")
def parse_keys(text: str) -> tuple[Key, ...]:
    """Keys with their revisions, as JSON; etcd has none where `kvs` is left out."""
    return tuple(
        Key(
            base64.b64decode(row["key"], validate=True).decode(errors="replace"),
            int(row["create_revision"]),
            int(row["mod_revision"]),
        )
        for row in _list(parse_json("etcdctl get --keys-only", text).get("kvs", []), text, "key")
    )


@reads("etcdctl endpoint status")
def parse_endpoint_status(text: str) -> tuple[MemberStatus, ...]:
    """Members as etcdctl 3.4 to 3.7 print them; sizes in bytes. Raises UnexpectedOutput with the first line."""
    found = []
    for row in _list(parse_json("etcdctl endpoint status", text), text, "Endpoint", "Status"):
        status = row["Status"]
        header = _header(status, text)
        found.append(
            MemberStatus(
                endpoint=row["Endpoint"],
                cluster_id=header["cluster_id"],
                member_id=header["member_id"],
                revision=header["revision"],
                raft_term=status.get("raftTerm", header["raft_term"]),
                version=status.get("version", ""),
                db_size=status.get("dbSize", 0),
                leader=status.get("leader", 0),
                raft_index=status.get("raftIndex", 0),
                raft_applied_index=status.get("raftAppliedIndex", 0),
                db_size_in_use=status.get("dbSizeInUse", 0),
                is_learner=status.get("isLearner", False),
                errors=tuple(error.strip() for error in status.get("errors", ())),
            )
        )
    return tuple(found)


@reads("etcdctl endpoint health")
def parse_endpoint_health(text: str) -> tuple[MemberHealth, ...]:
    """Here the key is `endpoint`, elsewhere `Endpoint`."""
    rows = _list(parse_json("etcdctl endpoint health", text), text, "endpoint", "health")
    return tuple(MemberHealth(row["endpoint"], row["health"] is True, row.get("error", "")) for row in rows)


@reads("etcdctl endpoint hashkv")
def parse_hashkv(text: str, revision: int) -> tuple[MemberHash, ...]:
    """`revision` is the one that was asked for: before 3.6 the answer does not repeat it."""
    found = []
    for row in _list(parse_json("etcdctl endpoint hashkv", text), text, "Endpoint", "HashKV"):
        answer = row["HashKV"]
        hashed_at = answer.get("hash_revision") or revision or _header(answer, text)["revision"]
        found.append(
            MemberHash(row["Endpoint"], int(answer.get("hash", 0)), int(answer.get("compact_revision", 0)), hashed_at)
        )
    return tuple(found)


@reads("etcdctl alarm list")
def parse_alarms(text: str) -> tuple[Alarm, ...]:
    """Without an alarm the key is absent; a kind that is not known is shown as its number."""
    rows = parse_json("etcdctl alarm list", text).get("alarms") or []
    return tuple(
        Alarm(int(row.get("memberID", 0)), _ALARMS.get(row.get("alarm", 0), str(row.get("alarm", 0)))) for row in rows
    )


@reads("etcdctl get")
def parse_revision(text: str) -> int:
    """The revision in the header of any answer."""
    return _header(parse_json("etcdctl get", text), text)["revision"]


@reads("etcdctl get --count-only")
def parse_count(text: str) -> int:
    """The line `"Count" : 3`: etcdctl 3.4 to 3.6 refuse to count in any other format."""
    counts = [line.partition(" : ")[2] for line in text.splitlines() if line.startswith('"Count" : ')]
    if len(counts) != 1:
        raise unexpected("etcdctl get --count-only", text, "no count")
    return int(counts[0])


def _header(answer: Any, text: str) -> dict[str, int]:
    """Fields that are zero are left out."""
    header = answer.get("header") if isinstance(answer, dict) else None
    if not isinstance(header, dict):
        raise unexpected("etcdctl", text, "no header")
    return {key: int(header.get(key, 0)) for key in ("cluster_id", "member_id", "revision", "raft_term")}


def _list(rows: Any, text: str, *keys: str) -> list[dict[str, Any]]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) and all(key in row for key in keys) for row in rows):
        raise unexpected("etcdctl", text)
    return rows
