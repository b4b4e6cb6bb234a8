"""The API's objects, as they stand in etcd: read once, changed in memory, written back where they differ.

Keys are /registry/<plural>/<namespace>/<name>, values JSON; `metadata.resourceVersion` is etcd's and never stored.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

from upgrade_guard.lab.gateway import Gateway

Object = dict[str, Any]
CLUSTER_SCOPED = frozenset(
    {
        "nodes",
        "namespaces",
        "apiservices",
        "validatingwebhookconfigurations",
        "mutatingwebhookconfigurations",
        "clusterrolebindings",
    }
)
# What controllers, kubelets and proxies look at: everything from daemonsets to statefulsets, which leaves out the many
# configmaps. In the order of etcd's keys.
WATCHED = ("/registry/d", "/registry/t")


def plural_of(kind: str) -> str:
    """`Pod` is kept under `pods`."""
    lower = kind.lower()
    if lower.endswith("s"):
        return f"{lower}es" if lower.endswith("ss") else lower
    return f"{lower[:-1]}ies" if lower.endswith("y") and lower != "gateway" else f"{lower}s"


def key_of(plural: str, namespace: str, name: str) -> str:
    """Where etcd keeps an object."""
    return f"/registry/{plural}/{namespace}/{name}" if namespace else f"/registry/{plural}/{name}"


def now_text(at: float | None = None) -> str:
    """A time as the API writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() if at is None else at))


class World:
    """The objects, while one program looks at them under the lab's lock."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._objects: dict[str, Object] = {}
        self._stored: dict[str, str] = {}
        self._ranges: set[str] = set()
        self.revision = 0
        self.load(*WATCHED)

    def load(self, start: str, end: str) -> None:
        """Bring a range of keys into memory."""
        self.revision, entries = self._gateway.range(start, end)
        self._ranges.add(start)
        for entry in entries:
            found: Object = json.loads(entry.value)
            found["metadata"]["resourceVersion"] = str(entry.revision)
            self._objects[entry.key] = found
            self._stored[entry.key] = entry.value  # as _text wrote it

    def load_kind(self, plural: str) -> None:
        """Bring a kind into memory that is not there from the start."""
        start = f"/registry/{plural}/"
        if not WATCHED[0] <= start < WATCHED[1] and start not in self._ranges:
            self.load(start, f"/registry/{plural}0")

    def kind(self, plural: str, namespace: str = "") -> Iterator[Object]:
        """Every object of a kind, in the order of its keys; the caller may add and remove objects meanwhile."""
        self.load_kind(plural)
        start = f"/registry/{plural}/" + (f"{namespace}/" if namespace else "")
        yield from [self._objects[key] for key in sorted(self._objects) if key.startswith(start)]

    def get(self, plural: str, namespace: str, name: str) -> Object | None:
        """One object, or None."""
        self.load_kind(plural)
        return self._objects.get(key_of(plural, namespace, name))

    def put(self, found: Object) -> Object:
        """Add an object, or replace the one of that name."""
        metadata = found["metadata"]
        metadata.setdefault("uid", _new_uid())
        metadata.setdefault("creationTimestamp", now_text())
        self.load_kind(plural_of(found["kind"]))
        self._objects[self._key(found)] = found
        return found

    def remove(self, found: Object) -> None:
        """Take an object away at once."""
        self._objects.pop(self._key(found), None)

    def write(self) -> None:
        """Store what changed; the objects' resource versions follow."""
        texts = {key: _text(found) for key, found in self._objects.items()}
        puts = {key: text for key, text in texts.items() if self._stored.get(key) != text}
        deletes = [key for key in self._stored if key not in texts]
        if not puts and not deletes:
            return
        self.revision = self._gateway.write(puts, deletes)
        for key in puts:
            self._objects[key]["metadata"]["resourceVersion"] = str(self.revision)
        self._stored = texts

    @staticmethod
    def _key(found: Object) -> str:
        plural, metadata = plural_of(found["kind"]), found["metadata"]
        namespace = "" if plural in CLUSTER_SCOPED else metadata.setdefault("namespace", "default")
        return key_of(plural, namespace, metadata["name"])


def _new_uid() -> str:
    text = os.urandom(16).hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _text(found: Object) -> str:
    metadata = {key: value for key, value in found["metadata"].items() if key != "resourceVersion"}
    return json.dumps({**found, "metadata": metadata}, sort_keys=True, separators=(",", ":"))


def labels_match(selector: dict[str, str], found: Object) -> bool:
    """Does an object carry every label of the selector?"""
    labels = found["metadata"].get("labels", {})
    return all(labels.get(key) == value for key, value in selector.items())
