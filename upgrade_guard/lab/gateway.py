"""etcd through its JSON gateway: TLS with a client certificate, HTTP by hand, standard library only.

`http.client` would double the time that a node's program takes to start.
"""

from __future__ import annotations

import base64
import json
import select
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl

# etcd refuses a transaction with more operations (--max-txn-ops).
OPERATIONS_AT_ONCE = 128


class EtcdAway(Exception):
    """This etcd does not answer, or has no quorum."""


class EtcdRefused(Exception):
    """etcd answered with an error, such as `mvcc: database space exceeded`."""


@dataclass(frozen=True)
class Credentials:
    """Who the client is, for every member of the cluster."""

    trusted_ca_file: Path
    cert_file: Path
    key_file: Path

    def context(self) -> ssl.SSLContext:
        """Read the files. Raises OSError."""
        import ssl  # late: 15 ms that only a program which asks etcd should pay

        context = ssl.create_default_context(cafile=str(self.trusted_ca_file))
        context.load_cert_chain(self.cert_file, self.key_file)
        return context

    def identity(self) -> object:
        """Something that is other when a file is. Raises OSError."""
        found = [path.stat() for path in (self.trusted_ca_file, self.cert_file, self.key_file)]
        return self, [(one.st_ino, one.st_mtime_ns, one.st_size) for one in found]


@dataclass(frozen=True)
class Entry:
    """One key as stored. `revision` is that of its last change."""

    key: str
    value: str
    revision: int


class Gateway:
    """One connection to one member, kept open for the calls of a program, and of the next one (Connections)."""

    def __init__(self, address: str, port: int, context: ssl.SSLContext, *, timeout: float = 2.0) -> None:
        self._address = address
        self._port = port
        self._context = context
        self._timeout = timeout
        self._connection: socket.socket | None = None

    @property
    def member(self) -> tuple[str, int]:
        """Address and port."""
        return self._address, self._port

    def patience(self, timeout: float) -> None:
        """From now on, wait so many seconds for an answer."""
        self._timeout = timeout
        if self._connection is not None:
            self._connection.settimeout(timeout)

    def greet(self) -> None:
        """See that the member serves clients, whether there is a quorum or not. Raises EtcdAway."""
        self.call("/v3/maintenance/status", {})

    def range(self, start: str, end: str = "") -> tuple[int, tuple[Entry, ...]]:
        """The cluster's revision, and the keys from `start` up to `end` (or the one key). Linearizable."""
        asked = {"key": _encoded(start)} | ({"range_end": _encoded(end)} if end else {})
        answer = self.call("/v3/kv/range", asked)
        entries = (
            Entry(_decoded(one["key"]), _decoded(one.get("value", "")), int(one["mod_revision"]))
            for one in answer.get("kvs", ())
        )
        return int(answer["header"]["revision"]), tuple(entries)

    def write(self, puts: Mapping[str, str], deletes: Iterable[str] = ()) -> int:
        """Store and delete keys; each batch is one transaction. The cluster's new revision."""
        operations: list[dict[str, Any]] = [
            {"requestPut": {"key": _encoded(key), "value": _encoded(value)}} for key, value in puts.items()
        ]
        operations += [{"requestDeleteRange": {"key": _encoded(key)}} for key in deletes]
        revision = 0
        for first in range(0, len(operations), OPERATIONS_AT_ONCE):
            batch = operations[first : first + OPERATIONS_AT_ONCE]
            revision = int(self.call("/v3/kv/txn", {"success": batch})["header"]["revision"])
        return revision

    def call(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """One request. Raises EtcdAway or EtcdRefused."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            status, content = self._exchange(self._connection, path, json.dumps(body).encode())
        except (OSError, ValueError, EOFError) as error:
            self.close()
            raise EtcdAway(str(error) or type(error).__name__) from error
        answer: dict[str, Any] = json.loads(content) if content else {}
        if status == 200:
            return answer
        said = str(answer.get("error") or answer.get("message") or status)
        if status in (503, 504) or "leader" in said or "timed out" in said or "unavailable" in said.lower():
            raise EtcdAway(said)
        raise EtcdRefused(said)

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def rests(self) -> bool:
        """Can its connection be used again? When the member ends, or closes it, there is something to read."""
        if self._connection is None:
            return False
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        return not poll.poll(0)

    def _connect(self) -> socket.socket:
        plain = socket.create_connection((self._address, self._port), timeout=self._timeout)
        try:
            return self._context.wrap_socket(plain, server_hostname=self._address)
        except BaseException:
            plain.close()
            raise

    def _exchange(self, connection: socket.socket, path: str, body: bytes) -> tuple[int, bytes]:
        head = f"POST {path} HTTP/1.1\r\nHost: {self._address}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        with connection.makefile("rb") as reader:
            line = reader.readline()
            if not line:
                raise EOFError("the connection was closed")
            status = int(line.split()[1])
            length, chunked = 0, False
            while (header := reader.readline().strip().lower()) != b"":
                if header.startswith(b"content-length:"):
                    length = int(header.split(b":")[1])
                chunked = chunked or header == b"transfer-encoding: chunked"
            if not chunked:
                return status, _exactly(reader.read(length), length)
            pieces = []
            while (size := int(reader.readline().split(b";")[0] or b"0", 16)) > 0:
                pieces.append(_exactly(reader.read(size), size))
                reader.readline()
            reader.readline()
            return status, b"".join(pieces)


class Connections:
    """What one process has to do with a cluster's members: connections that stay open from one program to the next.

    A TLS handshake is a third of what a `kubectl get` takes, and etcd has as much work with it.
    """

    def __init__(self) -> None:
        self._key: object = None
        self._context: ssl.SSLContext | None = None
        self._resting: dict[tuple[str, int], Gateway] = {}

    def take(self, credentials: Credentials, address: str, port: int, timeout: float) -> Gateway:
        """One that rests here, or a new one. Raises OSError where the credentials cannot be read."""
        key = credentials.identity()
        if key != self._key or self._context is None:
            self.close()
            self._key, self._context = key, credentials.context()
        gateway = self._resting.pop((address, port), None)
        if gateway is not None and gateway.rests():
            gateway.patience(timeout)
            return gateway
        if gateway is not None:
            gateway.close()
        return Gateway(address, port, self._context, timeout=timeout)

    def give_back(self, gateway: Gateway) -> None:
        """Keep it for the next program, if it can be used again."""
        other = self._resting.pop(gateway.member, None)
        if other is not None:
            other.close()
        if gateway.rests():
            self._resting[gateway.member] = gateway
        else:
            gateway.close()

    def close(self) -> None:
        """Close all of them."""
        while self._resting:
            self._resting.popitem()[1].close()


def _exactly(content: bytes, length: int) -> bytes:
    if len(content) != length:
        raise EOFError("the connection was cut")
    return content


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()
